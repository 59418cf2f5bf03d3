"""Every registered schedule is a bijection of time and sigma; every grid rises over its range."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import schedules
from ddib_jax.grids import GRIDS, make_grid
from ddib_jax.schedules import SCHEDULES, VE, Cosine, Discrete, LinearVP, RectifiedFlow

EXAMPLES = {
    "linear-vp": (LinearVP(), np.linspace(0.0, 1.0, 101)),
    "cosine": (Cosine(), np.linspace(0.0, 0.999, 101)),
    "discrete": (Discrete.linear(1000), np.linspace(-0.4, 999.0, 4001)),
    "discrete-cosine": (Discrete.cosine(1000), np.linspace(0.0, 999.0, 3997)),
    "edm": (schedules.EDM(), np.linspace(-2.0, 1.2, 101)),
    "ve": (VE(), np.linspace(-4.0, 4.0, 101)),
    "flow": (RectifiedFlow(), np.linspace(0.0, 0.999, 101)),
    "flow of 1000": (RectifiedFlow(1000.0), np.linspace(0.0, 999.0, 101)),
}
OF_A_TABLE = ("ddim", "ddim-trailing")
FIXTURE = (
    Path(__file__).resolve().parents[2].parent
    / "shared"
    / "fixtures"
    / "guided_diffusion_schedules.npz"
)


def test_every_registered_schedule_has_an_example():
    assert {type(schedule) for schedule, _ in EXAMPLES.values()} == set(SCHEDULES.values())


@pytest.mark.slow
@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("name", EXAMPLES)
def test_bijection(name):
    schedule, times = EXAMPLES[name]
    sigmas = schedule.sigma(jnp.asarray(times))
    assert bool(jnp.all(jnp.diff(sigmas) > 0))
    assert np.abs(np.asarray(schedule.time(sigmas)) - times).max() < 1e-11 * max(
        1, np.abs(times).max()
    )
    low, high = schedule.sigma_range
    levels = jnp.geomspace(low, high, 200)
    assert float(jnp.abs(schedule.sigma(schedule.time(levels)) / levels - 1).max()) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_bijection_in_single_precision(name):
    """As exact as time in float32 is: a few of its last digits, times the slope of log sigma."""
    schedule, _ = EXAMPLES[name]
    levels = jnp.geomspace(*schedule.sigma_range, 200, dtype=jnp.float32)
    times = schedule.time(levels)
    slopes = jax.vmap(jax.grad(lambda t: jnp.log(schedule.sigma(t))))(times)
    allowed = 2e-6 + 2e-7 * jnp.abs(times) * slopes
    assert bool(jnp.all(jnp.abs(schedule.sigma(times) / levels - 1) < allowed))


@pytest.mark.usefixtures("strict")
def test_variance_preserving_schedules_meet_their_definitions():
    t = jnp.linspace(0.0, 0.99, 50)
    linear = jnp.exp(-(0.1 * t + 0.5 * 19.9 * t**2))
    assert jnp.allclose(1 / (1 + LinearVP().sigma(t) ** 2), linear, rtol=1e-12)
    angle = (t + 0.008) / 1.008 * jnp.pi / 2
    cosine = jnp.cos(angle) ** 2 / jnp.cos(angle[0]) ** 2
    assert jnp.allclose(1 / (1 + Cosine().sigma(t) ** 2), cosine, rtol=1e-12)


@pytest.mark.skipif(
    not FIXTURE.exists(), reason="the reference fixtures are not beside this checkout"
)
@pytest.mark.parametrize("steps", [1000, 4000])
@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_tables_of_the_reference(kind, steps):
    expected = np.load(FIXTURE)[f"{kind}_{steps}"]
    np.testing.assert_allclose(getattr(Discrete, kind)(steps).alphas_cumprod, expected, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize(
    "schedule", [schedule for schedule, _ in EXAMPLES.values()], ids=list(EXAMPLES)
)
@pytest.mark.parametrize("name", [name for name in GRIDS if name not in OF_A_TABLE])
def test_grids_rise_over_the_schedules_range(name, schedule):
    grid = make_grid(name, schedule, 25)
    assert grid.shape == (26,)
    assert bool(jnp.all(jnp.diff(grid) > 0))
    np.testing.assert_allclose([grid[0], grid[-1]], schedule.sigma_range, rtol=1e-9)


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("name", OF_A_TABLE)
@pytest.mark.parametrize(
    "schedule", [schedule for schedule, _ in EXAMPLES.values()], ids=list(EXAMPLES)
)
def test_grids_of_a_table_rise_within_it_or_are_refused(name, schedule):
    if not isinstance(schedule, Discrete):
        with pytest.raises(ValueError, match=f"'{name}' takes .* {type(schedule).__name__} has"):
            make_grid(name, schedule, 25)
        return
    grid = make_grid(name, schedule, 25)
    assert grid.shape == (26,)
    assert bool(jnp.all(jnp.diff(grid) > 0))
    low, high = schedule.sigma_range
    np.testing.assert_allclose(grid[0], low, rtol=1e-9)
    assert grid[-1] <= high * (1 + 1e-9)


@pytest.mark.slow
@pytest.mark.usefixtures("strict")
def test_ddim_steps_along_whole_times():
    schedule = Discrete.linear(1000)
    times = lambda name, steps: np.round(schedule.time(make_grid(name, schedule, steps)), 6)
    np.testing.assert_array_equal(times("ddim", 4), [0, 1, 251, 501, 751])
    np.testing.assert_array_equal(times("ddim", 3), [0, 1, 334, 667])
    np.testing.assert_array_equal(times("ddim", 999), range(1000))
    np.testing.assert_array_equal(times("ddim-trailing", 4), [0, 249, 499, 749, 999])
    np.testing.assert_array_equal(times("ddim-trailing", 3), [0, 332, 666, 999])


@pytest.mark.usefixtures("strict")
def test_grids_are_spaced_as_they_say():
    schedule = LinearVP()
    gaps = lambda values: np.ptp(np.diff(np.asarray(values)))
    assert gaps(make_grid("karras", schedule, 10) ** (1 / 7)) < 1e-12
    assert gaps(jnp.log(make_grid("log-uniform", schedule, 10))) < 1e-12
    assert gaps(schedule.time(make_grid("uniform", schedule, 10))) < 1e-12


@pytest.mark.parametrize(
    ("name", "steps", "ends", "sentence"),
    [
        ("euler", 10, {}, "Unknown grid 'euler'; known are karras"),
        ("karras", 0, {}, "at least one step, got 0"),
        ("karras", 10, {"sigma_min": 5.0, "sigma_max": 2.0}, "sigma_max, got 5 and 2"),
        ("karras", 10, {"sigma_min": 0.0, "sigma_max": 2.0}, "got 0 and 2"),
    ],
)
def test_bad_grids_are_refused_in_one_sentence(name, steps, ends, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_grid(name, schedules.EDM(), steps, **ends)


@pytest.mark.parametrize(
    ("name", "steps", "ends", "sentence"),
    [
        ("ddim", 50, {}, "at most 49 steps here, not 50"),
        ("ddim-trailing", 26, {}, "at most 25 steps here, not 26"),
        ("ddim", 10, {"sigma_max": 2.0}, "has the noise levels of its table; leave others out"),
    ],
)
def test_what_a_table_does_not_have_is_refused(name, steps, ends, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_grid(name, Discrete.linear(50), steps, **ends)


@pytest.mark.parametrize("table", [(0.9,), (0.9, 0.95), (1.0, 0.5), (0.5, 0.0)])
def test_bad_tables_are_refused(table):
    with pytest.raises(ValueError, match="alphas_cumprod must"):
        Discrete(table)

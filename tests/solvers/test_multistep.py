"""UniPC, DEIS and iPNDM: what the contracts of all solvers do not say of them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.analytic import mixture_model
from ddib_jax.diffusion import probability_flow
from ddib_jax.grids import make_grid
from ddib_jax.solvers import DEIS, IPNDM, SOLVERS, UniPC, solve


def test_fixed_weights_on_an_even_grid(double):
    """Of the slope t^3 the sums are those of Adams and Bashforth, with fewer values at first."""
    ts = np.linspace(1.0, 4.0, 7)
    slopes, h = ts**3, 0.5
    weights = [
        [1],
        [3 / 2, -1 / 2],
        [23 / 12, -16 / 12, 5 / 12],
        [55 / 24, -59 / 24, 37 / 24, -9 / 24],
    ]
    expected = 0.0
    for step in range(6):
        used = weights[min(step, 3)]
        expected += h * sum(w * slopes[step - k] for k, w in enumerate(used))
    f = lambda t, y: t**3 + 0 * y
    found = solve(IPNDM(), f, jnp.zeros(1), jnp.asarray(ts)).y
    assert float(found[0]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("points", [2, 3, 4])
def test_deis_integrates_its_polynomials_exactly(double, points):
    """A slope of log t to the power of points - 1: exact from the step on that has as many."""
    power, solver = points - 1, DEIS(points)
    ts = jnp.asarray([1.0, 1.3, 1.9, 2.2, 3.5, 4.1])
    f = lambda t, y: jnp.log(t) ** power + 0 * y
    integral = {
        1: lambda t: t * jnp.log(t) - t,
        2: lambda t: t * (jnp.log(t) ** 2 - 2 * jnp.log(t) + 2),
        3: lambda t: t * (jnp.log(t) ** 3 - 3 * jnp.log(t) ** 2 + 6 * jnp.log(t) - 6),
    }[power]
    state, y, errors = solver.init(f, ts[0], jnp.zeros(1), None), jnp.zeros(1), []
    for t0, t1 in itertools.pairwise(ts):
        after, state = solver.step(f, t0, t1, y, state)
        errors.append(float(jnp.abs(after - y - (integral(t1) - integral(t0)))[0]))
        y = after
    assert max(errors[power:]) < 1e-12
    assert min(errors[:power]) > 1e-3


def test_other_numbers_of_points_are_refused():
    with pytest.raises(ValueError, match="UniPC has 2 or 3 points here, not 4"):
        UniPC(4)


ERRORS = {
    "dpmpp-2m": (0.032676, 0.008611),
    "unipc-2": (0.034752, 0.00439),
    "unipc-3": (0.033664, 0.003722),
    "deis": (0.039092, 0.007949),
    "ipndm": (0.050975, 0.01215),
}
"""At 10 and 20 steps: the root mean square error of the latents below, relative."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ERRORS)
def test_distance_from_a_fine_solution(double, name):
    """Of a mixture of three Gaussians in 16 dimensions, in float64."""
    rng = np.random.default_rng(1)
    means = jnp.asarray(rng.normal(size=(3, 4, 4, 1)) * 0.7)
    model = mixture_model(means, jnp.asarray([0.05, 0.1, 0.2]))
    x = means + 0.3 * jnp.asarray(rng.normal(size=(3, 4, 4, 1)))
    run = jax.jit(
        lambda solver, ts: solve(solver, probability_flow(model), x, ts).y, static_argnums=0
    )
    grid = lambda steps: make_grid("log-uniform", model.schedule, steps, sigma_min=0.1)
    truth = run(SOLVERS["exp-rk4"], grid(400))
    size = float(jnp.sqrt(jnp.mean(truth**2)))
    for steps, expected in zip((10, 20), ERRORS[name], strict=True):
        error = run(SOLVERS[name], grid(steps)) - truth
        found = float(jnp.sqrt(jnp.mean(error**2))) / size
        assert found == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("name", ["dpmpp-2m", "dpmpp-3m", "unipc-2", "unipc-3"])
def test_what_is_done_to_the_state_between_steps_stays(double, name):
    """Where d is 0, y' = y / t is solved exactly, and what is added grows as y does."""
    solver, ts = SOLVERS[name], np.exp(np.linspace(0, 1, 6))
    slope = lambda t, y: y / t
    y = jnp.ones((1, 3))
    state = solver.init(slope, jnp.asarray(ts[0]), y, None)
    for number, (t0, t1) in enumerate(itertools.pairwise(map(jnp.asarray, ts))):
        y, state = solver.step(slope, t0, t1, y, state)
        y = y + (0.5 if number == 2 else 0)
    np.testing.assert_allclose(y, ts[-1] / ts[0] + 0.5 * ts[-1] / ts[3], rtol=1e-12)

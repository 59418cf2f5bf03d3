"""Grids that are tuned: the dynamic programme, the search, the file and the command."""

import itertools
import json

import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.analytic import mixture_model
from ddib_jax.bridge import Bridge, TunedGrid
from ddib_jax.solvers import Fitted, get_solver
from ddib_jax.translation import shortest_grid as module
from ddib_jax.translation import tuning
from ddib_jax.translation.fitted_weights import spaced_grids
from ddib_jax.translation.shortest_grid import shortest_grid
from ddib_jax.translation.tuning import _few, _fine_solution, tune
from tests.test_switch import gaussian

SHAPE = (4, 4, 1)


@pytest.fixture
def mixtures(double):
    """Two mixtures of Gaussians whose denoisers are known, and images of the first."""
    rng = np.random.default_rng(1)
    models = [
        mixture_model(
            jnp.asarray(rng.normal(size=(3, *SHAPE)) * 0.7), jnp.asarray([0.05, 0.1, 0.2])
        )
        for _ in range(2)
    ]
    centres = np.asarray(models[0].params["means"])
    images = centres[rng.integers(3, size=12)] + 0.3 * rng.normal(size=(12, *SHAPE))
    return *models, images


def fine_of(models, images, *, steps=9):
    levels = jnp.geomspace(*models[0].schedule.sigma_range, 4 * steps + 1)
    return _few(tuple(models), _fine_solution(tuple(models), jnp.asarray(images), levels))


@pytest.mark.slow
@pytest.mark.parametrize("switch", [False, True])
def test_no_other_grid_has_a_smaller_sum(mixtures, switch):
    """Against all grids of three steps among ten levels."""
    *models, images = mixtures
    fine = fine_of(models, images)
    up = module._step_errors(fine, rising=True)
    down = module._step_errors(fine, rising=False)
    top = module._switch_errors(fine)
    sums = {}
    for inner in itertools.combinations(range(1, 10), 3):
        if inner[-1] != 9 and not switch:
            continue
        indices = (0, *inner)
        total = up.first[0, inner[0]] + down.first[inner[-1], inner[-2]]
        total += top[inner[-1]] if switch else 0
        for a, b, c in zip(indices, indices[1:], indices[2:], strict=False):
            total += up.later[a, b, c] + down.later[a, b, c]
        sums[indices] = total
    best = min(sums, key=sums.get)
    grid, found = shortest_grid(fine, 3, switch=switch)
    np.testing.assert_allclose(grid, fine.levels[list(best)])
    assert found == pytest.approx(sums[best] + (0 if switch else top[-1]))


def test_the_errors_of_steps_are_those_of_the_solver(mixtures):
    """One step of DPM-Solver++(2M) from the fine states: it misses the fine one by as much."""
    *models, images = mixtures
    fine = fine_of(models, images)
    errors = module._step_errors(fine, rising=True)
    levels, solver = fine.levels, get_solver("dpmpp-2m")
    slope = lambda sigma, x: (x - flat_denoised(x, sigma)) / sigma
    flat_denoised = lambda x, sigma: (
        models[0].denoise(x.reshape(-1, *SHAPE), sigma).reshape(x.shape)
    )
    a, b, c = 2, 4, 7
    t = [jnp.asarray(levels[index]) for index in (a, b, c)]
    state = solver.init(slope, t[0], jnp.asarray(fine.source[a]), None)
    for begin, end in ((0, 1), (1, 2)):
        x = jnp.asarray(fine.source[(a, b)[begin]])
        y, state = solver.step(slope, t[begin], t[end], x, state)
        if begin == 0:
            missed = np.asarray(y - fine.source[b])[None]
            expected = np.mean(module._arrived(fine, missed, b, rising=True) ** 2)
            assert errors.first[a, b] == pytest.approx(expected, rel=1e-6)
    missed = np.asarray(y - fine.source[c])[None]
    expected = np.mean(module._arrived(fine, missed, c, rising=True) ** 2)
    assert errors.later[a, b, c] == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_a_tuned_grid_is_nearer(mixtures):
    source, target, images = mixtures
    tuned = tune(source, target, images, steps=6, refinements=20)
    found = tuned.grid.found
    assert found["better_than_the_default"]
    assert found["error_held_out"] < 0.7 * found["error_of_the_default_held_out"]
    assert tuned.grid.steps == 6
    # three solvers on two grids, fitted weights on these and two more, and the refined one
    assert len(tuned.table) == 11
    halves = [tuned.grid.bridge(model) for model in (source, target)]
    truth = [
        Bridge.over(model, steps=100, solver=get_solver("unipc-3")) for model in (source, target)
    ]
    made, expected = (b.decode(a.encode(jnp.asarray(images))) for a, b in (halves, truth))
    off = jnp.sqrt(jnp.mean((made - expected)[1::2] ** 2) / jnp.mean(expected[1::2] ** 2))
    assert float(off) == pytest.approx(found["error_held_out"], rel=0.02)


def test_weights_are_exact_where_the_solution_is_linear():
    """Between Gaussians as broad in all directions: any two steps do, to rounding."""
    rng = np.random.default_rng(0)
    models = [
        mixture_model(jnp.asarray(rng.normal(size=(1, *SHAPE)), jnp.float32), jnp.asarray([v]))
        for v in (0.05, 0.3)
    ]
    images = rng.normal(size=(8, *SHAPE)).astype(np.float32)
    tuned = tune(*models, images, steps=2, solver="fitted", refinements=0)
    assert tuned.grid.found["error_held_out"] < 2e-4
    assert tuned.grid.found["error_of_the_default_held_out"] > 0.1


@pytest.mark.slow
def test_fitted_weights_are_nearer_than_any_other_solver(mixtures, tmp_path):
    """On the images that were held out, and as much so when the file is read."""
    source, target, images = mixtures
    named = {}
    for name in tuning.TRIED:
        tuned = tune(source, target, images, steps=6, solver=name, refinements=0)
        named[name] = tuned.grid.found["error_held_out"]
    assert named["fitted"] < 0.8 * min(named[name] for name in tuning.TRIED if name != "fitted")
    tuned.grid.write(tmp_path / "grid.json")
    read = TunedGrid.read(tmp_path / "grid.json")
    assert read == tuned.grid
    halves = [read.bridge(model) for model in (source, target)]
    truth = [
        Bridge.over(model, steps=100, solver=get_solver("unipc-3")) for model in (source, target)
    ]
    made, expected = (b.decode(a.encode(jnp.asarray(images))) for a, b in (halves, truth))
    off = jnp.sqrt(jnp.mean((made - expected)[1::2] ** 2) / jnp.mean(expected[1::2] ** 2))
    assert float(off) == pytest.approx(named["fitted"], rel=0.02)
    with pytest.raises(ValueError, match="belong to the noise levels that they were fitted on"):
        halves[1].up_to(jnp.asarray(1.0))


def test_weights_are_fitted_to_what_comes_down_from_the_switch(double):
    """Where the switch is exact: 4 steps up to 1, and from there to 80 and back in closed form."""
    models = gaussian(0, 0.3), gaussian(1, -0.4)
    images = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (6, 4, 4, 2)))
    levels = jnp.geomspace(*models[0].schedule.sigma_range, 61)
    fine = _fine_solution(models, images, levels)
    end = int(np.argmin(np.abs(fine.levels - 1)))
    way = tuning._weighted(
        models, fine, slice(None), fine.levels[np.linspace(0, end, 5).astype(int)], switch=True
    )
    made = tuning._translated(models, images, way)
    assert tuning._relative(made, jnp.asarray(fine.target[0])) < 1e-3


def test_grids_closer_than_the_fine_levels_are_left_out():
    """Up to 15 there are 16 of the fine levels, and all of them up to the highest."""
    levels = np.geomspace(0.1, 1e6, 51)
    ends = {grid[-1].round() for grid, _ in spaced_grids(levels, 20, switch=True).values()}
    assert ends == {1e6}
    few = spaced_grids(levels, 5, switch=True)
    assert {grid[-1].round() for grid, _ in few.values()} == {1e6, 40, 15}
    assert [switch for _, switch in few.values()] == [False] * 2 + [True] * 4


@pytest.mark.slow
def test_refining_moves_levels_and_weights(mixtures):
    source, target, images = mixtures
    before, after = (
        tune(source, target, images, steps=3, solver="fitted", refinements=count, rate=0.01)
        for count in (0, 30)
    )
    errors = [tuned.grid.found["error"] for tuned in (before, after)]
    assert errors[1] < 0.95 * errors[0]
    assert before.grid.weights != after.grid.weights
    assert before.grid.sigmas != after.grid.sigmas


@pytest.mark.slow
def test_what_is_worse_on_held_out_images_is_not_taken(mixtures, monkeypatch):
    """Grids that are good for the images that they were chosen by alone."""
    source, target, images = mixtures

    def spoilt(made, truth):
        calls.append(1)
        return 1.0 if len(calls) % 2 == 0 and len(calls) < 21 else 0.5

    calls = []
    monkeypatch.setattr(tuning, "_relative", spoilt)
    tuned = tuning.tune(source, target, images, steps=3, refinements=0)
    assert not tuned.grid.found["better_than_the_default"]
    default = Bridge.over(source, steps=3)
    np.testing.assert_allclose(tuned.grid.sigmas, default.sigmas, rtol=1e-6)
    assert get_solver(tuned.grid.solver) == default.solver


@pytest.mark.slow
def test_gaussians_need_no_network_and_switch_low(double):
    """Where the switch is exact the best grid ends at once, with the solver's error alone."""
    models = gaussian(0, 0.3), gaussian(1, -0.4)
    images = np.random.default_rng(0).uniform(-1, 1, (8, 4, 4, 2))
    tuned = tune(*models, images, steps=2, solver="dpmpp-2m", refinements=0)
    assert tuned.grid.switch
    assert tuned.grid.sigmas[-1] < 1.0
    assert tuned.grid.found["error_held_out"] < 0.01


def test_the_file(tmp_path):
    grid = TunedGrid((0.1, 1.0, 80.0), "unipc-2", switch=False, found={"error": 0.01})
    grid.write(tmp_path / "grid.json")
    assert TunedGrid.read(tmp_path / "grid.json") == grid
    told = json.loads((tmp_path / "grid.json").read_text())
    assert "weights" not in told
    weights = {"rising": [[1.5], [1.2, 0.1]], "falling": [[0.5], [0.2, 0.1]]}
    own = Fitted(((1.5,), (1.2, 0.1)), ((0.5,), (0.2, 0.1)))
    fitted = TunedGrid((0.1, 1.0, 80.0), "fitted", switch=False, found={}, weights=own)
    fitted.write(tmp_path / "fitted.json")
    assert TunedGrid.read(tmp_path / "fitted.json") == fitted
    for changed in (
        {"sigmas": [1.0, 0.1]},
        {"sigmas": [0.1]},
        {"sigmas": ["low", 1.0]},
        {"solver": "magic"},
        {"switch": 1},
        {"more": 1},
        {"format": "another"},
        {"solver": "fitted"},
        {"weights": weights},
        {"solver": "fitted", "weights": {"rising": weights["rising"]}},
        {"solver": "fitted", "weights": weights | {"falling": [[0.5]]}},
        {"solver": "fitted", "weights": weights | {"falling": [[0.5], [0.5]]}},
        {"solver": "fitted", "weights": weights | {"falling": [[0.5], [0.5, "a"]]}},
        {"solver": "fitted", "weights": weights | {"falling": [[0.5], [0.5, float("nan")]]}},
    ):
        (tmp_path / "other.json").write_text(json.dumps(told | changed))
        with pytest.raises(ValueError, match="is not a grid as `ddib tune` writes it"):
            TunedGrid.read(tmp_path / "other.json")
    model = mixture_model(jnp.zeros((1, *SHAPE)), jnp.ones(1))
    with pytest.raises(
        ValueError, match=r"from 0.1 to 80, and the model's noise levels from 0.002"
    ):
        grid.bridge(model)


@pytest.mark.parametrize(
    ("count", "size", "said"),
    [
        (3, SHAPE, "4 images or more, half of them held out, not 3"),
        (4, (5, 5, 1), "images of 4 x 4"),
    ],
)
def test_images_that_do_not_do(count, size, said):
    model = mixture_model(jnp.zeros((1, *SHAPE)), jnp.ones(1))
    with pytest.raises(ValueError, match=said):
        tune(model, model, np.zeros((count, *size), np.float32), steps=3)

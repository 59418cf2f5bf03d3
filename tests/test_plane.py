"""The shipped models of points in the plane: samples, cycles, and the page of their study."""

import jax
import numpy as np
import pytest

import ddib_jax
from ddib_jax import runs
from ddib_jax.bridge import Bridge
from ddib_jax.data import SHAPES, draw_points
from ddib_jax.grids import make_grid
from ddib_jax.report import write_report
from ddib_jax.solvers import get_solver
from ddib_jax.transport import wasserstein


def bridge(name):
    model = ddib_jax.load(name)
    return Bridge(model, make_grid("log-normal", model.schedule, 12), get_solver("exp-rk4"))


@pytest.mark.parametrize("shape", SHAPES)
def test_samples_are_as_near_as_other_points(shape):
    pytest.importorskip("scipy")
    one, other = (draw_points(shape, 500, np.random.default_rng(seed))[0] for seed in (1, 2))
    samples = np.asarray(
        jax.jit(Bridge.sample)(bridge(shape), jax.random.normal(jax.random.key(0), (500, 2)))
    )
    assert wasserstein(samples, one) < 1.5 * wasserstein(one, other)


def test_a_cycle_closes():
    """Within 1e-4 on average in 192 evaluations, a sixtieth of the paper's error in 16,000."""
    moons, rings = bridge("moons"), bridge("concentric-rings")
    x, _ = draw_points("moons", 400, np.random.default_rng(0))
    translate = jax.jit(lambda source, target, x: target.decode(source.encode(x)))
    back = np.asarray(translate(rings, moons, translate(moons, rings, x)))
    assert np.linalg.norm(back - x, axis=1).mean() < 1e-4


def test_the_page(tmp_path):
    rng, cloud = np.random.default_rng(0), lambda: np.random.default_rng(0).normal(size=(20, 2))
    arrays = {f"a > b/{part}": cloud() for part in ("source", "latent", "target", "cycle")} | {
        "a > b/positions": rng.random(20)
    }
    arrays["density/a"] = rng.random((5, 5))
    facts = dict.fromkeys(("title", "command", "started", "finished"), "")
    run = runs.Run(
        "synthetic_2d", **facts, seconds=1.0, machine={}, versions={}, config={}, arrays=arrays
    )
    runs.write_run(tmp_path / "run", run)
    page = write_report(tmp_path / "run").read_text()
    assert "Likelihood" in page
    assert (tmp_path / "run" / "figures" / "clouds.png").is_file()
    runs.write_run(
        tmp_path / "empty",
        runs.Run("synthetic_2d", **facts, seconds=1.0, machine={}, versions={}, config={}),
    )
    with pytest.raises(ValueError, match="has no array 'PAIR/source'"):
        write_report(tmp_path / "empty")

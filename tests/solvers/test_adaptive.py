"""The adaptive reference solver: its tolerance, and NaN where it is not reached."""

import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.analytic import mixture_model
from ddib_jax.bridge import Bridge
from ddib_jax.solvers import Adaptive, solve

pytest.importorskip("diffrax", reason="diffrax is not installed (extra 'adaptive')")
pytestmark = pytest.mark.usefixtures("strict")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["tsit5", "dopri8"])
@pytest.mark.parametrize("ends", [(1.0, 4.0), (4.0, 1.0)], ids=["rising", "falling"])
def test_to_its_tolerance(method, ends):
    """Of y' = y cos(t) / t - sin(t), against a far finer tolerance."""
    f = lambda t, y: y * jnp.cos(t) / t - jnp.sin(t)
    y0, ts = jnp.asarray([[0.5, 1.5]]), jnp.asarray(ends)
    truth = solve(Adaptive("dopri8", 1e-13, 1e-13), f, y0, ts).y
    coarse, fine = (solve(Adaptive(method, tol, tol), f, y0, ts) for tol in (1e-4, 1e-8))
    assert jnp.abs(coarse.y - truth).max() < 1e-3
    assert jnp.abs(fine.y - truth).max() < 1e-7
    assert int(fine.evaluations) > int(coarse.evaluations) > 0


def test_too_few_steps_are_nan():
    f = lambda t, y: -1e4 * (y - jnp.cos(t))
    assert jnp.isnan(
        solve(
            Adaptive("tsit5", 1e-9, 1e-9, max_steps=4), f, jnp.ones((1, 2)), jnp.asarray([1.0, 2.0])
        ).y
    ).all()


def test_across_a_bridge():
    """On a Gaussian, whose latents have a closed form, in one interval."""
    model = mixture_model(jnp.full((1, 2, 2, 1), 0.3), jnp.asarray([0.25]))
    low, high = model.schedule.sigma_range
    image = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2, 2, 1)))
    bridge = Bridge(model, jnp.asarray([low, high]), Adaptive("dopri8", 1e-11, 1e-11))
    end = 0.3 + (image - 0.3) * jnp.sqrt((0.25 + high**2) / (0.25 + low**2))
    truth = end / jnp.sqrt(1 + high**2)
    assert float(jnp.abs(bridge.encode(image) - truth).max()) < 1e-9
    assert float(jnp.abs(bridge.decode(bridge.encode(image)) - image).max()) < 1e-8

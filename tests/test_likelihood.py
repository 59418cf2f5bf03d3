"""The likelihood against closed forms, and Hutchinson's estimate against the exact trace."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.analytic import mixture_model
from ddib_jax.bridge import Bridge, log_likelihood
from ddib_jax.grids import make_grid
from ddib_jax.solvers import get_solver


def bridge(model, steps, solver="rk4"):
    return Bridge(model, make_grid("log-uniform", model.schedule, steps), get_solver(solver))


@pytest.mark.slow
def test_a_gaussian(strict):
    """N(m, v I) at sigma_min: N(m, v + sigma_min^2), but for what sigma_max leaves of m and v."""
    model = mixture_model(jnp.zeros((1, 3)), jnp.asarray([0.25]))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(7, 3)))
    low, high = model.schedule.sigma_range
    # z = x sqrt((v + high^2) / (v + low^2)) / sqrt(1 + high^2) is decoded from N(0, 1)
    variance = (0.25 + low**2) * (1 + high**2) / (0.25 + high**2)
    truth = -0.5 * jnp.sum(x**2, axis=1) / variance - 1.5 * jnp.log(2 * jnp.pi * variance)
    np.testing.assert_allclose(log_likelihood(bridge(model, 400), x), truth, atol=1e-6)


def test_a_mixture_integrates_to_one(strict):
    model = mixture_model(
        jnp.asarray([[-1.0, 0.5], [1.0, 0.0], [0.0, -1.0]]), jnp.asarray([0.05, 0.1, 0.2])
    )
    ticks = jnp.linspace(-4, 4, 81)
    x = jnp.stack(jnp.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    density = jnp.exp(jax.jit(log_likelihood)(bridge(model, 60), x))
    assert float(density.sum()) * 0.1**2 == pytest.approx(1, abs=2e-3)


@pytest.mark.slow
def test_hutchinson_has_no_bias(strict):
    model = mixture_model(
        jnp.asarray([[-1.0, 0.5, 0.0], [1.0, 0.0, 0.3]]), jnp.asarray([0.05, 0.2])
    )
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))
    exact = log_likelihood(bridge(model, 30), x)
    estimates = jnp.stack(
        [
            log_likelihood(bridge(model, 30), x, key=jax.random.key(seed), probes=64)
            for seed in range(4)
        ]
    )
    error = jnp.std(estimates, axis=0) / 2
    assert np.all(np.abs(estimates.mean(axis=0) - exact) < 5 * error + 0.02)
    assert np.all(jnp.std(estimates, axis=0) > 0)


def test_an_implicit_solver_is_refused():
    model = mixture_model(jnp.zeros((1, 2)), jnp.asarray([0.25]))
    with pytest.raises(ValueError, match="needs an explicit solver; Implicit"):
        log_likelihood(bridge(model, 4, "implicit-midpoint"), jnp.zeros((1, 2)))

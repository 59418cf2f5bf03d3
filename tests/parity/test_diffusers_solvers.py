"""UniPC and DEIS step as diffusers' schedulers do, on the same levels and denoiser."""

import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.solvers import DEIS, UniPC, solve

torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed (extra 'parity')")

pytestmark = pytest.mark.usefixtures("strict")

SIGMAS = np.asarray([20.0, 9.0, 5.0, 2.0, 1.1, 0.5, 0.3, 0.1])


def denoised(x, sigma, tanh):
    """Of N(0, 1 / 4) beside two points: any smooth denoiser will do."""
    return 0.25 * x / (0.25 + sigma**2) + 0.3 * tanh(x / (1 + sigma**2))


def scheduled(scheduler, start):
    """diffusers' own loop over SIGMAS, in x = x_t / alpha_t."""
    scheduler.set_timesteps(len(SIGMAS) - 1)
    scheduler.sigmas = torch.from_numpy(SIGMAS)
    alphas = 1 / np.sqrt(1 + SIGMAS**2)
    sample = torch.from_numpy(start * alphas[0])
    scheduler._step_index = 0
    for step, time in enumerate(scheduler.timesteps):
        x = sample.numpy() / alphas[step]
        clean = torch.from_numpy(denoised(x, SIGMAS[step], np.tanh))
        sample = scheduler.step(clean, time, sample).prev_sample
    return sample.numpy() / alphas[-1]


CASES = {
    "unipc of 2 points": (UniPC(2), "UniPCMultistepScheduler", {"solver_order": 2}),
    "unipc of 3 points": (UniPC(3), "UniPCMultistepScheduler", {"solver_order": 3}),
    "deis of 2 points": (DEIS(2), "DEISMultistepScheduler", {"solver_order": 2}),
    "deis of 3 points": (DEIS(3), "DEISMultistepScheduler", {"solver_order": 3}),
}


@pytest.mark.parametrize("name", CASES)
def test_every_step_is_theirs(name):
    solver, scheduler, options = CASES[name]
    start = 20 * np.random.default_rng(0).normal(size=(2, 3))
    theirs = scheduled(
        getattr(diffusers, scheduler)(prediction_type="sample", lower_order_final=False, **options),
        start,
    )
    slope = lambda sigma, x: (x - denoised(x, sigma, jnp.tanh)) / sigma
    ours = solve(solver, slope, jnp.asarray(start), jnp.asarray(SIGMAS)).y
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)

"""Models whose denoiser is known: the ground truth that solvers, bridges and metrics are held
against.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ddib_jax.diffusion import DiffusionModel
from ddib_jax.preconditioning import Sample
from ddib_jax.schedules import EDM
from ddib_jax.types import NoiseSchedule


@dataclass(frozen=True)
class MixtureDenoiser:
    """The exact denoiser of a mixture of isotropic Gaussians, as a network that predicts the
    sample.

    With variances of zero the mixture is a finite data set and this is its empirical score's
    denoiser, a softmax over the data (Karras et al. 2022, appendix B.3).
    """

    schedule: NoiseSchedule

    def apply(
        self, variables: Any, x: Array, time: Array, cond: Any = None, **options: Any
    ) -> Array:
        """x [b ...] scaled to unit variance, time [b] -> E[data | noisy x] [b ...]."""
        means, variances, log_weights = (
            variables["params"][name] for name in ("means", "variances", "log_weights")
        )
        sigma = self.schedule.sigma(time)[:, None]
        noisy = x.reshape(len(x), -1) * jnp.sqrt(1 + sigma**2)
        centres = means.reshape(len(means), -1)
        total = variances[None] + sigma**2
        gaps = noisy[:, None] - centres[None]
        log_density = -0.5 * jnp.sum(gaps**2, axis=2) / total - 0.5 * centres.shape[1] * jnp.log(
            total
        )
        shares = jax.nn.softmax(log_weights[None] + log_density, axis=1)
        kept = shares * (variances[None] / total)
        return ((shares - kept) @ centres + jnp.sum(kept, axis=1, keepdims=True) * noisy).reshape(
            x.shape
        )


def mixture_model(
    means: Float[Array, "k ..."],
    variances: Float[Array, " k"],
    weights: Float[Array, " k"] | None = None,
    *,
    schedule: NoiseSchedule = EDM(),
) -> DiffusionModel:
    """The exact diffusion model of the mixture of N(means[i], variances[i] I), of equal weights
    unless given.

    One mean is a Gaussian; variances of zero make the model of the data set `means`.
    """
    means, variances = jnp.asarray(means), jnp.asarray(variances)
    weights = jnp.ones_like(variances) if weights is None else jnp.asarray(weights)
    params = {
        "means": means,
        "variances": variances,
        "log_weights": jnp.log(weights / jnp.sum(weights)),
    }
    network = MixtureDenoiser(schedule)
    return DiffusionModel(
        params, Sample(), network=network, schedule=schedule, data_shape=means.shape[1:]
    )

"""Models whose denoiser is known in closed form: ground truth for solvers, bridges and metrics."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ddib_jax import schedules
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.preconditioning import Sample
from ddib_jax.types import Cond, NoiseSchedule, PRNGKey

_EDM = schedules.EDM()


@dataclass(frozen=True)
class MixtureDenoiser:
    """The exact denoiser of a mixture of isotropic Gaussians, as a network of sample prediction.

    With variances of zero the mixture is a finite data set and this is the denoiser of its
    empirical score, a softmax over the data (Karras et al. 2022, appendix B.3). It is a `Network`,
    whose parameters are `means` [k ...], `variances` [k] and `log_weights` [k].
    """

    schedule: NoiseSchedule

    def init(self, key: PRNGKey, x: Array, time: Array, cond: Cond) -> Any:
        """The parameters of N(0, I), for data of the shape of one of x [b ...]."""
        means, ones = jnp.zeros((1, *x.shape[1:]), x.dtype), jnp.ones(1, x.dtype)
        return {"params": {"means": means, "variances": ones, "log_weights": 0 * ones}}

    def condition_spec(self) -> None:
        """None: a mixture is a single domain."""

    def apply(
        self, variables: Any, x: Array, time: Array, cond: Cond = None, **options: Any
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
        log_scale = 0.5 * centres.shape[1] * jnp.log(total)
        log_density = -0.5 * jnp.sum(gaps**2, axis=2) / total - log_scale
        posterior = jax.nn.softmax(log_weights[None] + log_density, axis=1)
        # of each component the Wiener filter: gain * noisy + (1 - gain) * centre
        gain = posterior * (variances[None] / total)
        denoised = (posterior - gain) @ centres + jnp.sum(gain, axis=1, keepdims=True) * noisy
        return denoised.reshape(x.shape)


def mixture_model(
    means: Float[Array, "k ..."],
    variances: Float[Array, " k"],
    *,
    weights: Float[Array, " k"] | None = None,
    schedule: NoiseSchedule = _EDM,
) -> DiffusionModel:
    """The exact diffusion model of a mixture of N(means[i], variances[i] I).

    Weights are equal unless given, and need not sum to 1. One mean is a Gaussian; variances of zero
    make the model of the data set `means`.
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

"""How much each noise level counts in training: weights of the squared error of the
denoised image.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from ddib_jax.types import Preconditioning

Sigma = Float[Array, "..."]


@dataclass(frozen=True)
class Network:
    """1 / scale(sigma)^2: every noise level's error counts as the network sees it, whatever the
    preconditioning.
    """

    def __call__(self, sigma: Sigma, precondition: Preconditioning) -> Sigma:
        return 1 / jnp.square(precondition.scale(sigma))


@dataclass(frozen=True)
class EDM:
    """(sigma^2 + sigma_data^2) / (sigma sigma_data)^2 (Karras et al. 2022, table 1)."""

    sigma_data: float = 0.5

    def __call__(self, sigma: Sigma, precondition: Preconditioning) -> Sigma:
        return (jnp.square(sigma) + self.sigma_data**2) / jnp.square(sigma * self.sigma_data)


@dataclass(frozen=True)
class MinSNR:
    """min(1 / sigma^2, gamma), the signal-to-noise ratio up to a bound (Hang et al. 2023, section
    3.4, gamma = 5).
    """

    gamma: float = 5.0

    def __call__(self, sigma: Sigma, precondition: Preconditioning) -> Sigma:
        return jnp.minimum(1 / jnp.square(sigma), self.gamma)


WEIGHTINGS = {"network": Network, "edm": EDM, "min-snr": MinSNR}
"""Name -> weighting, called with (sigma, preconditioning)."""

"""Weights of noise levels in training: factors of the squared error of the denoised image.

A weighting is called with (sigma, preconditioning), sigma a scalar or an array, and returns weights
of the shape of sigma.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from ddib_jax.types import Preconditioning

Sigma = Float[Array, "..."]


@dataclass(frozen=True)
class Unweighted:
    """1 / scale(sigma)^2, which makes the loss the plain squared error of the network's output."""

    def __call__(self, sigma: Sigma, precondition: Preconditioning) -> Sigma:
        """The weights at sigma, which depend on the preconditioning's scale."""
        return 1 / jnp.square(precondition.scale(sigma))


@dataclass(frozen=True)
class EDM:
    """(sigma^2 + sigma_data^2) / (sigma sigma_data)^2 (Karras et al. 2022, table 1)."""

    sigma_data: float = 0.5

    def __call__(self, sigma: Sigma, precondition: Preconditioning) -> Sigma:
        """The weights at sigma, whatever the preconditioning."""
        return (jnp.square(sigma) + self.sigma_data**2) / jnp.square(sigma * self.sigma_data)


@dataclass(frozen=True)
class MinSNR:
    """min(1 / sigma^2, gamma), a bounded signal-to-noise ratio (Hang et al. 2023, section 3.4)."""

    gamma: float = 5.0

    def __call__(self, sigma: Sigma, precondition: Preconditioning) -> Sigma:
        """The weights at sigma, whatever the preconditioning."""
        return jnp.minimum(1 / jnp.square(sigma), self.gamma)


WEIGHTINGS = {"network": Unweighted, "edm": EDM, "min-snr": MinSNR}
"""Name -> weighting."""

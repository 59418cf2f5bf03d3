"""The upper end of a bridge in closed form: above a noise level, data are a Gaussian's."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from flax import struct

from ddib_jax.diffusion import DiffusionModel
from ddib_jax.preconditioning import Wiener
from ddib_jax.types import Data, Scalar


@struct.dataclass
class Switch:
    """From the end of a bridge's grid to the level of its latents by the flow of a Gaussian.

    Where noise hides all of the data but mean and covariance, the probability flow of a model is
    that of the Gaussian with this mean and covariance, which needs no network and no steps. (Wang
    and Vastola 2024 skip the highest levels of samplers so.) gaussian: mean and covariance, with
    orthonormal directions; sigma: the noise level of the latents.
    """

    gaussian: Wiener
    sigma: Scalar

    @classmethod
    def of(cls, gaussian: Wiener, sigma: float) -> "Switch":
        """The switch up to latents at the noise level `sigma`.

        The Gaussian's directions, which models store as float16, are made orthonormal, so that the
        flow is undone to rounding.
        """
        directions = np.asarray(gaussian.directions, np.float64)
        flat = directions.reshape(len(directions), -1).T
        found, triangle = np.linalg.qr(flat)
        found = (found * np.sign(np.diag(triangle))).T.reshape(directions.shape)
        kind = gaussian.mean.dtype
        own = replace(gaussian, directions=jnp.asarray(found, kind))
        return cls(own, jnp.asarray(sigma, kind))

    def up(self, x: Data, sigma: Scalar) -> Data:
        """Data x [b ...] of the noise level `sigma` at that of the latents."""
        return self.gaussian.flow(x, sigma, self.sigma)

    def down(self, x: Data, sigma: Scalar) -> Data:
        """Data x [b ...] of the latents' noise level at the noise level `sigma`."""
        return self.gaussian.flow(x, self.sigma, sigma)


def known_gaussian(model: DiffusionModel) -> Wiener:
    """The mean and covariance of its data that a model carries: its Wiener preconditioning.

    Raises ValueError for a model without.
    """
    if not isinstance(model.precondition, Wiener):
        raise ValueError(
            f"A model with the preconditioning {type(model.precondition).__name__} does not hold"
            " the mean and covariance of its data, which the Gaussian switch needs; fit them to"
            " images: Bridge.over(model, switch=..., gaussian=Wiener.fit(images))."
        )
    return model.precondition

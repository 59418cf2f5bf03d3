"""A bridge is half of a DDIB: one model, one grid, one solver; image <-> latent of unit variance."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.diffusion import DiffusionModel, probability_flow
from ddib_jax.schedules import make_grid
from ddib_jax.solvers import HEUN, odeint
from ddib_jax.types import Context, Image, Latent, Perturbation, PRNGKey, Scalar, Solver


@struct.dataclass
class Bridge:
    """The two-way road between images and latents of one domain (Su et al. 2023, section 3).

    sigmas [n]: ascending noise levels, all positive. Encoding integrates the probability-flow ODE upward along
    them, decoding downward along the same ones, with the same solver.
    """

    model: DiffusionModel
    sigmas: Float[Array, "n"]
    solver: Solver = struct.field(pytree_node=False, default=HEUN)

    @classmethod
    def over(cls, model: DiffusionModel, *, steps: int = 40, grid: str = "karras", solver: Solver = HEUN) -> "Bridge":
        """A bridge over the schedule's whole range of noise levels in `steps` steps of a named grid."""
        return cls(model, make_grid(grid, model.schedule, steps), solver)

    def encode(self, image: Image) -> Latent:
        """Image [b h w c] in [-1, 1] -> its latent [b h w c], x(sigma_max) / sqrt(1 + sigma_max^2)."""
        x = odeint(self.solver, probability_flow(self.model), image, self.sigmas)
        return x / jnp.sqrt(1 + self.sigmas[-1] ** 2)

    def decode(self, latent: Latent) -> Image:
        """Latent [b h w c] of unit variance -> the image [b h w c] it is the latent of."""
        x = latent * jnp.sqrt(1 + self.sigmas[-1] ** 2)
        return odeint(self.solver, probability_flow(self.model), x, self.sigmas[::-1])


def unperturbed(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """The latent as it is."""
    return latent


@struct.dataclass
class DDIB:
    """Dual Diffusion Implicit Bridge (Su et al. 2023, algorithm 1): source.encode, perturb, target.decode."""

    source: Bridge
    target: Bridge
    coefficient: Any = 0.0
    perturb: Perturbation = struct.field(pytree_node=False, default=unperturbed)

    def __call__(self, key: PRNGKey, image: Image) -> Image:
        """Images [b h w c] of the source domain in [-1, 1] -> images of the target domain.

        `key` only feeds perturbations that want fixed noise; the translation itself is deterministic.
        """
        latent = self.source.encode(image)
        context = {"image": image, "noise": jax.random.normal(key, latent.shape, latent.dtype)}
        return self.target.decode(self.perturb(latent, jnp.asarray(self.coefficient, latent.dtype), context))

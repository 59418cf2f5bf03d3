"""A bridge is half of a DDIB: one model, one grid, one solver; image <-> latent of unit
variance.
"""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.diffusion import DiffusionModel, probability_flow
from ddib_jax.grids import make_grid
from ddib_jax.solvers import HEUN, Carry, cross, is_implicit, odeint, odeint_effort, odeint_path
from ddib_jax.types import Data, Scalar, Solver


@struct.dataclass
class Bridge:
    """The two-way road between images and latents of one domain (Su et al. 2023, section 3).

    sigmas [n]: ascending noise levels, all positive. Encoding integrates the probability-flow ODE
    upward along them, decoding downward along the same ones, with the same solver.
    """

    model: DiffusionModel
    sigmas: Float[Array, " n"]
    solver: Solver = struct.field(pytree_node=False, default=HEUN)

    @classmethod
    def over(
        cls, model: DiffusionModel, *, steps: int = 40, grid: str = "karras", solver: Solver = HEUN
    ) -> "Bridge":
        """A bridge over the schedule's whole range of noise levels in `steps` steps of a named
        grid.
        """
        return cls(model, make_grid(grid, model.schedule, steps), solver)

    def encode(
        self, image: Data, *, carry: Carry | None = None, return_carry: bool = False
    ) -> Data | tuple[Data, Carry]:
        """Images [b h w c] in [-1, 1], or points [b d] -> their latents of that shape, x(sigma_max)
        / sqrt(1 + sigma_max^2).

        With a reversible solver, `return_carry` also returns what `decode` needs to give the image
        back exactly; a `carry` is one that decoding returned. Raises ValueError for another
        solver's, or another grid's. A latent that an implicit solver did not find is NaN.
        """
        x, carry = self._cross(image, True, carry, return_carry)
        latent = x / jnp.sqrt(1 + self.sigmas[-1] ** 2)
        return (latent, carry) if return_carry else latent

    def decode(
        self, latent: Data, *, carry: Carry | None = None, return_carry: bool = False
    ) -> Data | tuple[Data, Carry]:
        """Latents [b ...] of unit variance -> the images or points [b ...] they are the latents of;
        carries as `encode`.
        """
        x = latent * jnp.sqrt(1 + self.sigmas[-1] ** 2)
        image, carry = self._cross(x, False, carry, return_carry)
        return (image, carry) if return_carry else image

    def _cross(
        self, x: Array, rising: bool, carry: Carry | None, return_carry: bool
    ) -> tuple[Array, Carry | None]:
        f = probability_flow(self.model)
        if carry is not None or return_carry:
            return cross(self.solver, f, x, self.sigmas, rising=rising, carry=carry)
        if not is_implicit(self.solver):
            return odeint(self.solver, f, x, self.sigmas if rising else self.sigmas[::-1]), None
        x, residual = self.solved(x, rising=rising)
        return (
            jnp.where(
                (residual <= self.solver.solve.wanted(x.dtype)).reshape(-1, *[1] * (x.ndim - 1)),
                x,
                jnp.nan,
            ),
            None,
        )

    def solved(self, x: Data, *, rising: bool) -> tuple[Data, Float[Array, " b"]]:
        """The end of the ODE from x, up or down, by an implicit solver, and the relative residual
        of each member [b].

        `encode` and `decode` give NaN, as adaptive solvers do, where a residual is above what the
        solver wants.
        """
        ts = self.sigmas if rising else self.sigmas[::-1]
        return odeint_effort(self.solver, probability_flow(self.model), x, ts)[:2]

    def path(self, x: Data, *, rising: bool) -> Float[Array, "n b ..."]:
        """The states between an image and its latent, both included, in the direction of the road,
        each divided by sqrt(1 + sigma^2).

        x: an image where the road rises, else a latent.
        """
        ts = self.sigmas if rising else self.sigmas[::-1]
        scale = jnp.sqrt(1 + ts**2).reshape(-1, *[1] * x.ndim)
        states = (
            odeint_path(
                self.solver, probability_flow(self.model), x if rising else x * scale[0], ts
            )
            / scale
        )
        return states.at[0].set(x) if rising else states.at[-1].multiply(scale[-1])

    def sample(self, latent: Data) -> Data:
        """As `decode`, with the noise of the grid's lowest level removed by one denoising, for
        latents drawn at random.

        What is decoded from Gaussian noise still holds noise of deviation sigmas[0] (Song et al.
        2021, appendix G).
        """
        return self.model.denoise(self.decode(latent), self.sigmas[0])

    def up_to(self, sigma: Scalar) -> "Bridge":
        """The bridge whose latents lie at the noise level `sigma`: as many steps, their grid
        squeezed evenly in log sigma.
        """
        logs = jnp.log(self.sigmas)
        fraction = (jnp.log(sigma) - logs[0]) / (logs[-1] - logs[0])
        return self.replace(sigmas=jnp.exp(logs[0] + fraction * (logs - logs[0])))

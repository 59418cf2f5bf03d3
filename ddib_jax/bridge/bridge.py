"""A bridge is half of a DDIB: a model, a grid and a solver; image <-> latent of unit variance."""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.diffusion import DiffusionModel, probability_flow
from ddib_jax.grids import make_grid
from ddib_jax.solvers import (
    Carry,
    cross,
    get_solver,
    is_implicit,
    odeint,
    odeint_effort,
    odeint_path,
)
from ddib_jax.types import Data, Scalar, Solver

SOLVER = "dpmpp-2m"
"""The solver unless another one is asked for, here and in every command.

It and the grid were chosen on training images, by their translations' distance to those of a far
finer solution at 10, 20 and 40 network evaluations each way (`experiments/inversion.py`).
"""
GRID = "log-uniform"
"""The grid of noise levels unless another one is asked for."""
STEPS = 40
"""The grid's steps unless another number is asked for: with this solver, network evaluations."""
_SOLVER = get_solver(SOLVER)


@struct.dataclass
class Bridge:
    """Images of one domain to latents and back (Su et al. 2023, section 3).

    sigmas [n]: ascending noise levels, all positive. Encoding integrates the probability-flow ODE
    upward along them, decoding downward along the same ones, with the same solver.
    """

    model: DiffusionModel
    sigmas: Float[Array, " n"]
    solver: Solver = struct.field(pytree_node=False, default=_SOLVER)

    @classmethod
    def over(
        cls,
        model: DiffusionModel,
        *,
        steps: int = STEPS,
        grid: str = GRID,
        solver: Solver = _SOLVER,
    ) -> "Bridge":
        """A bridge over the schedule's whole range of noise levels, in `steps` of a named grid."""
        return cls(model, make_grid(grid, model.schedule, steps), solver)

    def encode(
        self, image: Data, *, carry: Carry | None = None, return_carry: bool = False
    ) -> Data | tuple[Data, Carry]:
        """Images [b h w c] in [-1, 1], or points [b d], to their latents of the same shape.

        A latent is x(sigma_max) / sqrt(1 + sigma_max^2). With a reversible solver, `return_carry`
        also returns what `decode` needs to give the image back exactly; a `carry` is one that
        decoding returned. Raises ValueError for another solver's, or another grid's. Where an
        implicit solver does not converge the latent is NaN.
        """
        x, carry = self._cross(image, rising=True, carry=carry, return_carry=return_carry)
        latent = x / jnp.sqrt(1 + self.sigmas[-1] ** 2)
        return (latent, carry) if return_carry else latent

    def decode(
        self, latent: Data, *, carry: Carry | None = None, return_carry: bool = False
    ) -> Data | tuple[Data, Carry]:
        """Latents [b ...] of unit variance to their images or points; carries as in `encode`."""
        x = latent * jnp.sqrt(1 + self.sigmas[-1] ** 2)
        image, carry = self._cross(x, rising=False, carry=carry, return_carry=return_carry)
        return (image, carry) if return_carry else image

    def _cross(
        self, x: Array, *, rising: bool, carry: Carry | None, return_carry: bool
    ) -> tuple[Array, Carry | None]:
        f = probability_flow(self.model)
        if carry is not None or return_carry:
            return cross(self.solver, f, x, self.sigmas, rising=rising, carry=carry)
        if not is_implicit(self.solver):
            return odeint(self.solver, f, x, self._levels(rising=rising)), None
        x, residual = self.solved(x, rising=rising)
        converged = residual <= self.solver.solve.accepted(x.dtype)
        # NaN, as an adaptive solver's: a wrong state must not look like a result
        return jnp.where(converged.reshape(-1, *[1] * (x.ndim - 1)), x, jnp.nan), None

    def _levels(self, *, rising: bool) -> Float[Array, " n"]:
        return self.sigmas if rising else self.sigmas[::-1]

    def solved(self, x: Data, *, rising: bool) -> tuple[Data, Float[Array, " b"]]:
        """The end of the ODE from x by an implicit solver, and its relative residuals [b].

        `encode` and `decode` give NaN where a residual is above the solver's threshold.
        """
        ts = self._levels(rising=rising)
        return odeint_effort(self.solver, probability_flow(self.model), x, ts)[:2]

    def path(self, x: Data, *, rising: bool) -> Float[Array, "n b ..."]:
        """The states between an image and its latent, both included, from x to the other.

        x: an image where the path rises, else a latent. States between are divided by
        sqrt(1 + sigma^2), as a latent is; the image is as it is.
        """
        ts = self._levels(rising=rising)
        scale = jnp.sqrt(1 + ts**2).reshape(-1, *[1] * x.ndim)
        start = x if rising else x * scale[0]
        states = odeint_path(self.solver, probability_flow(self.model), start, ts) / scale
        return states.at[0].set(x) if rising else states.at[-1].multiply(scale[-1])

    def sample(self, latent: Data) -> Data:
        """As `decode`, for latents drawn at random: with a last denoising.

        What is decoded from Gaussian noise still has noise of deviation sigmas[0] (Song et al.
        2021, appendix G).
        """
        return self.model.denoise(self.decode(latent), self.sigmas[0])

    def up_to(self, sigma: Scalar) -> "Bridge":
        """The bridge whose latents lie at the noise level `sigma`, in as many steps.

        The grid is compressed evenly in log sigma, from its lowest level on.
        """
        logs = jnp.log(self.sigmas)
        fraction = (jnp.log(sigma) - logs[0]) / (logs[-1] - logs[0])
        return self.replace(sigmas=jnp.exp(logs[0] + fraction * (logs - logs[0])))

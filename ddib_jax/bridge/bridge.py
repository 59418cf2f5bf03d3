"""A bridge is half of a DDIB: a model, a grid and a solver; image <-> latent of unit variance."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from ddib_jax.bridge.checks import as_floats
from ddib_jax.bridge.switch import Switch, known_gaussian
from ddib_jax.diffusion import DiffusionModel, probability_flow
from ddib_jax.grids import make_grid
from ddib_jax.nets.precision import Precision
from ddib_jax.preconditioning import Wiener
from ddib_jax.solvers import (
    Fitted,
    LatticeHeun,
    Solution,
    get_solver,
    solve,
    solve_path,
    without_failures,
)
from ddib_jax.types import Cond, Data, Scalar, Solver

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
_ROUNDING = 1e-5
"""By which a noise level may exceed the highest one and count as equal."""
_DEVIATIONS = 16
"""Of latents, that a lattice has room for: Gaussian numbers need 8 (one in 10^15 is beyond),
images that a model does not know reach 16."""
_LARGEST_DATUM = 2
"""That a lattice has room for at the lowest noise level: images lie within 1."""


@struct.dataclass
class Auxiliary:
    """The auxiliary state at one end of a bridge, and where it comes from: the way back is exact.

    value: of the shape of the state, of a lattice the pair [b 2 ...]; None where it is handed on
    apart. sigmas [n]: the ascending grid. rising: whether the solver itself went up the grid; then
    its inverse goes down, and the other way round. precision: the model's. batch: the images that a
    device had at once, where the bits of an answer may depend on it and must not (a lattice).
    """

    value: Array | np.ndarray | None
    sigmas: Float[Array | np.ndarray, " n"]
    solver: Solver = struct.field(pytree_node=False)
    rising: bool = struct.field(pytree_node=False)
    precision: Precision | None = struct.field(pytree_node=False, kw_only=True, default=None)
    batch: int | None = struct.field(pytree_node=False, kw_only=True, default=None)

    def check(self, bridge: "Bridge") -> Solver:
        """The solver's inverse; ValueError where the state is of another solver, grid or precision.

        Under `jit` the noise levels have no values to compare: only their number is.
        """
        solver, sigmas, precision = bridge.solver, bridge.sigmas, bridge.model.precision
        if solver.inverse is None:
            raise ValueError(
                f"{solver} has no auxiliary state to start from; it is not reversible."
            )
        if self.solver != solver:
            raise ValueError(
                f"The auxiliary state is that of {self.solver}; this bridge goes by {solver}."
            )
        if self.precision != precision:
            made, here = (name or "the device's own" for name in (self.precision, precision))
            raise ValueError(
                f"The auxiliary state was made at the precision {made}, and this bridge computes at"
                f" {here}; take the same one (--precision)."
            )
        traced = any(isinstance(grid, Tracer) for grid in (self.sigmas, sigmas))
        unequal = not traced and not np.array_equal(self.sigmas, sigmas)
        if self.sigmas.shape != sigmas.shape or unequal:
            describe = lambda grid: (
                f"{len(grid) - 1} steps" + ("" if traced else f" to {float(grid[-1]):g}")
            )
            raise ValueError(
                f"The auxiliary state was made on another grid, of {describe(self.sigmas)}; this"
                f" bridge's has {describe(sigmas)}."
            )
        return solver.inverse


@struct.dataclass
class Bridge:
    """Images of one domain to latents and back (Su et al. 2023, section 3).

    sigmas [n]: ascending noise levels, all positive. Encoding integrates the probability-flow ODE
    upward along them, decoding downward along the same ones, with the same solver. With a `switch`
    the latents lie higher than the grid ends, and the way between is a Gaussian's, in closed form.
    """

    model: DiffusionModel
    sigmas: Float[Array, " n"]
    solver: Solver = struct.field(pytree_node=False, default=_SOLVER)
    switch: Switch | None = None

    @classmethod
    def over(
        cls,
        model: DiffusionModel,
        *,
        steps: int = STEPS,
        grid: str = GRID,
        solver: Solver = _SOLVER,
        switch: float | None = None,
        gaussian: Wiener | None = None,
    ) -> "Bridge":
        """A bridge over the schedule's whole range of noise levels, in `steps` of a named grid.

        A lattice whose bits are open is made as fine as the noise levels allow. switch: the noise
        level at which the grid ends, and above which the model is taken for a Gaussian: the one of
        its Wiener preconditioning, or `gaussian`. Raises ValueError for a level outside of the
        schedule's range, for a model without such statistics, and for a lattice, which could not be
        crossed to the bit.
        """
        if switch is None:
            sigmas = make_grid(grid, model.schedule, steps)
            return cls(model, sigmas, _fitted(solver, sigmas))
        low, high = model.schedule.sigma_range
        if not low < switch < high:
            raise ValueError(
                f"The Gaussian switch lies between the model's noise levels, {low:g} and {high:g},"
                f" not at {switch:g}."
            )
        if isinstance(solver, LatticeHeun):
            raise ValueError(
                "A lattice is crossed to the bit, and the Gaussian switch is not; leave one out."
            )
        above = Switch.of(gaussian or known_gaussian(model), high)
        sigmas = make_grid(grid, model.schedule, steps, sigma_max=switch)
        return cls(model, sigmas, solver, above)

    def encode(self, image: Data) -> Data:
        """Images [b h w c] in [-1, 1], or points [b d], to their latents x(sigma_max) / `scale`.

        Images may be bytes, too (`as_floats`). Where a solver that iterates does not reach its
        tolerance the latent is NaN.
        """
        data = self.model.to_data(as_floats(image, "images"))
        return self.solve(data, rising=True).y / self.scale

    def decode(self, latent: Data) -> Data:
        """Latents [b ...] of unit variance to their images or points."""
        start = as_floats(latent, "latents") * self.scale
        return self.model.to_image(self.solve(start, rising=False).y)

    def sample(self, latent: Data) -> Data:
        """As `decode`, for latents drawn at random: with a last denoising.

        What is decoded from Gaussian noise still has noise of deviation sigmas[0] (Song et al.
        2021, appendix G).
        """
        start = as_floats(latent, "latents") * self.scale
        data = self.solve(start, rising=False).y
        return self.model.to_image(self.model.denoise(data, self.sigmas[0]))

    def solve(self, x: Data, *, rising: bool, aux: Auxiliary | None = None) -> Solution[Array]:
        """The ODE's solution from data x [b ...] at sigmas[0], or from the latents' level downward.

        With a reversible solver the solution's `aux` is an `Auxiliary`, and where it is given the
        state that it came from is met again. Raises ValueError for that of another solver or grid.
        A member's y is NaN where its residual is above the solver's tolerance: a wrong state must
        not look like a result.
        """
        x = jnp.asarray(as_floats(x, "data"))
        solver, value, solver_rises = self.solver, None, rising
        if aux is not None:
            inverse = aux.check(self)
            value, solver_rises = aux.value, aux.rising
            solver = self.solver if solver_rises == rising else inverse
        if self.switch is not None and not rising:
            x = self.switch.down(x, self.sigmas[-1])
        solution = solve(
            solver,
            probability_flow(self.model),
            x,
            self.sigmas if rising else self.sigmas[::-1],
            aux=None if value is None else jnp.asarray(value),
        )
        if solution.aux is not None:
            kept = Auxiliary(
                solution.aux,
                self.sigmas,
                self.solver,
                solver_rises,
                precision=self.model.precision,
            )
            solution = replace(solution, aux=kept)
        solution = without_failures(self.solver, solution)
        if self.switch is not None and rising:
            return replace(solution, y=self.switch.up(solution.y, self.sigmas[-1]))
        return solution

    def path(self, x: Data, *, rising: bool | Bool[Array, ""]) -> Float[Array, "n b ..."]:
        """The states at `levels`, data and their latent included, from x to the other end.

        x: data (images, or codes) where the path rises, else a latent. States between are divided
        by sqrt(1 + sigma^2), as a latent is; the data are as they are. A traced `rising` makes one
        program of both ways.
        """
        x = jnp.asarray(as_floats(x, "data"))
        ts = jnp.where(rising, self.sigmas, self.sigmas[::-1])
        scale = jnp.sqrt(1 + ts**2).reshape(-1, *[1] * x.ndim)
        above, start = self.switch, x
        if above is not None:
            start = jnp.where(rising, x, above.down(x * self.scale, ts[0]) / scale[0])
        start = jnp.where(rising, start, start * scale[0])
        states = solve_path(self.solver, probability_flow(self.model), start, ts) / scale
        states = jnp.where(rising, states.at[0].set(x), states.at[-1].multiply(scale[-1]))
        if above is None:
            return states
        top = above.up(states[-1] * scale[-1], ts[-1]) / self.scale
        before, after = (jnp.concatenate([states, top[None]]), jnp.concatenate([x[None], states]))
        return jnp.where(rising, before, after)

    @property
    def end(self) -> Scalar:
        """The noise level of the latents: that of the switch, or the last of the grid."""
        return self.sigmas[-1] if self.switch is None else self.switch.sigma

    @property
    def levels(self) -> Float[Array, " m"]:
        """The noise levels of a rising path: those of the grid, and the latents' above a switch."""
        return self.sigmas if self.switch is None else jnp.append(self.sigmas, self.end)

    @property
    def scale(self) -> Scalar:
        """sqrt(1 + end^2): the deviation of x(end) for data of unit variance."""
        return jnp.sqrt(1 + self.end**2)

    def under(self, cond: Cond) -> "Bridge":
        """This bridge with its model under a condition; None leaves the model under its own."""
        return self if cond is None else replace(self, model=self.model.given(cond))

    def up_to(self, sigma: Scalar) -> "Bridge":
        """The bridge whose latents lie at the noise level `sigma`, in as many steps.

        The grid is compressed evenly in log sigma, from its lowest level on. Raises ValueError for
        a level that is not above the lowest one, or beyond the highest; under `jit`, where it has
        no value to look at, the grid is NaN then. Also for a bridge with a switch, whose grid does
        not go as far as its latents, and for fitted weights, which belong to their own grid.
        """
        if isinstance(self.solver, Fitted):
            raise ValueError(
                "Fitted weights belong to the noise levels that they were fitted on; take a grid"
                " with another solver for latents at a lower level."
            )
        if self.switch is not None:
            raise ValueError(
                "A bridge with a Gaussian switch has latents at its own noise level alone; leave"
                " the switch out."
            )
        low, high = self.sigmas[0], self.sigmas[-1] * (1 + _ROUNDING)
        within = (sigma > low) & (sigma <= high)
        if not isinstance(within, Tracer) and not within:
            raise ValueError(
                f"The noise level {float(sigma):g} is outside of the bridge, which goes from"
                f" {float(low):g} to {float(self.sigmas[-1]):g}."
            )
        logs = jnp.log(self.sigmas)
        fraction = (jnp.log(sigma) - logs[0]) / (logs[-1] - logs[0])
        compressed = jnp.exp(logs[0] + fraction * (logs - logs[0]))
        return replace(self, sigmas=jnp.where(within, compressed, jnp.nan))


def _fitted(solver: Solver, sigmas: Float[Array, " n"]) -> Solver:
    """The solver; a lattice whose bits are open is the finest that holds data and latents."""
    if not isinstance(solver, LatticeHeun):
        return solver
    low, high = float(sigmas[0]), float(sigmas[-1])
    latent = _DEVIATIONS * float(np.hypot(1, high))
    if solver.exponential:
        return solver.holding(max(_LARGEST_DATUM / low, latent / high))
    return solver.holding(max(_LARGEST_DATUM, latent))

"""The second state of a reversible solver, and integration from it and to it."""

import jax
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.solvers.integrate import odeint_pair
from ddib_jax.types import ReversibleSolver, Solver, VectorField


def is_reversible(solver: Solver) -> bool:
    """Whether the solver steps pairs of states that its inverse undoes (`ReversibleSolver`)."""
    return hasattr(solver, "inverse")


@struct.dataclass
class Carry:
    """The second state of a pair, and how it was made: with it the way back is exact.

    second: of the shape of the first state. sigmas [n]: the ascending grid. rising: whether the
    solver itself went up the grid; then its inverse goes down, and the other way round.
    """

    second: Array | np.ndarray | None
    sigmas: Float[Array, " n"]
    solver: ReversibleSolver = struct.field(pytree_node=False)
    rising: bool = struct.field(pytree_node=False)

    def check(self, solver: ReversibleSolver, sigmas: Float[Array, " n"]) -> None:
        """Raise ValueError where this is the carry of another solver or grid than the given ones.

        Under `jit` the noise levels have no values to compare: only their number is.
        """
        if self.solver != solver:
            raise ValueError(f"The carry is that of {self.solver}; this bridge goes by {solver}.")
        traced = any(isinstance(grid, jax.core.Tracer) for grid in (self.sigmas, sigmas))
        unequal = not traced and not np.array_equal(self.sigmas, sigmas)
        if self.sigmas.shape != sigmas.shape or unequal:
            describe = lambda grid: (
                f"{len(grid) - 1} steps" + ("" if traced else f" to {float(grid[-1]):g}")
            )
            raise ValueError(
                f"The carry was made on another grid, of {describe(self.sigmas)}; this bridge's"
                f" has {describe(sigmas)}."
            )


def cross(
    solver: Solver,
    f: VectorField,
    y: Array,
    sigmas: Float[Array, " n"],
    *,
    rising: bool,
    carry: Carry | None = None,
) -> tuple[Array, Carry]:
    """Integrate from y up or down the ascending grid `sigmas`; returns the end and its carry.

    Without a carry the solver steps; with one it steps in the direction in which the carry was
    made, and its inverse in the other. Raises ValueError for a solver that is not reversible, or
    another one's carry.
    """
    if not is_reversible(solver):
        raise ValueError(
            f"{solver} keeps nothing to carry; see `is_reversible` for the solvers that do."
        )
    if carry is None:
        second, solver_rises = None, rising
    else:
        carry.check(solver, sigmas)
        second, solver_rises = carry.second, carry.rising
    stepper = solver if solver_rises == rising else solver.inverse
    ts = sigmas if rising else sigmas[::-1]
    y, second = odeint_pair(stepper, f, y, ts, second=second)
    return y, Carry(second, sigmas, solver, solver_rises)

"""What a reversible solver knows besides the state, and how a road is walked with it, there and
back.
"""

import jax
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.solvers.integrate import odeint_pair
from ddib_jax.types import ReversibleSolver, Solver, VectorField


def is_reversible(solver: Solver) -> bool:
    """Whether the solver walks pairs of states and can be undone with both of them in hand (a
    `ReversibleSolver`).
    """
    return hasattr(solver, "inverse")


@struct.dataclass
class Carry:
    """The second state of a pair, and the road it was made on: with it the way back is exact.

    second: of the shape of the first state. sigmas [n]: the ascending grid. rising: whether the
    solver itself went up the grid; then its inverse goes down, and the other way round.
    """

    second: Array | np.ndarray | None
    sigmas: Float[Array, " n"]
    solver: ReversibleSolver = struct.field(pytree_node=False)
    rising: bool = struct.field(pytree_node=False)

    def check(self, solver: ReversibleSolver, sigmas: Float[Array, " n"]) -> None:
        """Raise ValueError where this is the carry of another solver or grid than the given ones.

        The noise levels are compared where they are known; under `jit` only their number is.
        """
        if self.solver != solver:
            raise ValueError(f"The carry is that of {self.solver}; this bridge goes by {solver}.")
        known = not any(isinstance(grid, jax.core.Tracer) for grid in (self.sigmas, sigmas))
        if self.sigmas.shape != sigmas.shape or (known and not np.array_equal(self.sigmas, sigmas)):
            theirs, ours = (
                f"{len(grid) - 1} steps" + (f" to {float(grid[-1]):g}" if known else "")
                for grid in (self.sigmas, sigmas)
            )
            raise ValueError(
                f"The carry was made on another grid, of {theirs}; this bridge's has {ours}."
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
    """Go up or down the ascending grid `sigmas` from y, from the carry if there is one; returns the
    end and its carry.

    Without a carry the solver steps; with one it steps in the direction in which the carry was
    made, and its inverse in the other. Raises ValueError for a solver that is not reversible, or
    another one's carry.
    """
    if not is_reversible(solver):
        raise ValueError(
            f"{solver} keeps nothing to carry; see `is_reversible` for the solvers that do."
        )
    made = rising if carry is None else carry.rising
    if carry is not None:
        carry.check(solver, sigmas)
    there = solver if made == rising else solver.inverse
    y, second = odeint_pair(
        there, f, y, sigmas if rising else sigmas[::-1], None if carry is None else carry.second
    )
    return y, Carry(second, sigmas, solver, made)

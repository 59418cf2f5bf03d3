"""Integration of an ODE over a grid with `lax.scan`; the grid's direction is that of time."""

import abc
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from ddib_jax.types import AnyArray, Ending, Scalar, Solver, VectorField

Count = Int[Array, ""] | int | None
"""A number of intervals of a grid; None for all of them."""


@struct.dataclass
class Solution(Generic[AnyArray]):
    """The end of an integration, and what it took.

    y: the state, of the shape of y0. aux: the auxiliary state of a reversible solver, of the same
    shape (of a bridge an `Auxiliary`), or None: with it the inverse leads back exactly. residual
    [b]: the worst relative residual of every member of the batch over all steps; 0 where nothing is
    solved for. evaluations []: of the vector field; of a batch the slowest member decides how many
    an iteration takes. Of many images in batches all are arrays of the host, a
    `Solution[np.ndarray]`, and evaluations are [b].
    """

    y: AnyArray
    aux: Any
    residual: Float[AnyArray, " b"]
    evaluations: Int[AnyArray, "..."]


class Explicit:
    """What a solver has to say that iterates nothing and cannot be undone algebraically."""

    inverse: None = None
    tolerance: None = None

    def finish(self, state: object, t: Scalar) -> Ending:
        """Nothing besides the state that was reached."""
        return Ending()


class OverGrid(abc.ABC):
    """A method of the grid as a whole: `solve` calls its `over`, and takes no steps.

    Its step is that over an interval as a grid of its own.
    """

    @abc.abstractmethod
    def over(
        self, f: VectorField, y0: Array, ts: Float[Array, " n"], steps: Count
    ) -> tuple[Array, Float[Array, " b"], Int[Array, ""]]:
        """y at the last of `ts`, or at ts[steps], from y(ts[0]) = y0, and what it took.

        That is the residual and the evaluations of an `Ending`.
        """

    def init(self, f: VectorField, t0: Scalar, y0: Array, aux: Array | None) -> tuple:
        """Residuals of zero [b], and no evaluations yet."""
        return jnp.zeros(len(y0), y0.dtype), jnp.asarray(0)

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, state: tuple
    ) -> tuple[Array, tuple]:
        """From y(t0) = y0 to y(t1)."""
        y1, residual, evaluations = self.over(f, y0, jnp.stack([t0, t1]), None)
        return y1, (jnp.maximum(state[0], residual), state[1] + evaluations)

    def finish(self, state: tuple, t: Scalar) -> Ending:
        """The worst residual of every member, and the evaluations."""
        return Ending(None, *state)


def solve(
    solver: Solver,
    f: VectorField,
    y0: Array,
    ts: Float[Array, " n"],
    *,
    aux: Array | None = None,
    steps: Count = None,
    after: Callable[[Array], Array] | None = None,
) -> Solution[Array]:
    """Integrate dy/dt = f(t, y) from y(ts[0]) = y0 along `ts`, rising or falling, to y(ts[-1]).

    The state is of the common type of y0 and ts, and of a float where both are whole numbers. One
    `lax.scan` step an interval: the program's size does not grow with the grid, and both
    directions and all grids of one length share it. `steps`, which may be traced, is the number of
    intervals of a grid that was padded to a common length: one program then serves any number of
    them, and what lies beyond costs next to nothing.

    A reversible solver starts from the pair (y0, aux), or makes its own second state. With
    `end = solve(solver, f, y0, ts)`, `solve(solver.inverse, f, end.y, ts[::-1], aux=end.aux)` gives
    y0 back up to the rounding of the numbers, whatever the steps' own error.

    after: what is done to the state after every step, as papers correct it from outside of the ODE;
    the result then depends on the number of steps. Raises ValueError for an `aux` where the solver
    is not reversible, and for `after` where it is or takes no steps: of a pair only one state would
    be corrected.
    """
    if aux is not None and solver.inverse is None:
        raise ValueError(
            f"{solver} has no auxiliary state to start from; solvers with an `inverse` have one."
        )
    if after is not None and (isinstance(solver, OverGrid) or solver.inverse is not None):
        raise ValueError(
            f"{type(solver).__name__} has no steps after which a state could be corrected, or has a"
            " second state that would not be; take another solver."
        )
    y0, ts = _in_floats(y0, ts)
    if isinstance(solver, OverGrid):
        y, *effort = solver.over(f, y0, ts, steps)
        ending = Ending(None, *effort)
    else:
        correct = after or (lambda y: y)

        def step(t0, t1, y, state):
            y, state = solver.step(f, t0, t1, y, state)
            return correct(y), state

        def interval(state, numbered):
            index, t0, t1 = numbered
            stepped = lambda: step(t0, t1, *state)
            if steps is not None:
                return jax.lax.cond(index < steps, stepped, lambda: state), None
            return stepped(), None

        intervals = (jnp.arange(len(ts) - 1), ts[:-1], ts[1:])
        start = (y0, solver.init(f, ts[0], y0, aux))
        (y, state), _ = jax.lax.scan(interval, start, intervals)
        ending = solver.finish(state, ts[-1 if steps is None else steps])
    aux, residual, evaluations = ending
    if residual is None:
        residual = jnp.zeros(y0.shape[:1], y0.dtype)
    if evaluations is None:
        evaluations = jnp.asarray([solver.evaluations(n) for n in range(len(ts))])
        evaluations = evaluations[-1 if steps is None else steps]
    return Solution(y, aux, residual, evaluations)


def solve_path(
    solver: Solver, f: VectorField, y0: Array, ts: Float[Array, " n"]
) -> Float[Array, "n ..."]:
    """As `solve`, the states at all of `ts`, the first of which is y0.

    Raises ValueError for a method of the whole grid, which has no states between its ends.
    """
    if isinstance(solver, OverGrid):
        raise ValueError(
            f"{type(solver).__name__} has no states between the ends of a grid; take another"
            " solver."
        )

    y0, ts = _in_floats(y0, ts)

    def interval(state, ends):
        state = solver.step(f, *ends, *state)
        return state, state[0]

    start = (y0, solver.init(f, ts[0], y0, None))
    _, path = jax.lax.scan(interval, start, (ts[:-1], ts[1:]))
    return jnp.concatenate([y0[None], path])


def _in_floats(y0: Array, ts: Array) -> tuple[Array, Array]:
    """State and grid as arrays of floats, the state's wide enough for its sums with the grid's."""
    y0, ts = jnp.asarray(y0), jnp.asarray(ts)
    kind = jnp.result_type(y0, ts, 0.0)
    return y0.astype(kind), ts if jnp.issubdtype(ts.dtype, jnp.floating) else ts.astype(kind)


def backward(ts: Float[Array, " n"], *, steps: Count = None) -> Float[Array, " n"]:
    """The grid from its end to its start; of a padded grid its first `steps` intervals, padded."""
    if steps is None:
        return ts[::-1]
    # ts[steps], ..., ts[0], and then ts[0] again and again, as the padding of the way back
    return ts[jnp.clip(steps - jnp.arange(len(ts)), 0)]


def threshold(solver: Solver, dtype: jnp.dtype) -> float | None:
    """The residual up to which a state of this type counts as solved for; None: nothing is."""
    return None if solver.tolerance is None else solver.tolerance * float(jnp.finfo(dtype).eps)


def solved(solver: Solver, solution: Solution[Array]) -> Bool[Array, " b"]:
    """Which members of the batch the solver solved to its tolerance."""
    limit = threshold(solver, solution.y.dtype)
    if limit is None:
        return jnp.ones(solution.residual.shape, bool)
    return solution.residual <= limit


def without_failures(solver: Solver, solution: Solution[Array]) -> Solution[Array]:
    """NaN in place of the states that the solver did not solve for: none looks like a result."""
    if solver.tolerance is None:
        return solution
    column = solved(solver, solution).reshape(-1, *[1] * (solution.y.ndim - 1))
    return replace(solution, y=jnp.where(column, solution.y, jnp.nan))

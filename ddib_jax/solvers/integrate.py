"""Integration of an ODE over a grid with `lax.scan`; the grid's direction is that of time.

Every function takes `steps`, a traced number of intervals to integrate over of a grid that was
padded to a common length: one compiled program then serves any number of steps, and what lies
beyond them costs next to nothing.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddib_jax.types import ReversibleSolver, Solver, VectorField

Count = Int[Array, ""] | int | None
"""A number of intervals of a grid; None for all of them."""


def odeint(
    solver: Solver, f: VectorField, y0: Array, ts: Float[Array, " n"], *, steps: Count = None
) -> Array:
    """Integrate dy/dt = f(t, y) from y(ts[0]) = y0 along `ts`, rising or falling, to y(ts[-1]).

    One `lax.scan` step an interval: the program's size does not grow with the grid, and both
    directions and all grids of one length share it. The result has the shape of y0.
    """
    return walk(solver, f, y0, ts, solver.init(f, ts[0], y0), steps=steps)[0]


def odeint_pair(
    solver: ReversibleSolver,
    f: VectorField,
    y0: Array,
    ts: Float[Array, " n"],
    *,
    second: Array | None = None,
    steps: Count = None,
) -> tuple[Array, Array]:
    """As `odeint` with a reversible solver, from a pair of states to a pair (y, second).

    Both states are of the shape of y0; without `second` the pair starts as the solver starts it.
    `odeint_pair(solver.inverse, f, y, ts[::-1], second=second)` gives back the pair that they came
    from, up to the rounding of the numbers, whatever the steps' own error.
    """
    y, carry = walk(solver, f, y0, ts, solver.init(f, ts[0], y0, second=second), steps=steps)
    return y, solver.second(carry, ts[-1 if steps is None else steps])


def odeint_effort(
    solver: Any, f: VectorField, y0: Array, ts: Float[Array, " n"], *, steps: Count = None
) -> tuple[Array, Float[Array, " b"], Int[Array, ""]]:
    """As `odeint` with an implicit or adaptive solver, with what it reached and what it cost.

    Returns y(ts[-1]), its relative residual [b], the largest of all steps, and the evaluations []
    that were taken. Of a batch [b ...] the slowest member decides how many passes a step takes.
    """
    y, carry = walk(solver, f, y0, ts, solver.init(f, ts[0], y0), steps=steps)
    return y, *solver.effort(carry)


def walk(
    solver: Any,
    f: VectorField,
    y0: Array,
    ts: Float[Array, " n"],
    carry: Any,
    *,
    steps: Count = None,
) -> tuple[Array, Any]:
    """The solver's steps along the grid from y0 and its carry: the last state and carry."""
    if hasattr(solver, "whole"):  # a method of the grid as a whole, not of its intervals
        return solver.whole(f, y0, ts, steps=steps)

    def interval(state, numbered):
        index, t0, t1 = numbered
        stepped = lambda: solver.step(f, t0, t1, *state)
        if steps is not None:
            return jax.lax.cond(index < steps, stepped, lambda: state), None
        return stepped(), None

    intervals = (jnp.arange(len(ts) - 1), ts[:-1], ts[1:])
    return jax.lax.scan(interval, (y0, carry), intervals)[0]


def odeint_path(
    solver: Any, f: VectorField, y0: Array, ts: Float[Array, " n"]
) -> Float[Array, "n ..."]:
    """As `odeint`, with the states at all of `ts`, the first of which is y0.

    Raises ValueError for a method of the whole grid, which has no states between its ends.
    """
    if hasattr(solver, "whole"):
        raise ValueError(
            f"{type(solver).__name__} chooses its own steps and has no states on a grid; take"
            " another solver."
        )

    def interval(state, ends):
        state = solver.step(f, *ends, *state)
        return state, state[0]

    _, path = jax.lax.scan(interval, (y0, solver.init(f, ts[0], y0)), (ts[:-1], ts[1:]))
    return jnp.concatenate([y0[None], path])


def backward(ts: Float[Array, " n"], *, steps: Count = None) -> Float[Array, " n"]:
    """The grid from its end to its start; of a padded grid its first `steps` intervals, padded."""
    if steps is None:
        return ts[::-1]
    # ts[steps], ..., ts[0], and then ts[0] again and again, as the padding of the way back
    return ts[jnp.clip(steps - jnp.arange(len(ts)), 0)]


def count(solver: Any, steps: int) -> int:
    """Evaluations of the vector field of an explicit or reversible solver over `steps` steps.

    What the solver evaluates at its start is counted too.
    """
    overhead = getattr(solver, "overhead", None)
    return solver.evaluations * steps + (overhead(steps) if overhead else 0)

"""Integration of an ODE over a grid with `lax.scan`; the direction of the grid is the direction of time."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddib_jax.types import ReversibleSolver, Solver, VectorField


def odeint(solver: Solver, f: VectorField, y0: Array, ts: Float[Array, "n"]) -> Array:
    """Integrate dy/dt = f(t, y) from y(ts[0]) = y0 along the grid `ts`, rising or falling; returns y(ts[-1]).

    One `lax.scan` step an interval: the program's size does not grow with the grid, and both directions
    and all grids of one length share it. The result has the shape of y0.
    """
    return _scan(solver, f, y0, ts, solver.init(f, ts[0], y0))[0]


def odeint_pair(
    solver: ReversibleSolver, f: VectorField, y0: Array, ts: Float[Array, "n"], second: Array | None = None
) -> tuple[Array, Array]:
    """As `odeint` with a reversible solver, from and to a pair of states, (y, second), both of the shape of y0.

    Without `second` the pair starts as the solver starts it. `odeint_pair(solver.inverse, f, *pair, ts[::-1])` gives back the
    state that the pair came from, up to the rounding of the numbers, whatever the steps' own error.
    """
    y, carry = _scan(solver, f, y0, ts, solver.init(f, ts[0], y0, second))
    return y, solver.second(carry, ts[-1])


def odeint_effort(solver: Any, f: VectorField, y0: Array, ts: Float[Array, "n"]) -> tuple[Array, Float[Array, "b"], Int[Array, ""]]:
    """As `odeint` with an implicit solver; returns y(ts[-1]), its relative residual [b] and the evaluations [] it took.

    The residual is the largest of all steps. Of a batch [b ...] the slowest member decides how many passes a step takes.
    """
    y, carry = _scan(solver, f, y0, ts, solver.init(f, ts[0], y0))
    return y, *solver.effort(carry)


def _scan(solver, f, y0, ts, carry):
    if hasattr(solver, "whole"):  # a method of the grid as a whole, not of its intervals
        return solver.whole(f, y0, ts)

    def interval(state, ends):
        y, carry = state
        y, carry = solver.step(f, ends[0], ends[1], y, carry)
        return (y, carry), None

    state, _ = jax.lax.scan(interval, (y0, carry), jnp.stack([ts[:-1], ts[1:]], axis=1))
    return state

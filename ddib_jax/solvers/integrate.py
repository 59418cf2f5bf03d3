"""Integration of an ODE over a grid with `lax.scan`; the direction of the grid is the direction of time."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ddib_jax.types import Solver, VectorField


def odeint(solver: Solver, f: VectorField, y0: Array, ts: Float[Array, "n"]) -> Array:
    """Integrate dy/dt = f(t, y) from y(ts[0]) = y0 along the grid `ts`, rising or falling; returns y(ts[-1]).

    One `lax.scan` step an interval: the program's size does not grow with the grid, and both directions
    and all grids of one length share it. The result has the shape of y0.
    """

    def interval(state, ends):
        y, carry = state
        y, carry = solver.step(f, ends[0], ends[1], y, carry)
        return (y, carry), None

    start = (y0, solver.init(f, ts[0], y0))
    (y, _), _ = jax.lax.scan(interval, start, jnp.stack([ts[:-1], ts[1:]], axis=1))
    return y

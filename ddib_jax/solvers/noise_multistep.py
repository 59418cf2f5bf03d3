"""Multistep methods of the slope itself, with fewer past values at the start: DEIS and iPNDM."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array

from ddib_jax.solvers.solve import Explicit
from ddib_jax.types import Scalar, VectorField


@dataclass(frozen=True)
class DEIS(Explicit):
    """DEIS (Zhang and Chen 2023, tAB-DEIS): the slope as a polynomial in log t.

    On the probability-flow ODE in sigma the slope is the predicted noise, and log sigma the time of
    EDM's schedule, in which the paper takes its polynomials. `points` are values of the slope, 2 to
    4; the first steps have fewer, so that the order is 2 however many there are: one evaluation a
    step from the first on. Needs t > 0, rising or falling.
    """

    points: int = 3
    order: int = 2

    def evaluations(self, steps: int) -> int:
        """One a step."""
        return steps

    def init(self, f: VectorField, t0: Scalar, y0: Array, aux: Array | None) -> tuple:
        """The last slopes with the steps in log t between them, and the number of steps taken."""
        nothing, unit = jnp.zeros_like(y0), jnp.ones_like(t0)
        return (nothing,) * (self.points - 1), (unit,) * (self.points - 1), 0

    def step(self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, state) -> tuple[Array, tuple]:
        """From y(t0) = y0 to y(t1)."""
        past, lengths, count = state
        h, slope = jnp.log(t1 / t0), f(t0, y0)
        # integrals of exp(s) s^n over s from 0 to h
        moments = [jnp.expm1(h)]
        for n in range(1, self.points):
            moments.append(h**n * (1 + moments[0]) - n * moments[-1])
        # Newton's form: divided differences, and the polynomials in s that they multiply
        values, nodes, differences = (slope, *past), [jnp.zeros_like(h)], [slope]
        for length in lengths:
            nodes.append(nodes[-1] - length)
        table = list(values)
        for n in range(1, self.points):
            table = [
                (table[k] - table[k + 1]) / (nodes[k] - nodes[k + n]) for k in range(len(table) - 1)
            ]
            differences.append(jnp.where(count >= n, table[0], 0))
        basis, y1 = [jnp.ones_like(h)], y0
        for n, difference in enumerate(differences):
            weight = sum(c * m for c, m in zip(basis, moments, strict=False))
            y1 = y1 + t0 * weight * difference
            # times (s - node)
            lower, upper = [*[-nodes[n] * c for c in basis], 0], [0, *basis]
            basis = [a + b for a, b in zip(lower, upper, strict=True)]
        state = (slope, *past)[:-1], (h, *lengths)[:-1], count + 1
        return y1, state


@dataclass(frozen=True)
class IPNDM(Explicit):
    """iPNDM (Zhang and Chen 2023, appendix): Adams-Bashforth with the weights of an even grid.

    The slope of a step is a fixed mixture of the last four, whatever the steps' lengths, and of
    fewer at the start: PLMS (Liu et al. 2022) without its Runge-Kutta steps. One evaluation a step,
    order 2.
    """

    order: int = 2

    def evaluations(self, steps: int) -> int:
        """One a step."""
        return steps

    def init(self, f: VectorField, t0: Scalar, y0: Array, aux: Array | None) -> tuple:
        """The last three slopes, and the number of steps taken."""
        return (jnp.zeros_like(y0),) * 3, 0

    def step(self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, state) -> tuple[Array, tuple]:
        """From y(t0) = y0 to y(t1)."""
        past, count = state
        slopes = (f(t0, y0), *past)
        weights = jnp.asarray(_ADAMS, t0.dtype)[jnp.minimum(count, 3)]
        mixture = sum(weights[k] * slope for k, slope in enumerate(slopes))
        return y0 + (t1 - t0) * mixture, (slopes[:3], count + 1)


_ADAMS = (
    (1, 0, 0, 0),
    (3 / 2, -1 / 2, 0, 0),
    (23 / 12, -16 / 12, 5 / 12, 0),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Weights of the last four slopes, the newest first, after 0, 1, 2 and 3 or more steps."""

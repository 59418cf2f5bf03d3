"""Explicit Runge-Kutta methods: a method is data, its Butcher tableau."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array

from ddib_jax.solvers.solve import Explicit
from ddib_jax.types import Scalar, VectorField


@dataclass(frozen=True)
class RungeKutta(Explicit):
    """An explicit Runge-Kutta method (Hairer, Norsett and Wanner 1993, II.1).

    a: rows of the strictly lower triangular matrix, from the second stage on. b: weights.
    c: abscissae.
    """

    order: int
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]

    def evaluations(self, steps: int) -> int:
        """One a stage."""
        return len(self.b) * steps

    def init(self, f: VectorField, t0: Scalar, y0: Array, aux: Array | None) -> tuple:
        """A one-step method keeps nothing."""
        return ()

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, state: tuple
    ) -> tuple[Array, tuple]:
        """From y(t0) = y0 to y(t1)."""
        return y0 + self.increment(f, t0, t1, y0), state

    def increment(self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array) -> Array:
        """What a step from y(t0) = y0 to t1 adds to y0."""
        h = t1 - t0
        slopes = [f(t0, y0)]
        for row, c in zip(self.a, self.c[1:], strict=True):
            slopes.append(f(t0 + c * h, y0 + h * _combine(row, slopes)))
        return h * _combine(self.b, slopes)


def _combine(weights: tuple[float, ...], slopes: list[Array]) -> Array:
    terms = (w * k for w, k in zip(weights, slopes, strict=True) if w)
    return sum(terms, start=jnp.zeros_like(slopes[0]))


EULER = RungeKutta(1, a=(), b=(1.0,), c=(0.0,))
"""Euler's method: on the probability-flow ODE in sigma exactly DDIM (Song et al. 2021, eq. 14)."""

MIDPOINT = RungeKutta(2, a=((1 / 2,),), b=(0.0, 1.0), c=(0.0, 1 / 2))
"""The explicit midpoint method, related to DPM-Solver-2 (Karras et al. 2022, appendix D)."""

HEUN = RungeKutta(2, a=((1.0,),), b=(1 / 2, 1 / 2), c=(0.0, 1.0))
"""Heun's method, the solver of Karras et al. (2022), algorithm 1."""

RK4 = RungeKutta(
    4,
    a=((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
    c=(0.0, 1 / 2, 1 / 2, 1.0),
)
"""The classical method of Kutta (1901)."""

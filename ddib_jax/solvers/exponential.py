"""Exponential form of any method: the linear part of the ODE is integrated exactly."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Array

from ddib_jax.solvers.integrate import count
from ddib_jax.types import Scalar, VectorField


@dataclass(frozen=True)
class Exponential:
    """A method applied to u = y / t as a function of s = 1 / t.

    There dy/dt = (y - d(t, y)) / t becomes du/ds = d. With t = sigma and d the denoiser, s =
    exp(lambda) with lambda = -log sigma: this is the change of variables of exponential integrators
    with data prediction (Lu et al. 2022; Rex, Blasingame and Liu 2025). A constant d is followed
    exactly. The method without this wrapper is the same with noise prediction, for there dy/dt is
    the noise. A reversible method stays one. Needs t > 0.
    """

    method: Any

    @property
    def order(self) -> int:
        """That of the method."""
        return self.method.order

    @property
    def evaluations(self) -> int:
        """Those of the method."""
        return self.method.evaluations

    @property
    def inverse(self) -> "Exponential":
        """The method that undoes this one, along the grid reversed."""
        # AttributeError for a method without an inverse: so `is_reversible` tells the two apart
        return Exponential(self.method.inverse)

    def overhead(self, steps: int) -> int:
        """That of the method."""
        return count(self.method, steps) - self.method.evaluations * steps

    def init(self, f: VectorField, t0: Scalar, y0: Array, *, second: Array | None = None) -> Any:
        """The method's own carry, in the coordinates u and s."""
        # a method that is not reversible has an `init` that knows no second state
        pair = {} if second is None else {"second": second / t0}
        return self.method.init(_data_prediction(f), 1 / t0, y0 / t0, **pair)

    def second(self, carry: Any, t: Scalar) -> Array:
        """The method's second state, in y's coordinates."""
        return t * self.method.second(carry, 1 / t)

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, carry: Any
    ) -> tuple[Array, Any]:
        """From y(t0) = y0 to y(t1)."""
        u, carry = self.method.step(_data_prediction(f), 1 / t0, 1 / t1, y0 / t0, carry)
        return t1 * u, carry


def _data_prediction(f: VectorField) -> VectorField:
    """du/ds = d = y - t f(t, y), of u = y / t at s = 1 / t."""

    def d(s, u):
        y = u / s
        return y - f(1 / s, y) / s

    return d

"""Exponential form of any method: the linear part of the ODE is integrated exactly."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Array

from ddib_jax.solvers.solve import OverGrid
from ddib_jax.types import Ending, Scalar, Solver, VectorField


@dataclass(frozen=True)
class Exponential:
    """A method applied to u = y / t as a function of s = 1 / t.

    There dy/dt = (y - d(t, y)) / t becomes du/ds = d. With t = sigma and d the denoiser, s =
    exp(lambda) with lambda = -log sigma: this is the change of variables of exponential integrators
    with data prediction (Lu et al. 2022; Rex, Blasingame and Liu 2025). A constant d is followed
    exactly. The method without this wrapper is the same with noise prediction, for there dy/dt is
    the noise. A reversible method stays one; a residual is that of u. Needs t > 0.
    """

    method: Solver

    def __post_init__(self):
        if isinstance(self.method, OverGrid):
            raise ValueError(
                f"{type(self.method).__name__} takes the grid as a whole and has no exponential"
                " form; give the method that it inverts that form."
            )

    @property
    def tolerance(self) -> float | None:
        """That of the method."""
        return self.method.tolerance

    @property
    def order(self) -> int:
        """That of the method."""
        return self.method.order

    @property
    def inverse(self) -> "Exponential | None":
        """The method that undoes this one, along the grid reversed; None where there is none."""
        inverse = self.method.inverse
        return None if inverse is None else Exponential(inverse)

    def evaluations(self, steps: int) -> int:
        """Those of the method."""
        return self.method.evaluations(steps)

    def init(self, f: VectorField, t0: Scalar, y0: Array, aux: Array | None) -> Any:
        """What the method keeps, in the coordinates u and s."""
        aux = None if aux is None else aux / t0
        return self.method.init(data_prediction(f), 1 / t0, y0 / t0, aux)

    def finish(self, state: Any, t: Scalar) -> Ending:
        """The method's ending, its auxiliary state in y's coordinates."""
        ending = self.method.finish(state, 1 / t)
        return ending._replace(aux=None if ending.aux is None else t * ending.aux)

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, state: Any
    ) -> tuple[Array, Any]:
        """From y(t0) = y0 to y(t1)."""
        u, state = self.method.step(data_prediction(f), 1 / t0, 1 / t1, y0 / t0, state)
        return t1 * u, state


def data_prediction(f: VectorField) -> VectorField:
    """du/ds = d = y - t f(t, y), of u = y / t at s = 1 / t."""

    def d(s, u):
        y = u / s
        return y - f(1 / s, y) / s

    return d

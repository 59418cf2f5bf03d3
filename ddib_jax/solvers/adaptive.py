"""Adaptive methods of diffrax: the reference for fixed grids. Needs the extra `adaptive`."""

from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array

from ddib_jax.types import Scalar, VectorField


@dataclass(frozen=True)
class Adaptive:
    """Steps of its own choice between the points of the grid, in log t.

    The methods are those of Tsitouras (2011) and of Prince and Dormand (1981). Tolerances are those
    of diffrax's step controller, relative and absolute, over the batch as a whole. `max_steps`
    bounds the steps of one interval; beyond it the result is NaN. Needs t > 0. Raises ImportError
    where diffrax is not installed.
    """

    method: Literal["tsit5", "dopri8"] = "dopri8"
    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 4096

    @property
    def order(self) -> int:
        """That of the method at fixed steps."""
        return {"tsit5": 5, "dopri8": 8}[self.method]

    @property
    def evaluations(self) -> int:
        """Those of one inner step; `odeint_effort` returns how many were taken in all."""
        return {"tsit5": 6, "dopri8": 13}[self.method]

    def init(self, f: VectorField, t0: Scalar, y0: Array) -> Any:
        """Residuals of zero [b], and no evaluations yet."""
        return jnp.zeros(len(y0), y0.dtype), jnp.asarray(0)

    def effort(self, carry: tuple) -> tuple[Array, Array]:
        """Residuals of zero [b], for nothing is solved for, and the evaluations."""
        return carry

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, carry: tuple
    ) -> tuple[Array, tuple]:
        """From y(t0) = y0 to y(t1)."""
        try:
            import diffrax
        except ImportError as error:
            raise ImportError(
                "Adaptive solvers are diffrax's: pip install 'ddib_jax[adaptive]'."
            ) from error
        residual, evaluations = carry
        method = {"tsit5": diffrax.Tsit5, "dopri8": diffrax.Dopri8}[self.method]()
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda s, y, args: jnp.exp(s) * f(jnp.exp(s), y)),
            method,
            jnp.log(t0),
            jnp.log(t1),
            None,
            y0,
            stepsize_controller=diffrax.PIDController(rtol=self.rtol, atol=self.atol),
            max_steps=self.max_steps,
            adjoint=diffrax.ForwardMode(),
            throw=False,
        )
        y1 = jnp.where(diffrax.is_okay(solution.result), solution.ys[0], jnp.nan)
        return y1, (residual, evaluations + solution.stats["num_steps"] * self.evaluations)

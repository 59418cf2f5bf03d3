"""Adaptive methods of diffrax: the reference for fixed grids. Needs the extra `adaptive`."""

from dataclasses import dataclass
from typing import Literal, cast

import jax.numpy as jnp
from jaxtyping import Array

from ddib_jax.types import Ending, Scalar, VectorField


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
    inverse: None = None
    tolerance: None = None

    @property
    def order(self) -> int:
        """That of the method at fixed steps."""
        return {"tsit5": 5, "dopri8": 8}[self.method]

    def evaluations(self, steps: int) -> int:
        """Those of one inner step an interval, the least; a `Solution` has those taken."""
        return {"tsit5": 6, "dopri8": 13}[self.method] * steps

    def init(self, f: VectorField, t0: Scalar, y0: Array, aux: Array | None) -> Array:
        """No evaluations yet."""
        return jnp.asarray(0)

    def finish(self, state: Array, t: Scalar) -> Ending:
        """The evaluations."""
        return Ending(evaluations=state)

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, state: Array
    ) -> tuple[Array, Array]:
        """From y(t0) = y0 to y(t1)."""
        try:
            import diffrax
        except ImportError as error:
            raise ImportError(
                "Adaptive solvers are diffrax's: pip install 'ddib_jax[adaptive]'."
            ) from error
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
        end = cast(Array, solution.ys)[0]
        y1 = jnp.where(diffrax.is_okay(solution.result), end, jnp.nan)
        # Besides the stages of the steps, those rejected included: the first slope, and two for the
        # choice of the first step.
        return y1, state + solution.stats["num_steps"] * self.evaluations(1) + 3

"""Implicit methods: exact both ways without a second state, at the price of a fixed point a step.

Along a grid and back along it reversed, `solve` gives the state back to the tolerance of the fixed
points, without an auxiliary state; its `Solution` has the residual that they reached and the
evaluations that they took.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddib_jax.solvers.fixed_point import FixedPoint
from ddib_jax.solvers.multistep import DPMSolverPP2M
from ddib_jax.solvers.solve import Count, OverGrid, backward, solve
from ddib_jax.types import Ending, Scalar, Solver, VectorField

_FIXED_POINT = FixedPoint()
_DPMPP_2M = DPMSolverPP2M()
_WITHOUT_NEWTON = FixedPoint(newton=0)
_PASSES = 8
"""Evaluations that a fixed point is expected to take."""


@dataclass(frozen=True)
class _Stepwise:
    """Implicit one-step methods; kept are the last slope, the worst residual, the evaluations."""

    fixed_point: FixedPoint = _FIXED_POINT
    inverse: None = None

    @property
    def tolerance(self) -> float:
        """That of the fixed points, with their slack, in units of the last place."""
        return self.fixed_point.accepted

    def evaluations(self, steps: int) -> int:
        """As many as are expected."""
        return _PASSES * steps

    def init(self, f: VectorField, t0: Scalar, y0: Array, aux: Array | None) -> tuple:
        """A first guess of the slope, residuals of zero [b], and no evaluations yet."""
        return jnp.zeros_like(y0), jnp.zeros(len(y0), y0.dtype), jnp.asarray(0)

    def finish(self, state: tuple, t: Scalar) -> Ending:
        """The worst relative residual of every member, and the evaluations."""
        return Ending(None, *state[1:])

    def _slope(self, equation, state) -> tuple[Array, tuple]:
        guess, worst, count = state
        result = self.fixed_point(equation, guess)
        worst = jnp.maximum(worst, result.residual)
        return result.x, (result.x, worst, count + result.evaluations)


@dataclass(frozen=True)
class ExactEuler(_Stepwise):
    """Euler's step where t falls, and its exact inverse, the implicit Euler step, where t rises.

    Decoding is plain DDIM; encoding solves for the state that DDIM would have decoded to this one:
    the fixed-point inversion of Pan et al. (2023) and Garibi et al. (2024), accelerated, and
    iterated to its tolerance.
    """

    order: int = 1

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, state: tuple
    ) -> tuple[Array, tuple]:
        """From y(t0) = y0 to y(t1)."""

        def falling():
            slope = f(t0, y0)
            return slope, (slope, state[1], state[2] + 1)

        rising = lambda: self._slope(lambda slope: f(t1, y0 + (t1 - t0) * slope), state)
        slope, state = jax.lax.cond(t1 < t0, falling, rising)
        return y0 + (t1 - t0) * slope, state


@dataclass(frozen=True)
class ImplicitMidpoint(_Stepwise):
    """The implicit midpoint rule, y1 = y0 + h f((t0 + t1) / 2, (y0 + y1) / 2).

    Symmetric, so its own inverse; of order 2 and stable for steps of any length (Hairer, Lubich and
    Wanner 2006, II.1).
    """

    order: int = 2

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, state: tuple
    ) -> tuple[Array, tuple]:
        """From y(t0) = y0 to y(t1)."""
        h = t1 - t0
        slope, state = self._slope(lambda slope: f(t0 + h / 2, y0 + h / 2 * slope), state)
        return y0 + h * slope, state


@dataclass(frozen=True)
class ExactInverse(OverGrid):
    """Any solver where t falls, and its inverse over the whole grid where t rises.

    For methods whose single steps cannot be undone, as DPM-Solver++(2M), whose inversion Hong et
    al. (2024) approximate: what is solved for is the state from which the falling run would end at
    this one. By defect correction (Stetter 1978): with F the falling and P the rising run,
    z = z + y - F(P(z)) is solved for z, and P(z) is the answer; P nearly inverts F, so that few
    passes do, each of two runs. Newton's method is not used: the derivative of two whole runs would
    hold every step's activations.
    """

    method: Solver = _DPMPP_2M
    fixed_point: FixedPoint = _WITHOUT_NEWTON
    inverse: None = None

    @property
    def order(self) -> int:
        """That of the method."""
        return self.method.order

    @property
    def tolerance(self) -> float:
        """That of the fixed point, with its slack, in units of the last place."""
        return self.fixed_point.accepted

    def evaluations(self, steps: int) -> int:
        """As many as are expected."""
        return _PASSES * self.method.evaluations(steps)

    def over(
        self, f: VectorField, y0: Array, ts: Float[Array, " n"], steps: Count
    ) -> tuple[Array, Float[Array, " b"], Int[Array, ""]]:
        """From y(ts[0]) = y0 to y(ts[-1]), or to y(ts[steps])."""
        ts_back = backward(ts, steps=steps)
        run = lambda y, ts: solve(self.method, f, y, ts, steps=steps)

        def falling():
            end = run(y0, ts)
            return end.y, end.residual, end.evaluations

        def rising():
            result = self.fixed_point(lambda z: z + y0 - run(run(z, ts).y, ts_back).y, y0)
            end = run(result.x, ts)
            # a pass of the fixed point is a run up and a run down; the answer is one more run
            evaluations = end.evaluations * (2 * result.evaluations + 1)
            return end.y, result.residual, evaluations

        # ts_back[0] is the end of the part that is integrated over, ts[-1] may be its padding
        return jax.lax.cond(ts_back[0] < ts[0], falling, rising)

"""Implicit methods: exact both ways without a second state, at the price of a fixed point a step.

Each is its own inverse: along a grid and back along it reversed, `odeint` gives the state back to
the tolerance of the fixed points. `odeint_effort` returns the residual that they reached and the
evaluations that they took.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddib_jax.solvers.fixed_point import FixedPoint
from ddib_jax.solvers.integrate import Count, backward, walk
from ddib_jax.solvers.multistep import DPMSolverPP2M
from ddib_jax.types import Scalar, Solver, VectorField

_FIXED_POINT = FixedPoint()
_DPMPP_2M = DPMSolverPP2M()
_WITHOUT_NEWTON = FixedPoint(newton=0)


def is_implicit(solver: Solver) -> bool:
    """Whether the solver solves for its states, to the tolerance of its `solve`."""
    return hasattr(solver, "solve")


@dataclass(frozen=True)
class _Stepwise:
    """Implicit one-step methods; the carry is the last slope, worst residual and evaluations."""

    solve: FixedPoint = _FIXED_POINT

    def init(self, f: VectorField, t0: Scalar, y0: Array) -> tuple:
        """A first guess of the slope, residuals of zero [b], and no evaluations yet."""
        return jnp.zeros_like(y0), jnp.zeros(len(y0), y0.dtype), jnp.asarray(0)

    def effort(self, carry: tuple) -> tuple[Float[Array, " b"], Int[Array, ""]]:
        """The worst relative residual of every member so far, and the evaluations."""
        return carry[1], carry[2]

    def _slope(self, equation, carry) -> tuple[Array, tuple]:
        guess, worst, count = carry
        result = self.solve(equation, guess)
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
    evaluations: int = 1

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, carry: tuple
    ) -> tuple[Array, tuple]:
        """From y(t0) = y0 to y(t1)."""

        def falling():
            slope = f(t0, y0)
            return slope, (slope, carry[1], carry[2] + 1)

        rising = lambda: self._slope(lambda slope: f(t1, y0 + (t1 - t0) * slope), carry)
        slope, carry = jax.lax.cond(t1 < t0, falling, rising)
        return y0 + (t1 - t0) * slope, carry


@dataclass(frozen=True)
class ImplicitMidpoint(_Stepwise):
    """The implicit midpoint rule, y1 = y0 + h f((t0 + t1) / 2, (y0 + y1) / 2).

    Symmetric, so its own inverse; of order 2 and stable for steps of any length (Hairer, Lubich and
    Wanner 2006, II.1).
    """

    order: int = 2
    evaluations: int = 1

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, carry: tuple
    ) -> tuple[Array, tuple]:
        """From y(t0) = y0 to y(t1)."""
        h = t1 - t0
        slope, carry = self._slope(lambda slope: f(t0 + h / 2, y0 + h / 2 * slope), carry)
        return y0 + h * slope, carry


@dataclass(frozen=True)
class ExactInverse:
    """Any solver where t falls, and its inverse over the whole grid where t rises.

    For methods whose single steps cannot be undone, as DPM-Solver++(2M), whose inversion Hong et
    al. (2024) approximate: what is solved for is the state from which the falling run would end at
    this one. By defect correction (Stetter 1978): with F the falling and P the rising run,
    z = z + y - F(P(z)) is solved for z, and P(z) is the answer; P nearly inverts F, so that few
    passes do, each of two runs. Newton's method is not used: the derivative of two whole runs would
    hold every step's activations.
    """

    method: Solver = _DPMPP_2M
    solve: FixedPoint = _WITHOUT_NEWTON

    @property
    def order(self) -> int:
        """That of the method."""
        return self.method.order

    @property
    def evaluations(self) -> int:
        """Those of the method, for one run."""
        return self.method.evaluations

    def init(self, f: VectorField, t0: Scalar, y0: Array) -> tuple:
        """Nothing: it is a method of the whole grid."""
        return ()

    def effort(self, carry: tuple) -> tuple[Float[Array, " b"], Int[Array, ""]]:
        """The relative residual of every member, and the evaluations."""
        return carry

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, carry: tuple
    ) -> tuple[Array, tuple]:
        """From y(t0) = y0 to y(t1), as a grid of that one interval."""
        return self.whole(f, y0, jnp.stack([t0, t1]))

    def whole(
        self, f: VectorField, y0: Array, ts: Float[Array, " n"], *, steps: Count = None
    ) -> tuple[Array, tuple]:
        """From y(ts[0]) = y0 to y(ts[-1]), or to y(ts[steps]); `odeint` calls it for the grid."""
        ts_back = backward(ts, steps=steps)

        def run(y, ts):
            return walk(self.method, f, y, ts, self.method.init(f, ts[0], y), steps=steps)[0]

        evaluations = self.method.evaluations * (len(ts) - 1 if steps is None else steps)

        def falling():
            return run(y0, ts), (jnp.zeros(len(y0), y0.dtype), jnp.asarray(evaluations))

        def rising():
            result = self.solve(lambda z: z + y0 - run(run(z, ts), ts_back), y0)
            # a pass of the fixed point is a run up and a run down; the answer is one more run
            total = 2 * evaluations * result.evaluations + evaluations
            return run(result.x, ts), (result.residual, total)

        # ts_back[0] is the end of the part that is integrated over, ts[-1] may be its padding
        return jax.lax.cond(ts_back[0] < ts[0], falling, rising)

"""Multistep methods: one evaluation a step, with past slopes in the state between steps."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ddib_jax.solvers.runge_kutta import RK4, RungeKutta
from ddib_jax.solvers.solve import Explicit
from ddib_jax.types import Scalar, VectorField


@dataclass(frozen=True)
class DPMSolverPP2M(Explicit):
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2), an exponential multistep method in log t.

    It writes the vector field as f(t, y) = (y - d(t, y)) / t and integrates the linear part
    exactly, with d linear in log t through the last two steps; the first step is of order one. On
    the probability-flow ODE d is the denoiser. Needs t > 0, rising or falling.
    """

    order: int = 2

    def evaluations(self, steps: int) -> int:
        """One a step."""
        return steps

    def init(self, f: VectorField, t0: Scalar, y0: Array, aux: Array | None) -> tuple[Array, Array]:
        """The last d and the last step in log t: zero, an infinitely long step ago."""
        # h / inf = 0 removes the correction from the first step, without a branch for it
        return jnp.zeros_like(y0), jnp.full_like(t0, jnp.inf)

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, state
    ) -> tuple[Array, tuple[Array, Array]]:
        """From y(t0) = y0 to y(t1); the state is the last d and the last step in log t."""
        old_denoised, h_last = state
        h = jnp.log(t1 / t0)  # the paper's h is -h, for its lambda is -log t; only ratios matter
        denoised = y0 - t0 * f(t0, y0)
        denoised_d = denoised + h / (2 * h_last) * (denoised - old_denoised)
        return denoised_d + (t1 / t0) * (y0 - denoised_d), (denoised, h)


@dataclass(frozen=True)
class DPMSolverPP3M(Explicit):
    """DPM-Solver++(3M) (Lu et al. 2022): as 2M, with d quadratic in log t through three steps.

    The first two steps are the `starter`'s, at its evaluations. Needs t > 0, rising or falling.
    """

    starter: RungeKutta = RK4
    order: int = 3

    def evaluations(self, steps: int) -> int:
        """One a step, and those of the starter."""
        return steps + self.starter.evaluations(min(steps, 2))

    def init(self, f: VectorField, t0: Scalar, y0: Array, aux: Array | None) -> tuple:
        """The last two values of d with their steps in log t, and the number of steps taken."""
        nothing, unit = jnp.zeros_like(y0), jnp.ones_like(t0)
        return (nothing, unit), (nothing, unit), 0

    def step(self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, state) -> tuple[Array, tuple]:
        """From y(t0) = y0 to y(t1)."""
        (old_denoised, h_last), (older_denoised, h_older), count = state
        h = jnp.log(t1 / t0)
        denoised = y0 - t0 * f(t0, y0)

        def multistep():
            # Newton's divided differences of d, of which the past values are h_last and
            # h_last + h_older behind: d(s) = denoised + slope s + bend s^2, s = 0 at t0
            slope = (denoised - old_denoised) / h_last
            old_slope = (old_denoised - older_denoised) / h_older
            bend = (slope - old_slope) / (h_last + h_older)
            slope = slope + h_last * bend
            # what a constant d gives, less the integral of (t1 / t) (slope s + bend s^2) ds, where
            # t1 / t = exp(h - s)
            growth = jnp.expm1(h)
            return (
                y0
                + growth * (y0 - denoised)
                - (growth - h) * slope
                - (2 * (growth - h) - h**2) * bend
            )

        y1 = jax.lax.cond(count < 2, lambda: y0 + self.starter.increment(f, t0, t1, y0), multistep)
        return y1, ((denoised, h), (old_denoised, h_last), count + 1)


@dataclass(frozen=True)
class AdamsBashforth(Explicit):
    """The Adams-Bashforth method of order 2 or 3 on an uneven grid.

    The slope is extrapolated by the polynomial through its last values, which is integrated exactly
    (Hairer, Norsett and Wanner 1993, III.5). On the probability-flow ODE in sigma that is DEIS with
    a polynomial in sigma (Zhang and Chen 2023), and on an even grid the core of PLMS (Liu et al.
    2022). The first order - 1 steps are the `starter`'s, at its evaluations. Raises ValueError for
    another order.
    """

    order: int = 2
    starter: RungeKutta = RK4

    def __post_init__(self):
        if self.order not in (2, 3):
            raise ValueError(f"Adams-Bashforth methods are here of order 2 or 3, not {self.order}.")

    def evaluations(self, steps: int) -> int:
        """One a step, and those of the starter."""
        return steps + self.starter.evaluations(min(steps, self.order - 1))

    def init(self, f: VectorField, t0: Scalar, y0: Array, aux: Array | None) -> tuple:
        """The last two slopes with the steps to them, and the number of steps taken."""
        nothing, unit = jnp.zeros_like(y0), jnp.ones_like(t0)
        return (nothing, unit), (nothing, unit), 0

    def step(self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, state) -> tuple[Array, tuple]:
        """From y(t0) = y0 to y(t1)."""
        (old_slope, h_last), (older_slope, h_older), count = state
        h, slope = t1 - t0, f(t0, y0)

        def multistep():
            # divided differences of the slope, integrated from t0 to t1
            first = (slope - old_slope) / h_last
            y1 = y0 + h * slope + h**2 / 2 * first
            if self.order == 2:
                return y1
            second = (first - (old_slope - older_slope) / h_older) / (h_last + h_older)
            return y1 + (h**3 / 3 + h**2 / 2 * h_last) * second

        starting = lambda: y0 + self.starter.increment(f, t0, t1, y0)
        y1 = jax.lax.cond(count < self.order - 1, starting, multistep)
        return y1, ((slope, h), (old_slope, h_last), count + 1)

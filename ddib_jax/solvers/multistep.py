"""Multistep methods: one evaluation a step, with the past in the carry."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ddib_jax.solvers.runge_kutta import RK4, RungeKutta
from ddib_jax.types import Scalar, VectorField


@dataclass(frozen=True)
class DPMSolverPP2M:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2), an exponential multistep method in log t.

    It writes the vector field as f(t, y) = (y - d(t, y)) / t and integrates the linear part
    exactly, with d linear in log t through the last two steps; the first step is of order one. On
    the probability-flow ODE d is the denoiser. Needs t > 0, rising or falling.
    """

    order: int = 2
    evaluations: int = 1

    def init(self, f: VectorField, t0: Scalar, y0: Array) -> tuple[Array, Array]:
        """No past: a slope of zero, an infinitely long step ago."""
        return jnp.zeros_like(y0), jnp.full_like(t0, jnp.inf)

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, carry
    ) -> tuple[Array, tuple[Array, Array]]:
        """From y(t0) = y0 to y(t1); the carry is the last d and the last step in log t."""
        past, past_step = carry
        step = jnp.log(t1 / t0)
        now = y0 - t0 * f(t0, y0)
        ahead = now + step / (2 * past_step) * (now - past)
        return ahead + (t1 / t0) * (y0 - ahead), (now, step)


@dataclass(frozen=True)
class DPMSolverPP3M:
    """DPM-Solver++(3M) (Lu et al. 2022): as 2M, with d quadratic in log t through the last three
    steps.

    The first two steps are the `starter`'s, at its evaluations. Needs t > 0, rising or falling.
    """

    starter: RungeKutta = RK4
    order: int = 3
    evaluations: int = 1

    def overhead(self, steps: int) -> int:
        """The starter's evaluations."""
        return min(steps, 2) * self.starter.evaluations

    def init(self, f: VectorField, t0: Scalar, y0: Array) -> tuple:
        """The last two values of d with their steps in log t, and how many points there
        have been.
        """
        nothing, unit = jnp.zeros_like(y0), jnp.ones_like(t0)
        return (nothing, unit), (nothing, unit), 0

    def step(self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, carry) -> tuple[Array, tuple]:
        """From y(t0) = y0 to y(t1)."""
        (past, past_step), (older, older_step), count = carry
        step = jnp.log(t1 / t0)
        now = y0 - t0 * f(t0, y0)

        def multistep():
            slope = (now - past) / past_step
            bend = (slope - (past - older) / older_step) / (past_step + older_step)
            slope = slope + past_step * bend
            # the integral of exp(log t1 - s) (now + slope s + bend s^2) over the step, minus what a
            # constant gives
            grown = jnp.expm1(step)
            return (
                y0
                + grown * (y0 - now)
                - (grown - step) * slope
                - (2 * (grown - step) - step**2) * bend
            )

        y1 = jax.lax.cond(count < 2, lambda: y0 + self.starter.increment(f, t0, t1, y0), multistep)
        return y1, ((now, step), (past, past_step), count + 1)


@dataclass(frozen=True)
class AdamsBashforth:
    """The Adams-Bashforth method of order 2 or 3 on an uneven grid (Hairer, Norsett and Wanner
    1993, III.5).

    The slope is extrapolated by the polynomial through its last values, which is integrated
    exactly. On the probability-flow ODE in sigma that is DEIS with a polynomial in sigma (Zhang and
    Chen 2023), and on an even grid the core of PLMS (Liu et al. 2022). The first order - 1 steps
    are the `starter`'s, at its evaluations. Raises ValueError for another order.
    """

    order: int = 2
    starter: RungeKutta = RK4
    evaluations: int = 1

    def __post_init__(self):
        if self.order not in (2, 3):
            raise ValueError(f"Adams-Bashforth methods are here of order 2 or 3, not {self.order}.")

    def overhead(self, steps: int) -> int:
        """The starter's evaluations."""
        return min(steps, self.order - 1) * self.starter.evaluations

    def init(self, f: VectorField, t0: Scalar, y0: Array) -> tuple:
        """The last two slopes with the steps to them, and how many points there have been."""
        nothing, unit = jnp.zeros_like(y0), jnp.ones_like(t0)
        return (nothing, unit), (nothing, unit), 0

    def step(self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, carry) -> tuple[Array, tuple]:
        """From y(t0) = y0 to y(t1)."""
        (past, past_step), (older, older_step), count = carry
        h, now = t1 - t0, f(t0, y0)

        def multistep():
            slope = (now - past) / past_step
            y1 = y0 + h * now + h**2 / 2 * slope
            if self.order == 2:
                return y1
            bend = (slope - (past - older) / older_step) / (past_step + older_step)
            return y1 + (h**3 / 3 + h**2 / 2 * past_step) * bend

        starting = lambda: y0 + self.starter.increment(f, t0, t1, y0)
        y1 = jax.lax.cond(count < self.order - 1, starting, multistep)
        return y1, ((now, h), (past, past_step), count + 1)

"""Algebraically reversible methods: steps on a pair of states that can be undone exactly.

`solve` gives the pair (y, aux), and from it `solver.inverse` leads back along the grid reversed, up
to rounding, whatever the steps' own error. Without the auxiliary state the way back is an
approximation of the method's order, like any other solver's.
"""

from dataclasses import dataclass, replace

import jax.numpy as jnp
from jaxtyping import Array

from ddib_jax.solvers.runge_kutta import HEUN, RungeKutta
from ddib_jax.types import Ending, Scalar, VectorField


@dataclass(frozen=True)
class TwoStep:
    """Euler's step corrected by `gamma` of what Euler's step backward misses of the point before.

    y[n+1] = y[n] + h f[n] + gamma (y[n-1] - (y[n] - h' f[n])), with h' the step before. The point
    before is the auxiliary state. gamma = (h / h')^2, here None, is O-BELM (Wang et al. 2024), of
    order 2 on every grid and its own inverse: in these coordinates it is the leapfrog method on an
    uneven grid. A fixed gamma is BDIA (Zhang et al. 2024), of order 1, undone by 1 / gamma; its
    paper applies it to alpha_t x, here it is applied to x. On a grid whose steps grow, and in
    BDIA's undoing, a difference between the two states grows from step to step.
    """

    gamma: float | None = None
    tolerance: None = None

    @property
    def order(self) -> int:
        """The order of the global error on a smooth grid."""
        return 2 if self.gamma is None else 1

    @property
    def inverse(self) -> "TwoStep":
        """The method that undoes this one, along the grid reversed."""
        return self if self.gamma is None else replace(self, gamma=1 / self.gamma)

    def evaluations(self, steps: int) -> int:
        """One a step."""
        return steps

    # What is kept is the other state and its time. Every step of a scan takes the same structure,
    # and the first step is one of two special ones, so the time tells them apart:
    #   t0   the other state is y0 itself: there is no point before, and the step is Euler's;
    #   NaN  the other state was given, as the end of a run that is undone: it lies ahead, at the t1
    #        that `init` does not know, and the first step goes there without a calculation;
    #   else the other state is the point before, at that time.

    def init(
        self, f: VectorField, t0: Scalar, y0: Array, aux: Array | None
    ) -> tuple[Array, Scalar]:
        """The other state and its time: y0 at t0, or the given one at a time yet unknown (NaN)."""
        return (y0, t0) if aux is None else (aux, jnp.full_like(t0, jnp.nan))

    def finish(self, state: tuple[Array, Scalar], t: Scalar) -> Ending:
        """The point before."""
        return Ending(state[0])

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, state
    ) -> tuple[Array, tuple[Array, Scalar]]:
        """From y(t0) = y0 to y(t1)."""
        other, t_other = state
        is_ahead, is_missing = jnp.isnan(t_other), t_other == t0
        h = t1 - t0
        # in both special cases any finite step will do: its result is not used
        h_last = jnp.where(is_ahead | is_missing, h, t0 - t_other)
        slope = f(t0, y0)
        gamma = (h / h_last) ** 2 if self.gamma is None else self.gamma
        miss = jnp.where(is_missing, jnp.zeros_like(y0), other - (y0 - h_last * slope))
        y1 = jnp.where(is_ahead, other, y0 + h * slope + gamma * miss)
        return y1, (y0, t0)


class _CoupledPair:
    """What methods on two coupled states of the same time share."""

    tolerance: None = None

    def init(self, f: VectorField, t0: Scalar, y0: Array, aux: Array | None) -> Array:
        """Both states start at y0 unless a second one is given."""
        return y0 if aux is None else aux

    def finish(self, state: Array, t: Scalar) -> Ending:
        """The coupled state."""
        return Ending(state)


@dataclass(frozen=True)
class EDICT(_CoupledPair):
    """Two coupled Euler steps, each with the other's slope, then mixed (Wallace et al. 2023).

    Undoing divides by `mixing` twice a step, so that rounding grows by mixing^-2 a step.
    """

    mixing: float = 0.93
    undoes: bool = False
    order: int = 1

    @property
    def inverse(self) -> "EDICT":
        """The method that undoes this one, along the grid reversed."""
        return replace(self, undoes=not self.undoes)

    def evaluations(self, steps: int) -> int:
        """Two a step."""
        return 2 * steps

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, state: Array
    ) -> tuple[Array, Array]:
        """From the pair (y0, state) at t0 to that at t1."""
        h, p = t1 - t0, self.mixing
        if self.undoes:
            z = (state - (1 - p) * y0) / p
            y = (y0 - (1 - p) * z) / p
            z = z + h * f(t1, y)
            return y + h * f(t1, z), z
        y = y0 + h * f(t0, state)
        z = state + h * f(t0, y)
        y = p * y + (1 - p) * z
        return y, p * z + (1 - p) * y


@dataclass(frozen=True)
class ReversibleHeun:
    """The reversible Heun method (Kidger et al. 2021, algorithm 1), of order 2 and its own inverse.

    It takes one evaluation a step.
    """

    order: int = 2
    tolerance: None = None

    @property
    def inverse(self) -> "ReversibleHeun":
        """The method that undoes this one, along the grid reversed."""
        return self

    def evaluations(self, steps: int) -> int:
        """One a step, and the slope at the start."""
        return steps + 1

    def init(self, f: VectorField, t0: Scalar, y0: Array, aux: Array | None) -> tuple[Array, Array]:
        """The auxiliary state, y0 unless given, and its slope."""
        z0 = y0 if aux is None else aux
        return z0, f(t0, z0)

    def finish(self, state: tuple[Array, Array], t: Scalar) -> Ending:
        """The point that slopes are taken at."""
        return Ending(state[0])

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, state
    ) -> tuple[Array, tuple[Array, Array]]:
        """From the pair at t0 to that at t1."""
        z0, slope0 = state
        h = t1 - t0
        z1 = 2 * y0 - z0 + h * slope0
        slope1 = f(t1, z1)
        return y0 + h / 2 * (slope0 + slope1), (z1, slope1)


@dataclass(frozen=True)
class Coupled(_CoupledPair):
    """Any one-step method made reversible (McCallum and Foster 2024), at twice its evaluations.

    y1 = l y0 + (1 - l) z0 + psi(t0 -> t1, z0), z1 = z0 - psi(t1 -> t0, y1), where psi is the
    method's increment; of the method's order. A coupling l below 1 draws the two states together,
    and apart again in undoing by 1 / l a step.
    """

    method: RungeKutta = HEUN
    coupling: float = 0.999
    undoes: bool = False

    @property
    def inverse(self) -> "Coupled":
        """The method that undoes this one, along the grid reversed."""
        return replace(self, undoes=not self.undoes)

    @property
    def order(self) -> int:
        """That of the method."""
        return self.method.order

    def evaluations(self, steps: int) -> int:
        """Twice those of the method."""
        return 2 * self.method.evaluations(steps)

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, state: Array
    ) -> tuple[Array, Array]:
        """From the pair (y0, state) at t0 to that at t1."""
        y, z, mix, psi = y0, state, self.coupling, self.method.increment
        if self.undoes:
            z = z + psi(f, t0, t1, y)
            return (y - (1 - mix) * z - psi(f, t1, t0, z)) / mix, z
        y = mix * y + (1 - mix) * z + psi(f, t0, t1, z)
        return y, z - psi(f, t1, t0, y)

"""UniPC: a multistep method whose every step is corrected by the evaluation of the next."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array

from ddib_jax.solvers.solve import Explicit
from ddib_jax.types import Scalar, VectorField


@dataclass(frozen=True)
class UniPC(Explicit):
    """UniPC of Zhao et al. (2023) with B(h) = exp(h) - 1, data prediction, in log t.

    As DPM-Solver++ it writes the vector field as f(t, y) = (y - d(t, y)) / t, integrates the linear
    part exactly, and lets d be a polynomial in log t through the last `points` steps. What it adds
    is the corrector: the evaluation at a step's end, which the next step needs anyway, takes the
    step once more with that d among the points (Adams' predictor and corrector, whose corrected
    state is not evaluated again). Only the last step stays uncorrected. The first steps have fewer
    points. One evaluation a step, order 3 with 2 or 3 points. Needs t > 0, rising or falling.
    Raises ValueError for another number of points.
    """

    points: int = 2
    order: int = 3

    def __post_init__(self):
        if self.points not in (2, 3):
            raise ValueError(f"UniPC has 2 or 3 points here, not {self.points}.")

    def evaluations(self, steps: int) -> int:
        """One a step."""
        return steps

    def init(self, f: VectorField, t0: Scalar, y0: Array, aux: Array | None) -> tuple:
        """What the last step took d's change for, the values of d behind, and a count.

        That change, d at the start of the last step, its length in log t; (d, length) of the two
        steps before; the number of steps taken, by which it is known which of these there are.
        """
        nothing, unit = jnp.zeros_like(y0), jnp.ones_like(t0)
        return (nothing, nothing, unit), (nothing, unit), (nothing, unit), 0

    def step(self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, state) -> tuple[Array, tuple]:
        """From y(t0) = y0, as the last step predicted it, to y(t1)."""
        (change, old_d, h_last), (older_d, h_older), _, count = state
        # what the polynomial's coefficients are where there are so many values of d, else 0
        known = lambda number, value: jnp.where(count >= number, value, 0)
        d = y0 - t0 * f(t0, y0)
        slope = known(1, (d - old_d) / h_last)
        old_slope = known(2, (old_d - older_d) / h_older)
        bend = known(2, (slope - old_slope) / (h_last + h_older))
        # by the difference of both, for what a coupling did to the state since is to stay
        correction = change - self._change(d, state, (slope, old_slope, bend))
        y0 = y0 + jnp.where(count > 0, correction, 0)

        h = jnp.log(t1 / t0)
        growth, first, second, _ = _moments(h)
        if self.points == 2:
            change = growth * h / 2 * slope  # the paper's weight where there is one difference
        else:
            both = first * slope + (second + h_last * first) * bend
            change = jnp.where(count == 1, growth * h / 2 * slope, both)
        y1 = (1 + growth) * y0 - growth * d - change
        return y1, ((change, d, h), (old_d, h_last), (older_d, h_older), count + 1)

    def _change(self, d: Array, state: tuple, differences: tuple) -> Array:
        """What d's change adds to the last step, with d [b ...] at its end among the points.

        differences: of d over the last step, over that before it, and the second one of both.
        """
        (_, _, h), (_, h_last), (oldest_d, h_older), count = state
        slope, old_slope, bend = differences
        growth, first, second, third = _moments(h)
        change = first * slope + (second - h * first) * bend
        if self.points == 3:
            older_d = state[1][0]
            older_slope = (older_d - oldest_d) / h_older
            old_bend = (old_slope - older_slope) / (h_last + h_older)
            twist = (bend - old_bend) / (h + h_last + h_older)
            weight = third + (h_last - h) * second - h * h_last * first
            change = change + jnp.where(count >= 3, weight * twist, 0)
        return jnp.where(count == 1, growth * h / 2 * slope, change)


def _moments(h: Scalar) -> tuple[Scalar, Scalar, Scalar, Scalar]:
    """The integrals of exp(h - s) s^n over s from 0 to h, n = 0 ... 3."""
    zeroth = jnp.expm1(h)
    first = zeroth - h
    second = 2 * first - h**2
    return zeroth, first, second, 3 * second - h**3

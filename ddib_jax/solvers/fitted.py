"""A multistep method whose weights belong to one grid and one problem: fitted, not derived."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddib_jax.solvers.solve import Explicit
from ddib_jax.types import Scalar, VectorField

Weights = tuple[tuple[float, ...] | Float[Array, "..."], ...]
"""Of every step: that of the state, then those of d at the steps before, the first one first.

Arrays where weights are traced; as numbers alone they are a static argument of programs.
"""


@dataclass(frozen=True)
class Fitted(Explicit):
    """A non-stationary multistep method (Shaul et al. 2024): each step has weights of its own.

    With d = y - t f(t, y), the denoiser on the probability-flow ODE, step k goes from y to

        d_k + w_0 (y - d_k) + w_1 (d_0 - d_k) + ... + w_k (d_(k-1) - d_k),

    so that y = d stays where it is whatever the weights are. All linear multistep methods in data
    prediction are of this form. rising: the weights of a rising grid's steps, k + 1 of step k;
    falling: those of a falling grid's. One evaluation a step. It has no order, for it belongs to
    the one grid that its weights were fitted on: over another one it is a wrong method. Needs
    t > 0. Raises ValueError for weights of other numbers than these.
    """

    rising: Weights
    falling: Weights
    order: int = 0

    def __post_init__(self):
        steps = len(self.rising)
        if not all(
            [len(row) for row in weights] == list(range(1, steps + 1))
            for weights in (self.rising, self.falling)
        ):
            raise ValueError(
                "Fitted weights are for as many steps up as down, k + 1 for step k = 0, 1 and on."
            )

    def evaluations(self, steps: int) -> int:
        """One a step."""
        return steps

    def init(self, f: VectorField, t0: Scalar, y0: Array, aux: Array | None) -> tuple[Array, int]:
        """Room for d at all steps [n b ...], and the number of steps taken."""
        return jnp.zeros((len(self.rising), *y0.shape), y0.dtype), 0

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, state: tuple
    ) -> tuple[Array, tuple]:
        """From y(t0) = y0 to y(t1), the next level of the grid that the weights belong to."""
        past, count = state
        d = y0 - t0 * f(t0, y0)
        weights = jnp.where(t1 > t0, _table(self.rising), _table(self.falling))[count]
        weights = weights.astype(y0.dtype)
        # where there is no past yet the weights are zero, and so is the past
        others = jnp.tensordot(weights[1:], past[:-1], 1) - jnp.sum(weights[1:]) * d
        return d + weights[0] * (y0 - d) + others, (past.at[count].set(d), count + 1)


def _table(weights: Weights) -> Float[Array, "n n"]:
    """The weights as a lower triangle, a row a step."""
    flat = jnp.concatenate([jnp.asarray(row) for row in weights])
    steps = len(weights)
    return jnp.zeros((steps, steps), flat.dtype).at[np.tril_indices(steps)].set(flat)

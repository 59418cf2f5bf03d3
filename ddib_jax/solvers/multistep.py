"""Multistep methods: one evaluation a step, with the past in the carry."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array

from ddib_jax.types import Scalar, VectorField


@dataclass(frozen=True)
class DPMSolverPP2M:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2), an exponential multistep method in log t.

    It writes the vector field as f(t, y) = (y - d(t, y)) / t and integrates the linear part exactly, with d linear in
    log t through the last two steps; the first step is of order one. On the probability-flow ODE
    d is the denoiser. Needs t > 0, rising or falling.
    """

    order: int = 2
    evaluations: int = 1

    def init(self, f: VectorField, t0: Scalar, y0: Array) -> tuple[Array, Array]:
        """No past: a slope of zero, an infinitely long step ago."""
        return jnp.zeros_like(y0), jnp.full_like(t0, jnp.inf)

    def step(self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, carry) -> tuple[Array, tuple[Array, Array]]:
        """From y(t0) = y0 to y(t1); the carry is the last d and the last step in log t."""
        past, past_step = carry
        step = jnp.log(t1 / t0)
        now = y0 - t0 * f(t0, y0)
        ahead = now + step / (2 * past_step) * (now - past)
        return ahead + (t1 / t0) * (y0 - ahead), (now, step)

"""Guidance around a denoiser under the condition that was computed apart, as editing does."""

from dataclasses import replace

import jax.numpy as jnp
from jaxtyping import Array, Float

from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets.precision import products
from ddib_jax.types import Cond, Scalar


def guided_around(
    model: DiffusionModel,
    x: Float[Array, "b ..."],
    sigma: Scalar,
    told: Float[Array, "b ..."],
) -> Float[Array, "b ..."]:
    """The guided denoiser at x [b ...] of a model whose answer under its condition is `told`.

    What else its guidance asks for is the model's own: an edit that is in `told` alone is in the
    conditional half alone.
    """
    if model.guidance is None:
        return told
    time = jnp.broadcast_to(model.schedule.time(sigma), (len(x),))
    here = x

    def denoise(x: Array, cond: Cond, *others: Cond) -> list[Array]:
        return [
            told
            if each is model.cond and x is here
            else replace(model, guidance=None, cond=each).denoise(x, sigma)
            for each in (cond, *others)
        ]

    with products(model.precision):
        return model.guidance(denoise, x, sigma, time, model.cond)

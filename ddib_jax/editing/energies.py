"""Energies of a target's state: what an edit is led to by its gradient, and how hard."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.diffusion import DiffusionModel
from ddib_jax.editing.levels import nearest_level
from ddib_jax.types import Data, Scalar

Energy = Callable[[dict[str, Array]], Float[Array, " b"]]
"""The values at some sites of a network [b ...] -> one number for each image."""


@struct.dataclass
class ByLevel:
    """Numbers [n] of the noise levels `levels` [n]; of others that of the nearest in log sigma."""

    levels: Float[Array, " n"]
    values: Float[Array, " n"]

    def __call__(self, sigma: Scalar) -> Scalar:
        """The number at a noise level."""
        return self.values[nearest_level(self.levels, sigma)]


def constant(weight: Scalar | float) -> ByLevel:
    """The same weight at all noise levels."""
    return ByLevel(jnp.ones(1), jnp.asarray(weight, jnp.float32)[None])


def kick(size: Scalar | float, sigmas: Float[Array, " n"]) -> ByLevel:
    """The weights by which drift guidance is a kick after every step of Euler's method.

    Published code moves x by -size sigma sigma' grad E after the step from sigma down to sigma';
    with the weight size sigma' / (sigma - sigma') in the slope it is the same step. Its sum grows
    with the number of steps, that of a constant weight does not. sigmas: the grid, ascending.
    """
    upper, lower = sigmas[1:], sigmas[:-1]
    return ByLevel(upper, size * lower / (upper - lower))


def warmed_up(weights: ByLevel, sigmas: Float[Array, " n"], steps: int) -> ByLevel:
    """The weights at the levels of a grid, the first `steps` from above rising evenly from 0."""
    from_above = jnp.arange(len(sigmas))[::-1]
    share = jnp.minimum(from_above / max(steps, 1), 1)
    return ByLevel(sigmas, share * jax.vmap(weights)(sigmas))


def descended(
    model: DiffusionModel, x: Data, sigma: Scalar, sites: Sequence[str], energy: Energy
) -> tuple[Data, Data]:
    """The unguided denoiser D(x) [b ...] and the gradient of each image's energy in x [b ...].

    One pass forward serves both. Only these rows are differentiated: whatever else an edit
    evaluates, it evaluates in calls of its own, for the memory of a gradient is that of all rows
    of its call.
    """

    def total(x: Data) -> tuple[Scalar, Data]:
        denoised, values = replace(model, guidance=None).read(x, sigma, sites)
        return energy(values).sum(), denoised

    (_, denoised), gradient = jax.value_and_grad(total, has_aux=True)(x)
    return denoised, gradient


def push(
    gradient: Data, x: Data, denoised: Data, sigma: Scalar, weight: Scalar, *, longest: Any
) -> Data:
    """What a denoiser is moved by against an energy's gradient: -weight sigma^2 grad E.

    As a posterior's score is moved by that of its likelihood. longest: its length at most, in units
    of that of D - x, which is the noise that the denoiser takes away; one for each image.
    """
    moved = -weight * jnp.square(sigma) * gradient
    axes = tuple(range(1, x.ndim))
    norm = lambda a: jnp.sqrt(jnp.sum(jnp.square(a), axes, keepdims=True))
    allowed = longest * norm(denoised - x) / jnp.maximum(norm(moved), _TINY)
    return moved * jnp.minimum(allowed, 1)


_TINY = 1e-30  # below any norm of float32 that is told from 0

"""Perturbations of single pixels: scaling, adding, mixing, matching statistics.

All take (latent [b h w c], coefficient, context) and return the perturbed latent.
"""

import jax.numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Array

from ddib_jax.types import Context, Data, Latent, Scalar

_IMAGE = (1, 2, 3)
_PIXELS = (1, 2)


def none(latent: Data, coefficient: Scalar, context: Context) -> Data:
    """The latent as it is, whatever the coefficient."""
    return latent


def normalise(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """Every latent moved to mean 0 and scaled to the standard deviation `coefficient`."""
    centred = latent - jnp.mean(latent, _IMAGE, keepdims=True)
    return coefficient * centred / root_mean_square(centred)


def add_noise(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """latent + coefficient * fixed noise."""
    return latent + coefficient * context["noise"]


def blend_image(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """(1 - coefficient) latent + coefficient * source image."""
    return (1 - coefficient) * latent + coefficient * context["data"]


def checkerboard_image(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """A checkerboard of the latent and the source image, in cells `coefficient` pixels wide.

    At 0 there are no cells, and all of it is the latent.
    """
    return jnp.where(_cells(latent, coefficient), context["data"], latent)


def checkerboard_noise(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """A checkerboard of the latent and fixed noise, in cells `coefficient` pixels wide.

    At 0 there are no cells, and all of it is the latent.
    """
    return jnp.where(_cells(latent, coefficient), context["noise"], latent)


def slerp_noise(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """Spherical interpolation (Shoemake 1985) from the latent (0) to fixed noise (1).

    The noise is scaled to the length of the latent.
    """
    return _slerp(latent, context["noise"], coefficient)


def slerp_other(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """Spherical interpolation (Shoemake 1985) from the latent (0) to another image's latent (1).

    The other latent is scaled to the length of the first.
    """
    return _slerp(latent, context["reference"], coefficient)


def match_channels(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """Channel means and deviations moved to those of the latent as it was encoded (1), or part way.

    After a perturbation that removes the colour, this restores it (Reinhard et al. 2001, in the
    latent).
    """
    return latent + coefficient * (_matched_to(context["latent"], latent) - latent)


def recolour(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """Channel means and deviations moved to those of another image's latent (1), or part way.

    The transfer of Reinhard et al. (2001), in the latent.
    """
    return latent + coefficient * (_matched_to(context["reference"], latent) - latent)


def gaussianise(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """The histogram of every latent's values made exactly normal (1), or part of the way.

    Of N values the one of rank r becomes the normal quantile of (r + 1/2) / N: their order stays.
    """
    flat = latent.reshape(len(latent), -1)
    ranks = jnp.argsort(jnp.argsort(flat, axis=1), axis=1).astype(latent.dtype)
    normal = ndtri((ranks + 0.5) / flat.shape[1]).reshape(latent.shape)
    return latent + coefficient * (normal - latent)


def partial_noise(level: Scalar, coefficient: Scalar, context: Context) -> Scalar:
    """The noise level at which the bridges meet becomes `coefficient`, if that is lower."""
    return jnp.minimum(level, coefficient)


def root_mean_square(latent: Array) -> Array:
    """The root mean square of every latent, [b 1 1 1], kept away from 0."""
    return jnp.sqrt(jnp.mean(jnp.square(latent), _IMAGE, keepdims=True) + 1e-12)


def _cells(latent: Array, size: Scalar) -> Array:
    wide = jnp.maximum(size, 1)
    rows, columns = (jnp.floor(jnp.arange(n, dtype=latent.dtype) / wide) for n in latent.shape[1:3])
    odd = jnp.mod(rows[:, None] + columns[None, :], 2) == 1
    return (odd & (size > 0))[None, :, :, None]


def _slerp(latent: Array, partner: Array, fraction: Scalar) -> Array:
    length = root_mean_square(latent)
    first, second = latent / length, partner / root_mean_square(partner)
    # clipped, so that parallel latents do not divide by sin(0)
    cosine = jnp.clip(jnp.mean(first * second, _IMAGE, keepdims=True), -0.9999, 0.9999)
    angle = jnp.arccos(cosine)
    arc = jnp.sin((1 - fraction) * angle) * first + jnp.sin(fraction * angle) * second
    return length * arc / jnp.sin(angle)


def _matched_to(reference: Array, latent: Array) -> Array:
    """The latent with the channel means and deviations of the reference."""

    def statistics(array):
        mean = jnp.mean(array, _PIXELS, keepdims=True)
        return mean, jnp.sqrt(jnp.mean(jnp.square(array - mean), _PIXELS, keepdims=True) + 1e-12)

    mean, deviation = statistics(latent)
    new_mean, new_deviation = statistics(reference)
    return new_mean + (latent - mean) * (new_deviation / deviation)

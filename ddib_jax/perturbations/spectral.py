"""Perturbations of a latent's two-dimensional Fourier transform, channel by channel.

All take (latent [b h w c], coefficient, context) and return the perturbed latent.
"""

import jax.numpy as jnp
from jaxtyping import Array

from ddib_jax.perturbations.pixels import root_mean_square
from ddib_jax.types import Context, Latent, Scalar

_AXES = (1, 2)


def keep_low(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """The latent's spatial frequencies up to `coefficient`, the rest those of fixed noise.

    The radius max(|u|, |v|) of a frequency is counted from 0, the mean alone, to 1 at Nyquist's;
    the noise is scaled to the latent's mean square.
    """
    return _with_noise_outside(_radius(latent) <= coefficient, latent, context["noise"])


def keep_high(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """The latent's spatial frequencies from `coefficient` up, the rest those of fixed noise.

    At 0 all are the latent's, above 1 none; radius and noise as in `keep_low`.
    """
    return _with_noise_outside(_radius(latent) >= coefficient, latent, context["noise"])


def phase_of_noise(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """The latent's Fourier magnitudes with phases from its own (0) to those of fixed noise (1)."""
    spectrum, noise = (jnp.fft.fft2(a, axes=_AXES) for a in (latent, context["noise"]))
    fraction = coefficient.astype(spectrum.dtype)
    direction = (1 - fraction) * _unit(spectrum) + fraction * _unit(noise)
    return _inverse(_scaled(_unit(direction), jnp.abs(spectrum)), latent)


def magnitude_of_noise(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """The latent's Fourier phases with magnitudes from its own (0) to those of fixed noise (1).

    Between the two magnitudes are interpolated geometrically; the mean square stays the latent's.
    """
    spectrum, noise = (jnp.fft.fft2(a, axes=_AXES) for a in (latent, context["noise"]))
    own, other = jnp.abs(spectrum) + 1e-12, jnp.abs(noise) + 1e-12
    magnitude = own ** (1 - coefficient) * other**coefficient
    mixed = _inverse(_scaled(_unit(spectrum), magnitude), latent)
    return mixed * (root_mean_square(latent) / root_mean_square(mixed))


def _radius(latent: Array) -> Array:
    rows, columns = (
        jnp.abs(jnp.fft.fftfreq(n).astype(latent.dtype)) * 2 for n in latent.shape[1:3]
    )
    return jnp.maximum(rows[:, None], columns[None, :])[None, :, :, None]


def _with_noise_outside(mask: Array, latent: Array, noise: Array) -> Array:
    """The latent's frequencies where the mask is true, those of the scaled noise elsewhere."""
    noise = noise * (root_mean_square(latent) / root_mean_square(noise))
    # transformed is the difference: with a mask of all frequencies the latent is returned exactly
    difference = jnp.fft.fft2(noise - latent, axes=_AXES)
    return latent + _inverse(jnp.where(mask, 0, difference), latent)


def _unit(spectrum: Array) -> Array:
    size = jnp.abs(spectrum)
    return jnp.where(size > 0, _scaled(spectrum, 1 / jnp.where(size > 0, size, 1)), 1)


def _scaled(spectrum: Array, factor: Array) -> Array:
    return spectrum * factor.astype(spectrum.dtype)


def _inverse(spectrum: Array, like: Array) -> Array:
    return jnp.fft.ifft2(spectrum, axes=_AXES).real.astype(like.dtype)

"""Perturbations of a latent's two-dimensional Fourier transform, channel by channel. Latents are [b
h w c].
"""

import jax.numpy as jnp
from jaxtyping import Array

from ddib_jax.perturbations.pixels import root_mean_square
from ddib_jax.types import Context, Latent, Scalar

_AXES = (1, 2)


def keep_low(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """Spatial frequencies up to `coefficient` (0: the mean alone, 1: all) of the latent, the rest
    from fixed noise.

    The radius max(|u|, |v|) of a frequency is counted from 0 to 1 at Nyquist's; the noise has the
    latent's mean square.
    """
    kept = _radius(latent) <= coefficient
    return _joined(latent, context["noise"], kept)


def keep_high(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """Spatial frequencies from `coefficient` up (0: all, above 1: none) of the latent, the rest
    from fixed noise.
    """
    kept = _radius(latent) >= coefficient
    return _joined(latent, context["noise"], kept)


def phase_of_noise(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """The latent's Fourier magnitudes, with the phases of fixed noise (1) or part of the way to
    them (0: its own).
    """
    ours, theirs = (jnp.fft.fft2(a, axes=_AXES) for a in (latent, context["noise"]))
    proportion = coefficient.astype(ours.dtype)
    direction = (1 - proportion) * _unit(ours) + proportion * _unit(theirs)
    return _inverse(_scaled(_unit(direction), jnp.abs(ours)), latent)


def magnitude_of_noise(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """The latent's Fourier phases, with the magnitudes of fixed noise (1) or part of the way to
    them (0: its own).

    Between the two magnitudes are interpolated geometrically; the mean square stays the latent's.
    """
    ours, theirs = (jnp.fft.fft2(a, axes=_AXES) for a in (latent, context["noise"]))
    magnitude = (jnp.abs(ours) + 1e-12) ** (1 - coefficient) * (
        jnp.abs(theirs) + 1e-12
    ) ** coefficient
    mixed = _inverse(_scaled(_unit(ours), magnitude), latent)
    return mixed * (root_mean_square(latent) / root_mean_square(mixed))


def _radius(latent: Array) -> Array:
    rows, columns = (
        jnp.abs(jnp.fft.fftfreq(n).astype(latent.dtype)) * 2 for n in latent.shape[1:3]
    )
    return jnp.maximum(rows[:, None], columns[None, :])[None, :, :, None]


def _joined(latent: Array, noise: Array, kept: Array) -> Array:
    noise = noise * (root_mean_square(latent) / root_mean_square(noise))
    gap = jnp.fft.fft2(noise - latent, axes=_AXES)
    return latent + _inverse(jnp.where(kept, 0, gap), latent)


def _unit(spectrum: Array) -> Array:
    size = jnp.abs(spectrum)
    return jnp.where(size > 0, _scaled(spectrum, 1 / jnp.where(size > 0, size, 1)), 1)


def _scaled(spectrum: Array, factor: Array) -> Array:
    return spectrum * factor.astype(spectrum.dtype)


def _inverse(spectrum: Array, like: Array) -> Array:
    return jnp.fft.ifft2(spectrum, axes=_AXES).real.astype(like.dtype)

"""Perturbations that move or blur pixels.

All take (latent [b h w c], coefficient, context) and return the perturbed latent. Angles are in
degrees, counter-clockwise on the screen.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ddib_jax.types import Context, Latent, Scalar


def local_rotation(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """Every block of 2 x 2 pixels turned clockwise `coefficient` times.

    Once, [[a, b], [c, d]] -> [[c, a], [d, b]]. Raises ValueError for an odd height or width.
    """
    b, h, w, c = latent.shape
    if h % 2 or w % 2:
        raise ValueError(
            f"A local rotation needs blocks of 2 x 2 pixels; {h} x {w} does not divide into them."
        )
    blocks = latent.reshape(b, h // 2, 2, w // 2, 2, c)
    turned = jnp.stack([jnp.rot90(blocks, -turns, axes=(2, 4)) for turns in range(4)])
    return turned[jnp.asarray(coefficient, jnp.int32) % 4].reshape(latent.shape)


def blur(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """A Gaussian blur of latents or images, of standard deviation `coefficient` pixels.

    At the border the kernel is renormalised.
    """
    rows, columns = (_smoothing(n, coefficient, latent.dtype) for n in latent.shape[1:3])
    return jnp.einsum("ih,bhwc,jw->bijc", rows, latent, columns)


def rotate(latent: Latent, coefficient: Scalar, context: Context) -> Latent:
    """The square latent turned by `coefficient` degrees about its centre, around the edges.

    Quarter turns, then three shears, each a row's shift by Fourier's theorem (Unser, Thevenaz and
    Yaroslavsky 1995): no value is averaged away, so white noise stays white, as an interpolating
    rotation would not leave it. Raises ValueError where the latent is not square.
    """
    if latent.shape[1] != latent.shape[2]:
        raise ValueError(
            f"A rotation needs square latents; these are {latent.shape[1]} x {latent.shape[2]}."
        )
    quarters = jnp.round(jnp.asarray(coefficient, latent.dtype) / 90)
    angle = jnp.deg2rad(coefficient - 90 * quarters)
    turns = jnp.stack([jnp.rot90(latent, count, axes=(1, 2)) for count in range(4)])
    turned = turns[quarters.astype(jnp.int32) % 4]
    across, down = jnp.tan(angle / 2), -jnp.sin(angle)
    return _shear(_transposed(_shear(_transposed(_shear(turned, across)), down)), across)


def _smoothing(n: int, sigma: Scalar, dtype) -> Array:
    gaps = jnp.arange(n, dtype=dtype)[:, None] - jnp.arange(n, dtype=dtype)[None]
    weights = jnp.exp(-0.5 * jnp.square(gaps / jnp.maximum(sigma, 1e-3)))
    return weights / jnp.sum(weights, axis=1, keepdims=True)


def _shear(latent: Array, slope: Scalar) -> Array:
    """Row i moved to the right by slope * (i - centre) pixels, periodically.

    The highest frequency of an even width, which has no half shifts, keeps its size and moves by
    whole pixels.
    """
    h, w = latent.shape[1:3]
    shift = slope * (jnp.arange(h, dtype=latent.dtype) - (h - 1) / 2)
    cycles = jnp.fft.rfftfreq(w).astype(latent.dtype)
    phase = -2 * jnp.pi * shift[:, None] * cycles[None, :]
    turn = jax.lax.complex(jnp.cos(phase), jnp.sin(phase))
    sign = jnp.where(turn.real < 0, -1, 1).astype(turn.dtype)
    turn = jnp.where(cycles[None, :] == 0.5, sign, turn)[None, :, :, None]
    return jnp.fft.irfft(jnp.fft.rfft(latent, axis=2) * turn, n=w, axis=2).astype(latent.dtype)


def _transposed(latent: Array) -> Array:
    return jnp.swapaxes(latent, 1, 2)

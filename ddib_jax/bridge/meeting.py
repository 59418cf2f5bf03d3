"""Where latents of unlike numbers of channels meet: in as many values of a pixel as both have."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddib_jax.diffusion import DiffusionModel
from ddib_jax.types import Keys

_STREAM = 0x6D656574
"""What the keys of images are folded with for the values that no source gives."""


def cosines(channels: int) -> Float[np.ndarray, "c c"]:
    """The orthonormal cosines over so many channels, a row each; the first is their mean.

    The DCT-II of orthonormal scale, float32.
    """
    places = np.arange(channels) + 0.5
    rows = np.cos(np.pi * np.arange(channels)[:, None] * places / channels)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def meet(latent: Float[Array, "*b s"], noise: Float[Array, "*b t"]) -> Float[Array, "*b t"]:
    """The latent of t channels that shares with one of s channels as many values as both have.

    These are the first cosines over the channels, of which the first is the mean. The others of the
    t are those of the noise; where s is the larger, the others of the s are left out (`dropped`).
    The map is orthonormal: a latent of N(0, I) and noise of N(0, I) make one of N(0, I), which no
    copy of a grey latent to three channels is. Latents of as many channels stay as they are.
    """
    s, t = latent.shape[-1], noise.shape[-1]
    if s == t:
        return latent
    here, there, k = cosines(s), cosines(t), min(s, t)
    shared = latent @ jnp.asarray(here[:k].T @ there[:k], latent.dtype)
    own = there[k:].T @ there[k:]
    return shared + noise @ jnp.asarray(own, latent.dtype)


def dropped(latent: Float[Array, "*b s"], channels: int) -> Float[Array, "*b s"]:
    """What a latent of s channels loses where it meets one of `channels`; zero where nothing.

    As the noise of the way back it makes that exact: for any noise of t channels `meet(meet(latent,
    noise), dropped(latent, t))` is the latent.
    """
    rest = cosines(latent.shape[-1])[min(channels, latent.shape[-1]) :]
    return latent @ jnp.asarray(rest.T @ rest, latent.dtype)


def meeting_noise(keys: Keys, shape: tuple[int, ...], dtype: jnp.dtype) -> Float[Array, "b ..."]:
    """The noise that `meet` is given, each image's [...] of `shape` from its own of the keys [b].

    It is independent of the noise that perturbations draw of the same keys.
    """
    draw = lambda key: jax.random.normal(jax.random.fold_in(key, _STREAM), shape, dtype)
    return jax.vmap(draw)(keys)


def warn_of_meeting(source: DiffusionModel, target: DiffusionModel) -> None:
    """Warn where the latents of source and target have unlike numbers of channels: what is lost."""
    s, t = source.data_shape[-1], target.data_shape[-1]
    if s == t or len(source.data_shape) != 3:
        return
    lost = (
        f"the other {t - s} of the target's are drawn by the seed, and a way back leaves them out"
        if s < t
        else f"the other {s - t} of the source's are left out, and no way back restores them"
    )
    shared = "their mean" if min(s, t) == 1 else f"their first {min(s, t)} cosines"
    warnings.warn(
        f"The source's latents have {s} and the target's {t} channels: they meet in {shared};"
        f" {lost}.",
        stacklevel=3,
    )

"""Sweeps: the same images under many coefficients of one perturbation, encoded once."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddib_jax import bridge, parallel
from ddib_jax.bridge import DDIB, check_meeting, check_shape, fixed_noise, neighbour
from ddib_jax.perturbations import acts_before_latent, at, needs
from ddib_jax.types import Image, Images, Perturbation, PRNGKey


def sweep(
    ddib: DDIB,
    key: PRNGKey,
    image: Image,
    coefficients: Float[Array, " k"],
    *,
    other: Image | None = None,
    at_once: int = 64,
) -> Float[Array, "k b h w c"]:
    """The translations of images [b h w c] under every coefficient of the DDIB's perturbation,
    encoded once.

    A pure function, one program under `jax.jit`. Perturbing and decoding are vmapped over as many
    coefficients as give at most `at_once` images (one, where b is more), and `lax.map`ped over the
    rest: the memory for it does not grow with k. A perturbation that acts before the latent is
    there (on the image or the noise level) is encoded anew for each. `other`: see `DDIB.given`; by
    default each image's neighbour in the batch.
    """
    noise = jax.random.normal(key, image.shape, image.dtype)
    other = neighbour(image) if other is None else other
    context = None if acts_before_latent(ddib.perturb) else ddib.encode(image, noise, other)

    def one(coefficient):
        held = ddib.replace(coefficient=coefficient)
        return held.decode(held.encode(image, noise, other) if context is None else context)

    most = max(1, at_once // len(image))
    together = next(
        size for size in range(min(most, len(coefficients)), 0, -1) if len(coefficients) % size == 0
    )
    return jax.lax.map(one, coefficients, batch_size=together)


class SweepResult(NamedTuple):
    """A sweep over k coefficients and n images: the translations, and the perturbed latents they
    were decoded from.
    """

    images: Float[np.ndarray, "k n h w c"]
    latents: Float[np.ndarray, "k n h w c"]


def translate_sweep(
    ddib: DDIB,
    images: Images | None,
    coefficients: Sequence[float | int],
    *,
    latents: Images | None = None,
    key: PRNGKey | None = None,
    indices: np.ndarray | None = None,
    batch_size: int = 64,
    progress: Callable = iter,
) -> SweepResult:
    """The sweep of any number of images [n h w c], in batches on all local devices; host arrays.

    Encoding, perturbing and decoding are programs of their own, so that another perturbation
    compiles neither network again; `batch_size` images at a time bound the memory. latents: those
    of the images under `ddib.source`, if they are known; nothing is encoded again then, and a
    perturbation that does not look at the images needs none. An image's `other` is the one before
    it, its noise that of `translate`, by its place or its number in `indices` [n]. Raises as
    `translate` does, and ValueError for a perturbation that needs images where there are none.
    """
    check_meeting(ddib.source.model, ddib.target.model)
    ddib.check_tie()
    before = acts_before_latent(ddib.perturb)
    if images is None and (latents is None or before or "image" in needs(ddib.perturb)):
        raise ValueError(
            "This perturbation looks at the source images; give images, not latents alone."
        )
    for kind, arrays in (("images", images), ("latents", latents)):
        if arrays is not None:
            check_shape(ddib.source, arrays, kind)
    key = jax.random.key(0) if key is None else key
    options = {"batch_size": batch_size, "progress": progress}

    def encoded(held: DDIB) -> np.ndarray:
        if not before:
            return bridge.encode(held.source, images, **options) if latents is None else latents
        seen = _perturbed(held, "image", images, key, {}, indices, batch_size)
        return bridge.encode(held.legs()[0], seen, **options)

    coefficients = jnp.asarray(coefficients, jnp.float32)
    shared = None if before else encoded(ddib)
    perturbed, held_at = [], []
    for coefficient in coefficients:
        held = ddib.replace(coefficient=coefficient)
        latent = encoded(held) if before else shared
        context = {
            "latent": latent,
            "other": neighbour(latent),
            **({} if images is None else {"image": images}),
        }
        perturbed.append(_perturbed(held, "latent", latent, key, context, indices, batch_size))
        held_at.append((held, latent))
    if before:
        parts = [
            _decoded(held, latent, changed, **options)
            for (held, latent), changed in zip(held_at, perturbed, strict=True)
        ]
    else:
        parts = _decoded(
            ddib,
            np.concatenate([latent for _, latent in held_at]),
            np.concatenate(perturbed),
            **options,
        )
    return SweepResult(
        np.reshape(parts, (len(coefficients), -1, *np.shape(perturbed)[2:])), np.stack(perturbed)
    )


def _decoded(ddib: DDIB, latents: np.ndarray, perturbed: np.ndarray, **options) -> np.ndarray:
    if ddib.tie is None:
        return bridge.decode(ddib.legs()[1], perturbed, **options)
    return bridge.decode_tied(ddib, latents, perturbed, **options)


def _perturbed(
    ddib: DDIB,
    stage: str,
    arrays: np.ndarray,
    key: PRNGKey,
    context: dict,
    indices: np.ndarray | None,
    batch_size: int,
) -> np.ndarray:
    tree = (jnp.asarray(ddib.coefficient), key)
    fn = _perturber(ddib.perturb, stage, tuple(context))
    return parallel.map_batches(
        fn,
        tree,
        np.arange(len(arrays)) if indices is None else indices,
        arrays,
        *context.values(),
        batch_size=batch_size,
    )


@functools.cache
def _perturber(perturb: Perturbation, stage: str, names: tuple[str, ...]) -> Callable:
    """The function of a batch that `parallel.map_batches` maps."""

    def perturbed(tree, index, array, *context):
        coefficient, key = tree
        given = dict(zip(names, context, strict=True)) | {"noise": fixed_noise(key, index, array)}
        return at(perturb, stage, array, coefficient, given)

    return perturbed

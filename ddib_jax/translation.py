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
    key: PRNGKey,
    ddib: DDIB,
    image: Image,
    coefficients: Float[Array, " k"],
    *,
    other: Image | None = None,
    at_once: int = 64,
) -> Float[Array, "k b h w c"]:
    """The translations of images [b h w c] under every coefficient [k] of the DDIB's perturbation.

    A pure function, one program under `jax.jit`, that encodes once. Perturbing and decoding are
    vmapped over as many coefficients as give at most `at_once` images (one, where b is more), and
    `lax.map`ped over the rest: the memory for it does not grow with k. For a perturbation that acts
    on the image or the noise level, every coefficient is encoded anew. `other`: see `DDIB.given`;
    by default each image's neighbour in the batch.
    """
    noise = jax.random.normal(key, image.shape, image.dtype)
    other = neighbour(image) if other is None else other
    context = None if acts_before_latent(ddib.perturb) else ddib.encode(image, noise, other)

    def translate_at(coefficient):
        method = ddib.replace(coefficient=coefficient)
        return method.decode(method.encode(image, noise, other) if context is None else context)

    # a divisor of k: `lax.map` would compile its body a second time for a remainder
    count, most = len(coefficients), max(1, at_once // len(image))
    batch = next(size for size in range(min(most, count), 0, -1) if count % size == 0)
    return jax.lax.map(translate_at, coefficients, batch_size=batch)


class SweepResult(NamedTuple):
    """A sweep over k coefficients and n images: translations, and the latents decoded to them."""

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
    of the images under `ddib.source`, where they are available; nothing is encoded again then, and
    a perturbation that does not look at the images needs none. An image's `other` is the one before
    it; its noise is that of `translate`, by its index or the one in `indices` [n]. Raises as
    `translate` does, and ValueError for a perturbation that needs images where there are none.
    """
    check_meeting(ddib.source.model, ddib.target.model)
    ddib.check_tie()
    encodes_anew = acts_before_latent(ddib.perturb)
    if images is None and (latents is None or encodes_anew or "image" in needs(ddib.perturb)):
        raise ValueError(
            "This perturbation looks at the source images; give images, not latents alone."
        )
    for kind, arrays in (("images", images), ("latents", latents)):
        if arrays is not None:
            check_shape(ddib.source, arrays, kind)
    key = jax.random.key(0) if key is None else key
    options = {"batch_size": batch_size, "progress": progress}

    def encode(method: DDIB) -> np.ndarray:
        if encodes_anew:
            changed = _perturbed(method, "image", images, key, {}, indices, batch_size)
            return bridge.encode(method.legs()[0], changed, **options)
        return bridge.encode(method.source, images, **options) if latents is None else latents

    shared = None if encodes_anew else encode(ddib)
    methods, encoded, perturbed = [], [], []
    for coefficient in jnp.asarray(coefficients, jnp.float32):
        method = ddib.replace(coefficient=coefficient)
        latent = encode(method) if encodes_anew else shared
        context = {"latent": latent, "other": neighbour(latent)}
        if images is not None:
            context["image"] = images
        methods.append(method)
        encoded.append(latent)
        perturbed.append(_perturbed(method, "latent", latent, key, context, indices, batch_size))
    if encodes_anew:  # then the bridges may end elsewhere at each coefficient
        rows = zip(methods, encoded, perturbed, strict=True)
        parts = [_decoded(*row, **options) for row in rows]
    else:
        parts = _decoded(ddib, np.concatenate(encoded), np.concatenate(perturbed), **options)
    shape = (len(methods), -1, *np.shape(perturbed)[2:])
    return SweepResult(np.reshape(parts, shape), np.stack(perturbed))


def _decoded(ddib: DDIB, latents: np.ndarray, perturbed: np.ndarray, **options) -> np.ndarray:
    if ddib.tie is None:
        return bridge.decode(ddib.legs()[1], perturbed, **options)
    return bridge.decode_tied(ddib, latents, perturbed=perturbed, **options)


def _perturbed(
    ddib: DDIB,
    stage: str,
    arrays: np.ndarray,
    key: PRNGKey,
    context: dict,
    indices: np.ndarray | None,
    batch_size: int,
) -> np.ndarray:
    """The arrays [n ...] after those steps of the perturbation that act on the stage."""
    return parallel.map_batches(
        _perturber(ddib.perturb, stage, tuple(context)),
        (jnp.asarray(ddib.coefficient), key),
        np.arange(len(arrays)) if indices is None else indices,
        arrays,
        *context.values(),
        batch_size=batch_size,
    )


@functools.cache  # one function, and so one compiled program, for equal arguments
def _perturber(perturb: Perturbation, stage: str, names: tuple[str, ...]) -> Callable:
    def perturb_batch(tree, index, array, *context):
        coefficient, key = tree
        parts = dict(zip(names, context, strict=True))
        return at(
            perturb, stage, array, coefficient, {**parts, "noise": fixed_noise(key, index, array)}
        )

    return perturb_batch

"""Sweeps: the same images under many coefficients of one perturbation, encoded once."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddib_jax import parallel
from ddib_jax.bridge import DDIB, check_finite, check_meeting, check_shape, fixed_noise, neighbour
from ddib_jax.perturbations import acts_before_latent, needs
from ddib_jax.types import Context, Image, Images, PRNGKey


def sweep(
    ddib: DDIB,
    key: PRNGKey,
    image: Image,
    coefficients: Float[Array, "k"],
    *,
    other: Image | None = None,
    at_once: int = 64,
) -> Float[Array, "k b h w c"]:
    """The translations of images [b h w c] under every coefficient of the DDIB's perturbation, encoded once.

    Perturbing and decoding are vmapped over as many coefficients as give at most `at_once` images (one, where b is more),
    and `lax.map`ped over the rest: the memory for it does not grow with k. A perturbation that acts
    before the latent is there (on the image or the noise level) is encoded anew for each. `other`: see `DDIB.given`;
    by default each image's neighbour in the batch.
    """
    noise = jax.random.normal(key, image.shape, image.dtype)
    context = {"image": image, "noise": noise, "other": neighbour(image) if other is None else other}
    return _swept(ddib, coefficients, context, at_once)[0]


class Swept(NamedTuple):
    """A sweep over k coefficients and n images: the translations, and the perturbed latents they were decoded from."""

    images: Float[np.ndarray, "k n h w c"]
    latents: Float[np.ndarray, "k n h w c"]


def translate_sweep(
    ddib: DDIB,
    images: Images | None,
    coefficients: Sequence[float],
    *,
    latents: Images | None = None,
    key: PRNGKey | None = None,
    batch_size: int = 64,
    at_once: int = 64,
    progress: Callable = iter,
) -> Swept:
    """`sweep` over any number of images [n h w c], in batches on all local devices; host arrays.

    latents: those of the images, if they are known; nothing is encoded again then, and a perturbation that
    does not look at the images needs none. An image's `other` is the one before it, its noise that of `translate`.
    Raises as `translate` does, and ValueError for a perturbation that needs images where there are none.
    """
    check_meeting(ddib.source.model, ddib.target.model)
    wanted = needs(ddib.perturb)
    if images is None and (latents is None or "image" in wanted or acts_before_latent(ddib.perturb)):
        raise ValueError("This perturbation looks at the source images; give images, not latents alone.")
    known = {"latent": latents, "other": latents} if latents is not None and not acts_before_latent(ddib.perturb) else {}
    given = {"image": images, "other": images} | known
    given = {name: array for name, array in given.items() if array is not None}
    for name, array in given.items():
        check_shape(ddib.source, array, "latents" if name in known else "images")
    given["other"] = neighbour(given["other"])
    key = jax.random.key(0) if key is None else key
    tree, places = (ddib, key, jnp.asarray(coefficients, jnp.float32)), np.arange(len(given["other"]))
    fn = _sweeper(tuple(given), at_once)
    swept = parallel.map_batches(fn, tree, places, *given.values(), batch_size=batch_size, progress=progress)
    return Swept(*(check_finite(np.moveaxis(array, 1, 0), "results") for array in swept))


def _swept(ddib: DDIB, coefficients: Array, given: Context, at_once: int) -> tuple[Array, Array]:
    """Translations and perturbed latents [k b h w c]; `given` holds `latent` where the images are encoded already."""
    if acts_before_latent(ddib.perturb):
        encode = lambda held: held.encode(given["image"], given["noise"], given["other"])  # noqa: E731
    else:
        context = given if "latent" in given else ddib.encode(given["image"], given["noise"], given["other"])
        encode = lambda held: context  # noqa: E731

    def one(coefficient):
        held = ddib.replace(coefficient=coefficient)
        return held.decode(encode(held))

    most = max(1, at_once // len(given["noise"]))
    together = next(size for size in range(min(most, len(coefficients)), 0, -1) if len(coefficients) % size == 0)
    return jax.lax.map(one, coefficients, batch_size=together)


@functools.cache
def _sweeper(names: tuple[str, ...], at_once: int) -> Callable:
    """The function of a batch that `parallel.map_batches` maps: images first, then coefficients."""

    def swept(tree, place, *arrays):
        ddib, key, coefficients = tree
        context = dict(zip(names, arrays, strict=True)) | {"noise": fixed_noise(key, place, arrays[0])}
        return jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), _swept(ddib, coefficients, context, at_once))

    return swept

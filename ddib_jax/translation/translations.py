"""Any number of images translated by any method, in batches on all devices.

Every image has its own key, derived from the user's and its index: what it shares a batch or a host
with cannot matter.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ddib_jax.bridge import (
    DDIB,
    check_finite,
    check_shape,
    check_solved,
    warn_of_guidance,
    warn_of_latents,
    warn_of_meeting,
)
from ddib_jax.translation.batches import finite_floats, moments, over_devices
from ddib_jax.types import Checked, HostImages, Images, Keys, PRNGKey, Translator


class Translations(NamedTuple):
    """Translations [n h w c], and the latents [n h w c] that their sources were encoded to.

    latents: before any perturbation; None for a method that has none.
    """

    images: HostImages
    latents: HostImages | None


def image_keys(key: PRNGKey, indices: Int[Array | np.ndarray, " n"] | int) -> Keys:
    """The keys of images by their indices [n], or of the first n: what a method is called with."""
    indices = jnp.arange(indices) if isinstance(indices, int) else jnp.asarray(indices)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, indices)


def translate(
    method: Translator,
    images: Images,
    *,
    key: PRNGKey | None = None,
    indices: Int[np.ndarray, " n"] | None = None,
    conds: Sequence[Any] | None = None,
    batch_size: int = 64,
    progress: Callable = iter,
) -> HostImages:
    """The translations [n h w c] of any number of images [n h w c] in [-1, 1] by any method.

    Images may be bytes, too, and a list of arrays (`as_floats`).

    Image i has the key `image_keys(key, indices)[i]`; the default key is 0, the default indices 0
    to n - 1. conds: what the method's `given` is called with, each None or a condition with leaves
    [n ...], one for each image: for a DDIB those of source and target.

    Raises FloatingPointError for a result that is not finite or was not solved for, and as the
    method's `check` does, where it has one; for a DDIB also ValueError where its models do not take
    the images. It warns of latents far from N(0, I), and of bridges that are guided in different
    ways.
    """
    options = {"key": key, "indices": indices, "conds": conds}
    found, measured = _translated(
        _translate_batch, method, images, batch_size=batch_size, progress=progress, **options
    )
    if measured is not None:
        warn_of_latents(measured)
    return found


def translate_with_latents(
    method: Translator,
    images: Images,
    *,
    key: PRNGKey | None = None,
    indices: Int[np.ndarray, " n"] | None = None,
    conds: Sequence[Any] | None = None,
    batch_size: int = 64,
    progress: Callable = iter,
) -> Translations:
    """As `translate`, with the latents besides, which take as much memory as the translations."""
    options = {"key": key, "indices": indices, "conds": conds}
    found = Translations(
        *_translated(
            _translate_with_latents_batch,
            method,
            images,
            batch_size=batch_size,
            progress=progress,
            **options,
        )
    )
    if found.latents is not None:
        warn_of_latents(moments(found.latents))
    return found


def _translated(
    batched: Callable,
    method: Translator,
    images: Images,
    *,
    key: PRNGKey | None,
    indices: Int[np.ndarray, " n"] | None,
    conds: Sequence[Any] | None,
    batch_size: int,
    progress: Callable,
) -> tuple[HostImages, HostImages | None]:
    """The translations, and what `batched` says of the latents, None where there are none."""
    images = finite_floats(images, "images")
    if isinstance(method, Checked):
        method.check()
    if isinstance(method, DDIB):
        check_shape(method.source.model, images, "images")
        warn_of_meeting(method.source.model, method.target.model)
        if method.coupling is None:  # under one a cycle does not close anyway
            warn_of_guidance(method.source.model, method.target.model)
    indices = np.arange(len(images)) if indices is None else indices
    batch: dict[str, Any] = {"index": indices, "image": images}
    if conds is not None:
        batch["conds"] = tuple(conds)
    method, own = _split_references(method, len(images), apart=conds is not None)
    translations, latents, residuals = over_devices(
        batched,
        (method, jax.random.key(0) if key is None else key),
        batch | own,
        batch_size=batch_size,
        progress=progress,
    )
    if isinstance(method, DDIB):
        for bridge, residual in zip((method.source, method.target), residuals, strict=True):
            check_solved(bridge.solver, residual)
    return check_finite(translations, "translations"), latents


# The functions below are mapped over batches: `over_devices` compiles each once.


def _translate_with_latents_batch(tree, batch):
    method, key = tree
    keys, image = image_keys(key, batch["index"]), batch["image"]
    if "conds" in batch:
        method = method.given(*batch["conds"])
    if "reference" in batch:
        method = replace(method, reference=batch["reference"])
    if not isinstance(method, DDIB):
        return method(keys, image), None, None
    context, up = method.encode(keys, image)
    down = method.decode(context)
    return down.y, context["latent"], (up.residual, down.residual)


def _translate_batch(tree, batch):
    images, latents, residuals = _translate_with_latents_batch(tree, batch)
    return images, None if latents is None else moments(latents), residuals


def _split_references(
    method: Translator, count: int, *, apart: bool
) -> tuple[Translator, dict[str, Any]]:
    """The method without its images' own references, and these as a part of the batch.

    apart: one reference for all is taken apart too, for it is encoded under each image's condition.
    """
    if not isinstance(method, DDIB) or method.reference is None:
        return method, {}
    references = np.asarray(method.references())
    if len(references) not in (1, count):
        raise ValueError(
            f"Found {len(references)} references for {count} images; give one for all, or one for"
            " each."
        )
    if len(references) == 1 and not apart:
        return method, {}
    own = np.broadcast_to(references, (count, *references.shape[1:]))
    return replace(method, reference=None), {"reference": own}

"""What batches share: conditions of single images, and the way through a codec."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ddib_jax import parallel
from ddib_jax.bridge import Bridge, check_shape
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.types import AnyArray, HostImages, Images


def conditions(cond: Any) -> dict[str, Any]:
    """The part of a batch that conditions [n ...] are; none for None."""
    return {} if cond is None else {"cond": cond}


def under(bridge: Bridge, batch: dict) -> Bridge:
    """The bridge under the batch's own conditions, where it has some."""
    if "cond" not in batch:
        return bridge
    return replace(bridge, model=bridge.model.given(batch["cond"]))


def to_data(
    model: DiffusionModel, images: Images, *, batch_size: int = 64, progress: Callable = iter
) -> HostImages:
    """What the model's ODE is over: the codes of images [n h w c], or the images themselves."""
    if model.codec is None:
        return np.asarray(images)
    check_shape(model, images, "images")
    return parallel.map_batches(
        DiffusionModel.to_data, model, images, batch_size=batch_size, progress=progress
    )


def to_images(
    model: DiffusionModel, data: Images, *, batch_size: int = 64, progress: Callable = iter
) -> HostImages:
    """The images [n h w c] of codes [n ...], or of images themselves."""
    if model.codec is None:
        return np.asarray(data)
    check_shape(model, data, "codes")
    return parallel.map_batches(
        DiffusionModel.to_image, model, data, batch_size=batch_size, progress=progress
    )


def as_floats(arrays: Any, kind: str) -> HostImages:
    """Arrays [n ...] or a list of n arrays as floats of JAX's own precision, on the host.

    kind: "images", which may be bytes from 0 to 255 and become floats in [-1, 1], or "latents".
    Raises ValueError for whole numbers otherwise, whose range nobody could know, and for what is no
    array of numbers.
    """
    try:
        found = np.asarray(arrays)
    except ValueError as error:
        raise ValueError(f"The {kind} are not of one shape; give arrays that are.") from error
    if found.dtype == np.uint8 and kind == "images":
        return found.astype(jnp.result_type(float)) / 127.5 - 1
    if not jnp.issubdtype(found.dtype, jnp.floating):
        raise ValueError(
            f"The {kind} are of {found.dtype}; give floats (images in [-1, 1]), or images as bytes"
            " (uint8)."
        )
    return found.astype(jnp.result_type(float), copy=False)


def moments(latents: Float[AnyArray, "n ..."]) -> Float[AnyArray, "n 2"]:
    """The mean and the mean square of every latent."""
    axes, xp = tuple(range(1, latents.ndim)), jnp if isinstance(latents, jax.Array) else np
    return cast(AnyArray, xp.stack([latents.mean(axes), (latents**2).mean(axes)], axis=1))

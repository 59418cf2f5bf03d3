"""What batches share: conditions of single images, and the way through a codec."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ddib_jax import parallel
from ddib_jax.bridge import Bridge, as_floats, check_shape
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.parallel import BATCH_AXIS
from ddib_jax.tiling import Tiling
from ddib_jax.types import AnyArray, HostImages, Images


def conditions(cond: Any) -> dict[str, Any]:
    """The part of a batch that conditions [n ...] are; none for None."""
    return {} if cond is None else {"cond": cond}


def under(bridge: Bridge, batch: dict) -> Bridge:
    """The bridge under the batch's own conditions, where it has some."""
    return bridge.under(batch.get("cond"))


def finite_floats(arrays: Any, kind: str) -> HostImages:
    """Arrays [n ...] on the host, as `as_floats` has them; ValueError for NaN and infinity too."""
    found = np.asarray(as_floats(arrays, kind))
    if not np.isfinite(found).all():
        raise ValueError(f"The {kind} hold values that are not finite.")
    return found


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


def over_devices(
    fn: Callable, tree: Any, batch: Any, *, batch_size: int, progress: Callable = iter
) -> Any:
    """`parallel.map_batches` over images, and where there are more devices, over their windows.

    Of models of large pictures (`tiling.Tiling`) each device then denoises a share of the windows
    of every picture, and all follow one ODE together.
    """
    length = len(jax.tree.leaves(batch)[0])
    nodes, structure = jax.tree.flatten(tree, is_leaf=_is_tiling)
    few = min(length, batch_size) < jax.local_device_count()
    together = few and any(map(_is_tiling, nodes))
    if together:
        nodes = [node.replace(axis=BATCH_AXIS) if _is_tiling(node) else node for node in nodes]
        tree = jax.tree.unflatten(structure, nodes)
    return parallel.map_batches(
        fn, tree, batch, batch_size=batch_size, together=together, progress=progress
    )


def _is_tiling(node: Any) -> bool:
    return isinstance(node, Tiling)


def moments(latents: Float[AnyArray, "n ..."]) -> Float[AnyArray, "n 2"]:
    """The mean and the mean square of every latent."""
    axes, xp = tuple(range(1, latents.ndim)), jnp if isinstance(latents, jax.Array) else np
    return cast(AnyArray, xp.stack([latents.mean(axes), (latents**2).mean(axes)], axis=1))

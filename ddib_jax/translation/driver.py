"""The one driver: any number of images encoded, decoded and translated, in batches on all devices.

Images, latents and results are arrays of the host [n h w c], or [n d] of points. Every image has
its own key, derived from the user's and its index: what it shares a batch or a host with cannot
matter.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ddib_jax import parallel
from ddib_jax.bridge import (
    DDIB,
    Auxiliary,
    Bridge,
    check_finite,
    check_shape,
    check_solved,
    warn_of_guidance,
    warn_of_latents,
)
from ddib_jax.solvers import LatticeHeun, Solution
from ddib_jax.translation import lattice
from ddib_jax.translation.batches import conditions, finite_floats, to_data, to_images, under
from ddib_jax.types import AnyArray, Checked, HostImages, Images, Keys, PRNGKey, Translator


def image_keys(key: PRNGKey, indices: Int[Array | np.ndarray, " n"] | int) -> Keys:
    """The keys of images by their indices [n], or of the first n: what a method is called with."""
    indices = jnp.arange(indices) if isinstance(indices, int) else jnp.asarray(indices)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, indices)


def encode(
    bridge: Bridge,
    images: Images,
    *,
    cond: Any = None,
    batch_size: int = 64,
    progress: Callable = iter,
) -> Solution[np.ndarray]:
    """The latents of any number of images [n h w c] in [-1, 1]: the solution's y [n h w c].

    Images may be bytes, too, and a list of arrays (`as_floats`).

    cond: a condition in place of the model's own, its leaves [n ...], one for each image. With a
    reversible solver the solution's `aux` is what `decode` needs to give the images back exactly,
    from a lattice to the bit. `evaluations` [n] are those of each image's batch.

    Raises ValueError where the images are not of the model's shape or not finite,
    FloatingPointError where a latent is not finite or a solver did not reach its tolerance. Warns
    of latents far from N(0, I).
    """
    images = finite_floats(images, "images")
    check_shape(bridge.model, images, "images")
    if isinstance(bridge.solver, LatticeHeun):
        data = to_data(bridge.model, images, batch_size=batch_size)
        return _latents(
            bridge,
            lattice.cross(
                bridge, data, rising=True, cond=cond, batch_size=batch_size, progress=progress
            ),
        )
    batch = {"image": images} | conditions(cond)
    latents, value, residual, evaluations = parallel.map_batches(
        _encode_batch, bridge, batch, batch_size=batch_size, progress=progress
    )
    check_solved(bridge.solver, residual)
    check_finite(latents, "latents")
    warn_of_latents(_moments(latents))
    aux = None
    if value is not None:
        aux = Auxiliary(
            value,
            np.asarray(bridge.sigmas),
            bridge.solver,
            rising=True,
            precision=bridge.model.precision,
        )
    return Solution(latents, aux, residual, evaluations)


def decode(
    bridge: Bridge,
    latents: Images,
    *,
    aux: Auxiliary | None = None,
    cond: Any = None,
    batch_size: int = 64,
    progress: Callable = iter,
) -> HostImages:
    """The images of any number of latents [n h w c] of unit variance.

    With the `aux` of their encoding these are the encoded images, up to rounding and to the error
    of the model's codec, where it has one; of a lattice its nearest to them, to the bit. cond: as
    in `encode`. Raises as `encode` does, and ValueError for an `aux` of another solver, grid,
    precision or number of latents, and for latents that are not those of a lattice's pairs.
    """
    latents = finite_floats(latents, "latents")
    check_shape(bridge.model, latents, "latents")
    if aux is not None:
        aux.check(bridge)
    if isinstance(bridge.solver, LatticeHeun):
        start = np.asarray(latents) * np.asarray(bridge.scale)
        if aux is not None:
            _check_states(start, lattice.states(bridge, aux, rising=True))
        end = lattice.cross(
            bridge,
            start if aux is None else aux,
            rising=False,
            cond=cond,
            batch_size=batch_size,
            progress=progress,
        )
        return to_images(bridge.model, end.y, batch_size=batch_size)
    batch = {"latent": latents} | conditions(cond)
    if aux is not None:
        if aux.value is None or aux.value.shape != latents.shape:
            count = 0 if aux.value is None else len(aux.value)
            raise ValueError(
                f"The auxiliary state is that of {count} other latents than these"
                f" {len(latents)}; give those that came with it."
            )
        batch["value"], aux = aux.value, replace(aux, value=None)
    images, residual = parallel.map_batches(
        _decode_batch, (bridge, aux), batch, batch_size=batch_size, progress=progress
    )
    check_solved(bridge.solver, residual)
    return check_finite(images, "images")


def hand_on(
    bridge: Bridge,
    aux: Auxiliary,
    *,
    rising: bool,
    cond: Any = None,
    batch_size: int = 64,
    progress: Callable = iter,
) -> Solution[np.ndarray]:
    """Pairs of one end of a lattice taken to the other: y are latents, or images where it falls.

    From model to model, up one and down the other, every way is undone to the bit by the same ways
    back. The pairs' own batch is used, as in `decode`, whatever `batch_size`. cond and errors: as
    in `decode`, and TypeError for a solver that is no lattice.
    """
    end = lattice.cross(
        bridge, aux, rising=rising, cond=cond, batch_size=batch_size, progress=progress
    )
    if rising:
        return _latents(bridge, end)
    return replace(end, y=to_images(bridge.model, end.y, batch_size=batch_size))


def sample(
    bridge: Bridge,
    latents: Images,
    *,
    cond: Any = None,
    batch_size: int = 64,
    progress: Callable = iter,
) -> HostImages:
    """The samples [n h w c] of Gaussian latents [n h w c]; `cond` and errors as in `encode`."""
    latents = finite_floats(latents, "latents")
    check_shape(bridge.model, latents, "latents")
    batch = {"latent": latents} | conditions(cond)
    images = parallel.map_batches(
        _sample_batch, bridge, batch, batch_size=batch_size, progress=progress
    )
    return check_finite(images, "images")


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
    images = finite_floats(images, "images")
    if isinstance(method, Checked):
        method.check()
    if isinstance(method, DDIB):
        check_shape(method.source.model, images, "images")
        warn_of_guidance(method.source.model, method.target.model)
    indices = np.arange(len(images)) if indices is None else indices
    batch: dict[str, Any] = {"index": indices, "image": images}
    if conds is not None:
        batch["conds"] = tuple(conds)
    method, own = _split_references(method, len(images), apart=conds is not None)
    translations, *told = parallel.map_batches(
        _translate_batch,
        (method, jax.random.key(0) if key is None else key),
        batch | own,
        batch_size=batch_size,
        progress=progress,
    )
    if isinstance(method, DDIB):
        moments, up, down = told
        check_solved(method.source.solver, up)
        check_solved(method.target.solver, down)
        warn_of_latents(moments)
    return check_finite(translations, "translations")


# The functions below are mapped over batches: `parallel.map_batches` compiles each once.


def _encode_batch(bridge, batch):
    bridge = under(bridge, batch)
    solution = bridge.solve(bridge.model.to_data(batch["image"]), rising=True)
    value = None if solution.aux is None else solution.aux.value
    evaluations = jnp.broadcast_to(solution.evaluations, solution.residual.shape)
    return solution.y / bridge.scale, value, solution.residual, evaluations


def _decode_batch(tree, batch):
    bridge, aux = tree
    bridge = under(bridge, batch)
    if aux is not None:
        aux = replace(aux, value=batch["value"])
    solution = bridge.solve(batch["latent"] * bridge.scale, rising=False, aux=aux)
    return bridge.model.to_image(solution.y), solution.residual


def _sample_batch(bridge, batch):
    return under(bridge, batch).sample(batch["latent"])


def _translate_batch(tree, batch):
    method, key = tree
    keys, image = image_keys(key, batch["index"]), batch["image"]
    if "conds" in batch:
        method = method.given(*batch["conds"])
    if "reference" in batch:
        method = replace(method, reference=batch["reference"])
    if not isinstance(method, DDIB):
        return (method(keys, image),)
    context, up = method.encode(keys, image)
    down = method.decode(context)
    return down.y, _moments(context["latent"]), up.residual, down.residual


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


def _latents(bridge: Bridge, end: Solution[np.ndarray]) -> Solution[np.ndarray]:
    """The solution with latents of unit variance in place of states; it warns of odd ones."""
    latents = end.y / np.asarray(bridge.scale)
    warn_of_latents(_moments(latents))
    return replace(end, y=latents)


def _check_states(start: np.ndarray, states: np.ndarray) -> None:
    """Raise ValueError where states [n ...] are not those of pairs."""
    if len(start) != len(states):
        raise ValueError(
            f"The auxiliary state is that of {len(states)} other latents than these {len(start)};"
            " give those that came with it."
        )
    if not np.allclose(start, states, rtol=1e-5, atol=1e-3):
        raise ValueError(
            "These are not the latents that the auxiliary state came with, and of a lattice that"
            " state is all that is decoded; leave it out to decode other latents."
        )


def _moments(latents: AnyArray) -> AnyArray:
    """The mean and the mean square of every latent, [n 2]."""
    axes, xp = tuple(range(1, latents.ndim)), jnp if isinstance(latents, jax.Array) else np
    return cast(AnyArray, xp.stack([latents.mean(axes), (latents**2).mean(axes)], axis=1))

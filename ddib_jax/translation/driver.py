"""Any number of images over one bridge: encoded, decoded, sampled, in batches on all devices.

Images, latents and results are arrays of the host [n h w c], or [n d] of points.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from ddib_jax.bridge import (
    Auxiliary,
    Bridge,
    check_finite,
    check_shape,
    check_solved,
    warn_of_latents,
)
from ddib_jax.solvers import LatticeHeun, Solution
from ddib_jax.translation import lattice
from ddib_jax.translation.batches import (
    conditions,
    finite_floats,
    moments,
    over_devices,
    to_data,
    to_images,
    under,
)
from ddib_jax.types import HostImages, Images


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
    latents, value, residual, evaluations = over_devices(
        _encode_batch, bridge, batch, batch_size=batch_size, progress=progress
    )
    check_solved(bridge.solver, residual)
    check_finite(latents, "latents")
    warn_of_latents(moments(latents))
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
    images, residual = over_devices(
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
    images = over_devices(_sample_batch, bridge, batch, batch_size=batch_size, progress=progress)
    return check_finite(images, "images")


# The functions below are mapped over batches: `over_devices` compiles each once.


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


def _latents(bridge: Bridge, end: Solution[np.ndarray]) -> Solution[np.ndarray]:
    """The solution with latents of unit variance in place of states; it warns of odd ones."""
    latents = end.y / np.asarray(bridge.scale)
    warn_of_latents(moments(latents))
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

"""Any number of images across bridges, in batches on all local devices; arrays of the host in and
out.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax import parallel
from ddib_jax.bridge.bridge import Bridge
from ddib_jax.bridge.checks import (
    check_finite,
    check_meeting,
    check_shape,
    warn_of_guidance,
    warn_of_latents,
)
from ddib_jax.bridge.ddib import DDIB, fixed_noise, neighbour
from ddib_jax.solvers import Carry, is_implicit
from ddib_jax.types import Images, Labels, PRNGKey


def encode(
    bridge: Bridge,
    images: Images,
    *,
    labels: Labels | None = None,
    return_carry: bool = False,
    batch_size: int = 64,
    progress: Callable = iter,
) -> Images | tuple[Images, Carry]:
    """The latents of any number of images [n h w c]; with a reversible solver and `return_carry`
    also what `decode` takes.

    labels [n]: each image's own class, in place of the model's `cond`. Raises ValueError where the
    images are not of the model's shape or not finite, FloatingPointError where a latent is not
    finite or an implicit solver did not reach its tolerance. Warns of latents far from N(0, I).
    """
    check_shape(bridge, images, "images")
    if not np.isfinite(images).all():
        raise ValueError("The images hold values that are not finite; they must lie in [-1, 1].")
    options = {"batch_size": batch_size, "progress": progress}
    if return_carry:
        latents, second = _mapped(_encode_pair, bridge, (images,), labels, **options)
        carry = Carry(second, bridge.sigmas, bridge.solver, rising=True)
    else:
        latents = _mapped(Bridge.encode, bridge, (images,), labels, **options)
        _check_solved(bridge, latents, images, labels, rising=True, **options)
    check_finite(latents, "latents")
    warn_of_latents(np.stack(_moments(latents), axis=1))
    return (latents, carry) if return_carry else latents


def decode(
    bridge: Bridge,
    latents: Images,
    *,
    labels: Labels | None = None,
    carry: Carry | None = None,
    batch_size: int = 64,
    progress: Callable = iter,
) -> Images:
    """The images of any number of latents [n h w c], with the `carry` of their encoding exactly;
    raises as `encode` does.

    Raises ValueError for a carry of another solver, grid or number of latents.
    """
    check_shape(bridge, latents, "latents")
    options = {"batch_size": batch_size, "progress": progress}
    if carry is None:
        images = _mapped(Bridge.decode, bridge, (latents,), labels, **options)
        _check_solved(bridge, images, latents, labels, rising=False, **options)
    else:
        carry.check(bridge.solver, bridge.sigmas)
        if np.shape(carry.second) != np.shape(latents):
            raise ValueError(
                f"The carry is that of {len(carry.second)} other latents than these {len(latents)};"
                " give those that came with it."
            )
        images = _mapped(_decoder(carry.rising), bridge, (latents, carry.second), labels, **options)
    return check_finite(images, "images")


def decode_tied(
    ddib: DDIB,
    latents: Images,
    perturbed: Images | None = None,
    *,
    batch_size: int = 64,
    progress: Callable = iter,
) -> Images:
    """The translations [n h w c] of the source's latents, or of these once perturbed, under the tie
    of the DDIB; raises as `decode` and `Tie.decode` do.
    """
    if ddib.tie is None:
        raise ValueError("This DDIB has no tie; decode by its target alone.")
    ddib.check_tie()
    check_shape(ddib.target, latents, "latents")
    arrays = (latents, latents if perturbed is None else perturbed)
    return check_finite(
        parallel.map_batches(_decode_tied, ddib, *arrays, batch_size=batch_size, progress=progress),
        "translations",
    )


def sample(
    bridge: Bridge,
    latents: Images,
    *,
    labels: Labels | None = None,
    batch_size: int = 64,
    progress: Callable = iter,
) -> Images:
    """The samples [n h w c] that Gaussian latents become; labels and errors as in `encode`."""
    check_shape(bridge, latents, "latents")
    images = _mapped(
        Bridge.sample, bridge, (latents,), labels, batch_size=batch_size, progress=progress
    )
    return check_finite(images, "images")


def translate(
    ddib: DDIB,
    images: Images,
    *,
    key: PRNGKey | None = None,
    batch_size: int = 64,
    progress: Callable = iter,
) -> Images:
    """Any number of source images [n h w c] in [-1, 1] translated.

    Image i has its noise from `key` (default 0) and i, so that the batching does not matter. Raises
    ValueError where source, target and images are not of one shape, FloatingPointError for a result
    that is not finite. Warns of latents far from N(0, I), and of legs that are guided in different
    ways.
    """
    check_meeting(ddib.source.model, ddib.target.model)
    check_shape(ddib.source, images, "images")
    ddib.check_tie()
    warn_of_guidance(ddib.source.model, ddib.target.model)
    key = jax.random.key(0) if key is None else key
    options = {"batch_size": batch_size, "progress": progress}
    results, moments = parallel.map_batches(
        _translate, (ddib, key), np.arange(len(images)), images, neighbour(images), **options
    )
    _check_solved(ddib.legs()[0], results, images, None, rising=True, **options)
    warn_of_latents(moments)
    return check_finite(results, "translations")


def _mapped(fn: Callable, bridge: Bridge, arrays: tuple, labels: Labels | None, **options):
    if labels is None:
        return parallel.map_batches(fn, bridge, *arrays, **options)
    return parallel.map_batches(
        _labelled(fn), bridge, np.asarray(labels, np.int32), *arrays, **options
    )


@functools.cache
def _labelled(fn: Callable) -> Callable:
    """`fn` of a bridge and arrays as a function of a bridge, labels and arrays."""
    return lambda bridge, labels, *arrays: fn(
        bridge.replace(model=bridge.model.given(labels)), *arrays
    )


def _translate(tree, index, image, other):
    ddib, key = tree
    context = ddib.encode(image, fixed_noise(key, index, image), other)
    return ddib.decode(context), jnp.stack(_moments(context["latent"]), axis=1)


def _decode_tied(ddib, latent, perturbed):
    return ddib.tie.decode(*ddib.legs(), latent, perturbed)


def _moments(latents):
    axes = tuple(range(1, latents.ndim))
    return latents.mean(axes), (latents**2).mean(axes)


def _encode_pair(bridge, image):
    latent, carry = bridge.encode(image, return_carry=True)
    return latent, carry.second


@functools.cache
def _decoder(rising: bool) -> Callable:
    """The function of a batch of latents and second states that were made going up, or down."""

    def decoded(bridge, latent, second):
        return bridge.decode(latent, carry=Carry(second, bridge.sigmas, bridge.solver, rising))

    return decoded


def _check_solved(
    bridge: Bridge,
    results: np.ndarray,
    start: np.ndarray,
    labels: Labels | None,
    *,
    rising: bool,
    **options,
) -> None:
    """Raise FloatingPointError, with the residual, where results [n h w c] hold what an implicit
    solver did not find.
    """
    if not is_implicit(bridge.solver) or np.isfinite(results).all():
        return
    x = start if rising else start * np.sqrt(1 + np.square(bridge.sigmas[-1]))
    residuals = _mapped(_residual_up if rising else _residual_down, bridge, (x,), labels, **options)
    wanted = bridge.solver.solve.wanted(residuals.dtype)
    missed = int((~(residuals <= wanted)).sum())
    if missed:
        raise FloatingPointError(
            f"{type(bridge.solver).__name__} did not converge on {missed} of {len(residuals)}"
            f" images: the worst relative residual is {residuals.max():.2g} where {wanted:.2g} is"
            " wanted; take more steps or a reversible solver."
        )


def _residual_up(bridge, x):
    return bridge.solved(x, rising=True)[1]


def _residual_down(bridge, x):
    return bridge.solved(x, rising=False)[1]

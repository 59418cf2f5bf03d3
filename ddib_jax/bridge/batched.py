"""Encoding, decoding and translation of any number of images, in batches on all local devices.

Images, latents and results are arrays of the host [n h w c], or [n d] of points.
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
    """The latents of any number of images [n h w c] in [-1, 1].

    labels [n]: each image's own class, in place of the model's `cond`. With a reversible solver,
    `return_carry` also returns what `decode` needs to give the images back exactly. Raises
    ValueError where the images are not of the model's shape or not finite, FloatingPointError where
    a latent is not finite or an implicit solver did not reach its tolerance. Warns of latents far
    from N(0, I).
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
    warn_of_latents(_moments(latents))
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
    """The images of any number of latents [n h w c] of unit variance.

    With the `carry` of their encoding these are the encoded images, up to rounding. labels [n]: as
    in `encode`. Raises as `encode` does, and ValueError for a carry of another solver, grid or
    number of latents.
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
        decoder, pair = _decoder(rising=carry.rising), (latents, carry.second)
        images = _mapped(decoder, bridge, pair, labels, **options)
    return check_finite(images, "images")


def decode_tied(
    ddib: DDIB,
    latents: Images,
    *,
    perturbed: Images | None = None,
    batch_size: int = 64,
    progress: Callable = iter,
) -> Images:
    """The translations [n h w c] of the source's latents under the tie of the DDIB.

    The target starts from `perturbed` [n h w c] where it is given. Raises as `decode` and
    `Tie.decode` do, and ValueError for a DDIB without a tie.
    """
    if ddib.tie is None:
        raise ValueError("This DDIB has no tie; decode by its target alone.")
    ddib.check_tie()
    check_shape(ddib.target, latents, "latents")
    arrays = (latents, latents if perturbed is None else perturbed)
    translations = parallel.map_batches(
        _decode_tied, ddib, *arrays, batch_size=batch_size, progress=progress
    )
    return check_finite(translations, "translations")


def sample(
    bridge: Bridge,
    latents: Images,
    *,
    labels: Labels | None = None,
    batch_size: int = 64,
    progress: Callable = iter,
) -> Images:
    """The samples [n h w c] of Gaussian latents [n h w c]; labels and errors as in `encode`."""
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
    """The translations [n h w c] of any number of source images [n h w c] in [-1, 1].

    Image i has its noise from `key` (default 0) and i, so that the batching does not matter. Raises
    ValueError where source, target and images are not of one shape, FloatingPointError for a result
    that is not finite. Warns of latents far from N(0, I), and of bridges that are guided in
    different ways.
    """
    check_meeting(ddib.source.model, ddib.target.model)
    check_shape(ddib.source, images, "images")
    ddib.check_tie()
    warn_of_guidance(ddib.source.model, ddib.target.model)
    key = jax.random.key(0) if key is None else key
    options = {"batch_size": batch_size, "progress": progress}
    arrays = (np.arange(len(images)), images, neighbour(images))
    translations, moments = parallel.map_batches(_translate, (ddib, key), *arrays, **options)
    _check_solved(ddib.legs()[0], translations, images, None, rising=True, **options)
    warn_of_latents(moments)
    return check_finite(translations, "translations")


def _mapped(fn: Callable, bridge: Bridge, arrays: tuple, labels: Labels | None, **options):
    if labels is None:
        return parallel.map_batches(fn, bridge, *arrays, **options)
    labels = np.asarray(labels)
    return parallel.map_batches(_labelled(fn), bridge, labels, *arrays, **options)


# `parallel.map_batches` compiles a function once for as long as it is given the same object, so
# the functions below are made once for each argument that is closed over.


@functools.cache
def _labelled(fn: Callable) -> Callable:
    """`fn` of a bridge and arrays as a function of a bridge, labels and arrays."""

    def with_labels(bridge, labels, *arrays):
        return fn(bridge.replace(model=bridge.model.given(labels)), *arrays)

    return with_labels


@functools.cache
def _decoder(*, rising: bool) -> Callable:
    """The decoder of latents and second states, whose encoding went up (`rising`) or down."""

    def decode_pair(bridge, latent, second):
        return bridge.decode(latent, carry=Carry(second, bridge.sigmas, bridge.solver, rising))

    return decode_pair


def _encode_pair(bridge, image):
    latent, carry = bridge.encode(image, return_carry=True)
    return latent, carry.second


def _decode_tied(ddib, latent, perturbed):
    return ddib.tie.decode(*ddib.legs(), latent, perturbed=perturbed)


def _translate(tree, index, image, other):
    ddib, key = tree
    context = ddib.encode(image, fixed_noise(key, index, image), other)
    return ddib.decode(context), _moments(context["latent"])


def _moments(latents):
    """The mean and the mean square of every latent, [n 2]."""
    axes, xp = tuple(range(1, latents.ndim)), jnp if isinstance(latents, jax.Array) else np
    return xp.stack([latents.mean(axes), (latents**2).mean(axes)], axis=1)


def _check_solved(
    bridge: Bridge,
    results: np.ndarray,
    start: np.ndarray,
    labels: Labels | None,
    *,
    rising: bool,
    **options,
) -> None:
    """Raise FloatingPointError, with the residual, where an implicit solver did not converge.

    That is where results [n h w c] are not finite: what was solved for is then solved again from
    `start`, images or latents [n h w c], for its residuals, which `Bridge.encode` does not return.
    """
    if not is_implicit(bridge.solver) or np.isfinite(results).all():
        return
    x = start if rising else start * np.sqrt(1 + np.square(bridge.sigmas[-1]))
    residuals = _mapped(_residual_up if rising else _residual_down, bridge, (x,), labels, **options)
    threshold = bridge.solver.solve.accepted(residuals.dtype)
    count = int((~(residuals <= threshold)).sum())
    if count:
        raise FloatingPointError(
            f"{type(bridge.solver).__name__} did not converge on {count} of {len(residuals)}"
            f" images: the worst relative residual is {residuals.max():.2g} where {threshold:.2g}"
            " is wanted; take more steps or a reversible solver."
        )


def _residual_up(bridge, x):
    return bridge.solved(x, rising=True)[1]


def _residual_down(bridge, x):
    return bridge.solved(x, rising=False)[1]

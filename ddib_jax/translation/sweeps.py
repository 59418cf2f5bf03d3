"""Sweeps: the same images under many values of one field of a method, encoded once."""

from collections.abc import Callable, Sequence
from dataclasses import is_dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from ddib_jax import parallel
from ddib_jax.bridge import (
    DDIB,
    check_finite,
    check_shape,
    check_solved,
    fixed_noise,
    meet,
    meeting_noise,
    warn_of_meeting,
)
from ddib_jax.perturbations import acts_before_latent, at, needs
from ddib_jax.translation.batches import finite_floats, over_devices, to_data
from ddib_jax.translation.driver import decode, encode
from ddib_jax.translation.translations import image_keys, translate
from ddib_jax.types import Image, Images, Keys, Perturbation, PRNGKey, Scalar, Translator


class SweepResult(NamedTuple):
    """A sweep over k values and n images: translations, and the latents decoded to them.

    latents: None for a method that has none.
    """

    images: Float[np.ndarray, "k n ..."]
    latents: Float[np.ndarray, "k n ..."] | None


def translate_sweep(
    method: Translator,
    images: Images | None,
    values: Sequence[float | int],
    *,
    over: str = "coefficient",
    latents: Images | None = None,
    key: PRNGKey | None = None,
    indices: Int[np.ndarray, " n"] | None = None,
    batch_size: int = 64,
    progress: Callable = iter,
) -> SweepResult:
    """The translations of any number of images [n h w c] under each value of a method's field.

    over: the field, a leaf of the method (DDIB's coefficient, SDEdit's sigma). Of a DDIB swept over
    its coefficient the images are encoded once, and encoding, perturbing and decoding are programs
    of their own, so that another perturbation compiles neither network again. latents: those of the
    images under its source, where they are available; nothing is encoded again then, and a
    perturbation that does not look at the images needs none. Keys and errors are those of
    `translate`; raises ValueError for a perturbation that needs images where there are none.
    """
    options = {"batch_size": batch_size, "progress": progress}
    images = None if images is None else finite_floats(images, "images")
    latents = None if latents is None else finite_floats(latents, "latents")
    if not isinstance(method, DDIB) or over != "coefficient":
        images = _needed(images)
        each = [
            translate(
                _with(method, over, jnp.asarray(value, jnp.result_type(float))),
                images,
                key=key,
                indices=indices,
                **options,
            )
            for value in values
        ]
        return SweepResult(np.stack(each), None)
    warn_of_meeting(method.source.model, method.target.model)
    # Every coefficient before any work: one may lower the bridges' ends out of their grids.
    coefficients = jnp.asarray(values, jnp.result_type(float))
    for value in coefficients:
        replace(method, coefficient=value).check()
    anew = acts_before_latent(method.perturb)
    looks = "data" in needs(method.perturb)
    if latents is None or anew or looks:
        _needed(images)
    for kind, arrays in (("images", images), ("latents", latents)):
        if arrays is not None:
            check_shape(method.source.model, arrays, kind)
    key = jax.random.key(0) if key is None else key
    count = len(_needed(images) if latents is None else latents)
    indices = np.arange(count) if indices is None else indices

    def changed(perturbing: _Perturbing) -> np.ndarray:
        batch = {"index": indices, "data": _needed(images)}
        return parallel.map_batches(_perturb_images, perturbing, batch, batch_size=batch_size)

    def referred(ddib: DDIB) -> np.ndarray:
        own = encode(ddib.bridges()[0], np.asarray(ddib.references()), **options).y
        return np.broadcast_to(own, (count, *own.shape[1:]))

    shared = latents
    if shared is None and not anew:
        shared = encode(method.source, _needed(images), **options).y
    refers = "reference" in needs(method.perturb)
    others = referred(method) if refers and not anew else None
    rows = []
    source_data = (
        to_data(method.source.model, _needed(images), batch_size=batch_size)
        if looks and not anew
        else None
    )
    for value in coefficients:
        ddib = replace(method, coefficient=value)
        channels = None if method.alike else method.target.model.data_shape[-1]
        perturbing = _Perturbing(key, value, method.perturb, channels)
        data, latent = images, shared
        if anew or latent is None:
            data = changed(perturbing)
            latent = encode(ddib.bridges()[0], data, **options).y
        batch = {"index": indices, "latent": latent}
        if looks:
            batch["data"] = (
                to_data(method.source.model, _needed(data), batch_size=batch_size)
                if source_data is None
                else source_data
            )
        if refers:
            batch["reference"] = referred(ddib) if others is None else others
        perturbed = parallel.map_batches(_perturb_latents, perturbing, batch, batch_size=batch_size)
        rows.append((ddib, latent, perturbed))
    if anew:  # then the bridges may end elsewhere at each coefficient
        parts = [_decoded(*row, **options) for row in rows]
    else:
        _, *arrays = zip(*rows, strict=True)
        parts = _decoded(method, *map(np.concatenate, arrays), **options)
    perturbed = np.stack([row[2] for row in rows])
    shape = (*perturbed.shape[:2], *method.target.model.image_shape)
    return SweepResult(np.reshape(parts, shape), perturbed)


def sweep(
    keys: Keys,
    ddib: DDIB,
    image: Image,
    coefficients: Float[Array, " k"],
    *,
    at_once: int = 64,
) -> Float[Array, "k b h w c"]:
    """The translations of images [b h w c] under every coefficient [k] of the DDIB's perturbation.

    A pure function, one program under `jax.jit`, that encodes once. Perturbing and decoding are
    vmapped over as many coefficients as give at most `at_once` images (one, where b is more), and
    `lax.map`ped over the rest: the memory for it does not grow with k. For a perturbation that acts
    on the image or the noise level, every coefficient is encoded anew.
    """
    context = None if acts_before_latent(ddib.perturb) else ddib.encode(keys, image)[0]

    def translate_at(coefficient):
        method = replace(ddib, coefficient=coefficient)
        return method(keys, image) if context is None else method.decode(context).y

    # a divisor of k: `lax.map` would compile its body a second time for a remainder
    count, most = len(coefficients), max(1, at_once // len(image))
    batch = next(size for size in range(min(most, count), 0, -1) if count % size == 0)
    return jax.lax.map(translate_at, coefficients, batch_size=batch)


def _needed(images: Images | None) -> Images:
    """The images; raises ValueError where there are none."""
    if images is None:
        raise ValueError(
            "This method or perturbation looks at the source images; give images, not latents"
            " alone."
        )
    return images


def _with(method: Translator, name: str, value: Array) -> Translator:
    """The method with another value in a field; raises TypeError for one without fields."""
    if isinstance(method, type) or not is_dataclass(method):
        raise TypeError(
            f"A {type(method).__name__} is no dataclass with a field '{name}' to sweep over; make"
            " the method a `flax.struct.dataclass`."
        )
    return replace(method, **{name: value})


@struct.dataclass
class _Perturbing:
    """What perturbs, without the models: another one must not compile it anew."""

    key: PRNGKey
    coefficient: Scalar
    perturb: Perturbation = struct.field(pytree_node=False)
    channels: int | None = struct.field(pytree_node=False, default=None)
    """Of the target's latents, where they are not the source's."""


# The functions below are mapped over batches: `parallel.map_batches` compiles each once.


def _perturb_images(perturbing, batch):
    value = batch["data"]
    noise = fixed_noise(image_keys(perturbing.key, batch["index"]), value)
    coefficient = perturbing.coefficient.astype(value.dtype)
    return at(perturbing.perturb, "image", value, coefficient, {"data": value, "noise": noise})


def _perturb_latents(perturbing, batch):
    latent = batch["latent"]
    noise = fixed_noise(image_keys(perturbing.key, batch["index"]), latent)
    coefficient = perturbing.coefficient.astype(latent.dtype)
    found = at(perturbing.perturb, "latent", latent, coefficient, batch | {"noise": noise})
    if perturbing.channels is None:
        return found
    shape = (*latent.shape[1:-1], perturbing.channels)
    keys = image_keys(perturbing.key, batch["index"])
    return meet(found, meeting_noise(keys, shape, latent.dtype))


def _decode_latents(ddib, batch):
    solution = ddib.decode_latent(batch["latent"], batch["perturbed"])
    return solution.y, solution.residual


def _decoded(ddib: DDIB, latents: Images, perturbed: np.ndarray, **options) -> np.ndarray:
    """The translations of latents [n ...], as they were encoded and as they were perturbed."""
    if ddib.coupling is None:
        return decode(ddib.bridges()[1], perturbed, **options)
    batch = {"latent": latents, "perturbed": perturbed}
    images, residual = over_devices(_decode_latents, ddib, batch, **options)
    check_solved(ddib.target.solver, residual)
    return check_finite(images, "translations")

"""The source's latents aligned with the target's, by optimal transport between noisy images."""

from collections.abc import Sequence
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.perturbations import PERTURBATIONS, Fixed, Transform, sequence, stage_of, steps_of
from ddib_jax.translation.batches import to_data
from ddib_jax.transport import EntropicMap, widest
from ddib_jax.types import HostImages

_DIRECTIONS = 64
"""Directions that latents are transported in, where images have more pixels and none are named."""


def align(
    ddib: DDIB,
    source: HostImages,
    target: HostImages,
    *,
    directions: int | None = None,
    fraction: float = 0.01,
    seed: int = 0,
) -> DDIB:
    """The DDIB whose perturbation takes the source's latents to the target's: an `EntropicMap`.

    source, target: images [n h w c] of both domains in [-1, 1], some thousands, no pairs. With the
    noise of the level where the bridges end they are states on the way up, and beyond a Gaussian
    switch latents; no network is asked. The map acts in as many `directions` (None: 64, or what
    small images have) in which the brightness of all the images varies most, and leaves colour.
    fraction, seed: of the transport's regularisation, and of the noise.

    What the DDIB does to images before they are encoded, it goes on doing (by the coefficient that
    it has). Raises ValueError for latents that are perturbed already, for models whose latents are
    of unlike shapes and for more directions than brightness has, and as `EntropicMap.fit`.
    """
    before = [step for step in steps_of(ddib.perturb) if step != PERTURBATIONS["none"]]
    if any(stage_of(step) != "image" for step in before):
        raise ValueError("The latents are perturbed already; align them, or perturb them.")
    if not ddib.alike:
        raise ValueError(
            "Latents are aligned with others of the same channels, and these models have unlike"
            " numbers of them; leave the alignment out."
        )
    rng = np.random.default_rng(seed)
    data = [
        to_data(bridge.model, images)
        for bridge, images in ((ddib.source, source), (ddib.target, target))
    ]
    clouds = [
        noisy_latents(bridge, values, rng)
        for bridge, values in zip((ddib.source, ddib.target), data, strict=True)
    ]
    pixels = int(np.prod(data[0].shape[1:-1]))
    basis = brightest(data, min(_DIRECTIONS, pixels - 1) if directions is None else directions)
    fitted = EntropicMap.fit(*clouds, directions=basis, fraction=fraction)
    # The coefficient becomes the alignment's.
    fixed = [
        Fixed(step, ddib.coefficient) if isinstance(step, Transform) else step for step in before
    ]
    return replace(ddib, perturb=sequence((*fixed, fitted)), coefficient=1.0)


def noisy_latents(bridge: Bridge, data: HostImages, rng: np.random.Generator) -> HostImages:
    """Data [n ...] with noise, distributed as latents of a bridge whose model is exact."""
    level = bridge.sigmas[-1]
    states = np.asarray(data) + float(level) * rng.normal(size=data.shape)
    if bridge.switch is None:
        return (states / float(bridge.scale)).astype(np.float32)
    above = bridge.switch.up(jnp.asarray(states, jnp.float32), level)
    return np.asarray(above) / float(bridge.scale)


def brightest(images: Sequence[HostImages], count: int) -> Float[np.ndarray, "k d"]:
    """The directions in which the brightness of images [n h w c] varies most, orthonormal rows."""
    grey = [each.mean(axis=-1, keepdims=True) for each in images]
    channels = images[0].shape[-1]
    found = widest(*grey, count=count)
    return np.repeat(found[..., None], channels, axis=-1).reshape(count, -1) / np.sqrt(channels)

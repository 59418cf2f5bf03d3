"""How much of a source's structure and look an edit has, beside the overlap of strokes."""

import colorsys
from typing import cast

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Float

from ddib_jax.data.captioned_digits import BACKGROUNDS, INKS
from ddib_jax.evaluation import Classifier
from looks import Drawing

_LAYER = "Conv_3"
"""The classifier's layer of 16 x 16 positions whose features are compared."""
_APART = 0.5
"""Colours nearer than this (RGB in [0, 1]) cannot tell a leak from a miss."""


def self_similarity(
    strokes: Float[np.ndarray, "n h w"], judge: Classifier
) -> Float[np.ndarray, "n p p"]:
    """The cosines between what a classifier of digits sees at all pairs of an image's positions.

    strokes in [0, 1], which it takes as white on black. As structure is compared by DINO's keys in
    Tumanyan et al. (2022), by the one network at hand that is trained apart from the editing one.
    """
    grey = np.repeat(2 * strokes[..., None] - 1, 3, axis=-1).astype(np.float32)
    network = cast(nn.Module, judge.network)
    _, state = network.apply(
        {"params": judge.params},
        jnp.asarray(grey),
        capture_intermediates=lambda module, _: module.name == _LAYER,
        mutable=["intermediates"],
    )
    [features] = state["intermediates"][_LAYER]["__call__"]
    flat = np.asarray(features, np.float64).reshape(len(strokes), -1, features.shape[-1])
    unit = flat / np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 1e-9)
    return unit @ unit.swapaxes(1, 2)


def leak(
    found: Drawing,
    source: Drawing,
    ink: np.ndarray,
    background: np.ndarray,
) -> Float[np.ndarray, " n"]:
    """How far the colours of ink and background lie from those asked for towards the source's.

    0 where they are those asked for, 1 where they are the source's; the mean of the two, of those
    that are to change, NaN where neither is. ink, background [n]: asked for, by their numbers.
    """
    inks = np.asarray([colorsys.hsv_to_rgb(hue / 360, 1, 1) for hue in INKS.values()])
    grounds = np.asarray(list(BACKGROUNDS.values()))
    shares = []
    for got, had, asked in (
        (found.ink, source.ink, inks[ink]),
        (found.background, source.background, grounds[background]),
    ):
        way = had - asked
        length = np.square(way).sum(axis=-1)
        share = ((got - asked) * way).sum(axis=-1) / np.maximum(length, 1e-9)
        shares.append(np.where(length > _APART**2, share, np.nan))
    known = ~np.isnan(shares)
    total = np.nansum(shares, axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)

"""The one driver: any number of images encoded, decoded, translated and swept by any method."""

from ddib_jax.translation.aligning import align
from ddib_jax.translation.batches import to_data, to_images
from ddib_jax.translation.driver import decode, encode, hand_on, sample
from ddib_jax.translation.paths import path
from ddib_jax.translation.sweeps import SweepResult, sweep, translate_sweep
from ddib_jax.translation.translations import (
    Translations,
    image_keys,
    translate,
    translate_with_latents,
)
from ddib_jax.translation.windows import tiled

__all__ = [
    "SweepResult",
    "Translations",
    "align",
    "decode",
    "encode",
    "hand_on",
    "image_keys",
    "path",
    "sample",
    "sweep",
    "tiled",
    "to_data",
    "to_images",
    "translate",
    "translate_sweep",
    "translate_with_latents",
]

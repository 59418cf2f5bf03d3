"""The one driver: any number of images encoded, decoded, translated and swept by any method."""

from ddib_jax.translation.batches import to_data, to_images
from ddib_jax.translation.driver import decode, encode, hand_on, image_keys, sample, translate
from ddib_jax.translation.sweeps import SweepResult, sweep, translate_sweep

__all__ = [
    "SweepResult",
    "decode",
    "encode",
    "hand_on",
    "image_keys",
    "sample",
    "sweep",
    "to_data",
    "to_images",
    "translate",
    "translate_sweep",
]

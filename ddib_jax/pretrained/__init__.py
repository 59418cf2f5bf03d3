"""Checkpoints on disk, our own and those of other libraries -> DiffusionModel.

`open` finds what a name stands for, a `Checkpoint`; `load` is its model. One file a format; all of
them are strict: every weight is used, of the right shape and finite.
"""

from ddib_jax.pretrained.checkpoint import CLASSES, SHIPPED, Checkpoint, load
from ddib_jax.pretrained.checkpoint import open_checkpoint as open
from ddib_jax.pretrained.conditioned import conditioned, conditions, guided
from ddib_jax.pretrained.diffusers_folder import load_diffusers, save_diffusers
from ddib_jax.pretrained.efficientnet import load_efficientnet
from ddib_jax.pretrained.formats import FORMATS, Format, format_of
from ddib_jax.pretrained.guided_diffusion import (
    load_guided_diffusion,
    load_noisy_classifier,
    to_guided_diffusion,
)
from ddib_jax.pretrained.lpips import load_lpips
from ddib_jax.pretrained.native import (
    describe,
    load_model,
    load_network,
    load_text_encoder,
    save_model,
    save_network,
)
from ddib_jax.pretrained.text_encoders import TextEncoder

__all__ = [
    "CLASSES",
    "FORMATS",
    "SHIPPED",
    "Checkpoint",
    "Format",
    "TextEncoder",
    "conditioned",
    "conditions",
    "describe",
    "format_of",
    "guided",
    "load",
    "load_diffusers",
    "load_efficientnet",
    "load_guided_diffusion",
    "load_lpips",
    "load_model",
    "load_network",
    "load_noisy_classifier",
    "load_text_encoder",
    "open",
    "save_diffusers",
    "save_model",
    "save_network",
    "to_guided_diffusion",
]

"""Editing by a text or a condition, without training: couplings of a model with itself.

Source and target are one model under two conditions, its states rows of one ODE, and what the
network computes of the source's row steers the target's. As couplings of a `DDIB` they take any
solver and grid, and store nothing for a step.
"""

from ddib_jax.editing.alignment import (
    Alignment,
    equaliser,
    prompt_refinement,
    tokens_of,
    word_replacement,
)
from ddib_jax.editing.bases import Bases, false_colours, load_bases, save_bases, semantic_bases
from ddib_jax.editing.ctrl_x import CtrlX
from ddib_jax.editing.direct_inversion import Clamped, encoding_path
from ddib_jax.editing.energies import ByLevel, constant, kick, warmed_up
from ddib_jax.editing.free_control import FreeControl, Further
from ddib_jax.editing.inverted import DirectInversion, NullTextEdit
from ddib_jax.editing.layers import Layer, attention_layers, structure_layers
from ddib_jax.editing.masactrl import MasaCtrl, Objects
from ddib_jax.editing.null_text import (
    LevelledNull,
    NullText,
    negative_prompt,
    null_text_inversion,
)
from ddib_jax.editing.pix2pix_zero import (
    Pix2PixZero,
    cross_attention_energy,
    edit_direction,
    kick_weights,
)
from ddib_jax.editing.plug_and_play import PlugAndPlay
from ddib_jax.editing.prompt_to_prompt import LocalBlend, PromptToPrompt
from ddib_jax.editing.regularised import RegularisedInversion

__all__ = [
    "Alignment",
    "Bases",
    "ByLevel",
    "Clamped",
    "CtrlX",
    "DirectInversion",
    "FreeControl",
    "Further",
    "Layer",
    "LevelledNull",
    "LocalBlend",
    "MasaCtrl",
    "NullText",
    "NullTextEdit",
    "Objects",
    "Pix2PixZero",
    "PlugAndPlay",
    "PromptToPrompt",
    "RegularisedInversion",
    "attention_layers",
    "constant",
    "cross_attention_energy",
    "edit_direction",
    "encoding_path",
    "equaliser",
    "false_colours",
    "kick",
    "kick_weights",
    "load_bases",
    "negative_prompt",
    "null_text_inversion",
    "prompt_refinement",
    "save_bases",
    "semantic_bases",
    "structure_layers",
    "tokens_of",
    "warmed_up",
    "word_replacement",
]

"""Editing by a text or a condition, without training: couplings of a model with itself.

Source and target are one model under two conditions, its states rows of one ODE, and what the
network computes of the source's row steers the target's. As couplings of a `DDIB` they take any
solver and grid, and store nothing for a step.
"""

from ddib_jax.editing.bases import Bases, load_bases, save_bases, semantic_bases
from ddib_jax.editing.energies import ByLevel, constant, kick, warmed_up
from ddib_jax.editing.free_control import FreeControl
from ddib_jax.editing.layers import Layer, attention_layers, structure_layers
from ddib_jax.editing.plug_and_play import PlugAndPlay

__all__ = [
    "Bases",
    "ByLevel",
    "FreeControl",
    "Layer",
    "PlugAndPlay",
    "attention_layers",
    "constant",
    "kick",
    "load_bases",
    "save_bases",
    "semantic_bases",
    "structure_layers",
    "warmed_up",
]

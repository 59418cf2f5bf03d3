"""Editing by a text or a condition, without training: couplings of a model with itself.

Source and target are one model under two conditions, its states rows of one ODE, and what the
network computes of the source's row steers the target's. As couplings of a `DDIB` they take any
solver and grid, and store nothing for a step.
"""

from ddib_jax.editing.layers import Layer, attention_layers, structure_layers
from ddib_jax.editing.plug_and_play import PlugAndPlay

__all__ = ["Layer", "PlugAndPlay", "attention_layers", "structure_layers"]

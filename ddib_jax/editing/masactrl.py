"""MasaCtrl (Cao et al. 2023): the target's picture out of what the source's looks like."""

import jax.numpy as jnp
from flax import struct

from ddib_jax.bridge.couplings import Rows, SideBySide
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.editing.layers import attention_layers, structure_layers
from ddib_jax.nets.hooks import inject
from ddib_jax.types import Scalar, VectorField

BELOW = 8.4
"""The noise level at which the paper's code begins: step 4 of 50 of Stable Diffusion's schedule."""


@struct.dataclass
class MasaCtrl(SideBySide):
    """The target's layout is its prompt's, and what it is made of is the source's.

    A coupling of a model with itself under another condition, for changes of pose and view that
    Plug-and-Play and Prompt-to-Prompt do not allow: in the self-attention of `layers`, from the
    noise level `below` on downwards, the target's queries attend to the source's keys and values
    (mutual self-attention), in both halves of a guidance. The paper's masks are left out.

    Under equal conditions and no guidance it gives the source back.
    """

    layers: tuple[str, ...] = struct.field(pytree_node=False)
    below: Scalar | float = BELOW

    @classmethod
    def of(cls, model: DiffusionModel, *, below: Scalar | float = BELOW) -> "MasaCtrl":
        """With the paper's layers, of Stable Diffusion the last six of sixteen.

        The decoder's self-attention behind the first block of 16 positions a side or more; where
        nothing attends behind it, that block's. Raises ValueError for a network without such
        layers.
        """
        first = structure_layers(model)
        layers = [layer for layer in attention_layers(model) if layer.decoder and not layer.cross]
        behind = layers[layers.index(first[-1]) + 1 :] or first
        return cls(tuple(layer.name for layer in behind), below)

    def field(self, source: DiffusionModel, target: DiffusionModel) -> VectorField:
        """The slope of the pair."""
        sites = [f"{name}.{part}" for name in self.layers for part in ("key", "value")]

        def slope(sigma: Scalar, rows: Rows) -> Rows:
            y, x = rows[:, 0], rows[:, 1]
            denoised, values = source.read(y, sigma, sites)
            held = sigma <= self.below
            hooks = inject(values, blend=lambda theirs, own: jnp.where(held, theirs, own))
            steered = target.hooked(*hooks).denoise(x, sigma)
            return (rows - jnp.stack([denoised, steered], axis=1)) / sigma

        return slope

"""Plug-and-Play (Tumanyan et al. 2023): the source's features and attention in the target."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array

from ddib_jax.bridge.couplings import Rows, SideBySide
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.editing.layers import attention_layers, structure_layers, told
from ddib_jax.nets.hooks import inject
from ddib_jax.types import Scalar, VectorField

FEATURES_UNTIL = 0.574
"""The noise level at which the paper's code stops with features: step 40 of 50 of the schedule."""
ATTENTION_UNTIL = 1.62
"""The same of the attention: step 25 of 50."""


@struct.dataclass
class PlugAndPlay(SideBySide):
    """Where the target's picture lies is the source's; what it shows is the target's prompt's.

    A coupling of a model with itself under another condition: at every noise level the residual
    features at `features` and the queries and keys of the layers `attention` of the target's
    network become those of the source's, in both halves of classifier-free guidance, as
    `pnp-diffusers` does. The attention is the source's down to the noise level `attention_until`,
    the features down to the coupling's own end (`DDIB.until`). The source's row is its own ODE, so
    nothing is stored for a step, and any solver serves.

    Under equal conditions and no guidance it gives the source back.
    """

    features: tuple[str, ...] = struct.field(pytree_node=False)
    attention: tuple[str, ...] = struct.field(pytree_node=False)
    attention_until: Scalar | float = ATTENTION_UNTIL

    @classmethod
    def of(
        cls, model: DiffusionModel, *, attention_until: float = ATTENTION_UNTIL
    ) -> "PlugAndPlay":
        """With the paper's layers: of Stable Diffusion those of `pnp-diffusers`.

        Features of the second residual block of the first decoder block of 16 positions a side or
        more, before its shortcut is added; queries and keys of its self-attention but the first,
        and of all behind it. Raises ValueError for a network without such layers.
        """
        layers = [layer for layer in attention_layers(model) if layer.decoder and not layer.cross]
        first = structure_layers(model)[0]
        behind = layers[layers.index(first) + 1 :]
        return cls(
            (_residual(model, first.block),),
            tuple(layer.name for layer in behind or [first]),
            attention_until,
        )

    def field(self, source: DiffusionModel, target: DiffusionModel) -> VectorField:
        """The slope of the pair."""
        copied = [f"{name}.{part}" for name in self.attention for part in ("query", "key")]

        def while_held(sigma: Scalar) -> Callable[[Array, Array], Array]:
            held = sigma >= self.attention_until
            return lambda theirs, own: jnp.where(held, theirs, own)

        def slope(sigma: Scalar, rows: Rows) -> Rows:
            y, x = rows[:, 0], rows[:, 1]
            denoised, values = source.read(y, sigma, [*self.features, *copied])
            hooks = [
                *inject({site: values[site] for site in self.features}),
                *inject({site: values[site] for site in copied}, blend=while_held(sigma)),
            ]
            plugged = target.hooked(*hooks).denoise(x, sigma)
            return (rows - jnp.stack([denoised, plugged], axis=1)) / sigma

        return slope


def _residual(model: DiffusionModel, block: str) -> str:
    """The last convolution of the second residual block of a block of the decoder."""
    sites = told(model).sites()
    ends = [site for site in sites if site.startswith(f"{block}.") and site.endswith(_LAST)]
    if not ends:
        raise ValueError(
            f"The block {block} of the {type(model.network).__name__} has no residual features that"
            " could be taken from the source; name them."
        )
    return ends[min(1, len(ends) - 1)]


_LAST = (".conv2", ".out_layers.3")
"""What the last convolution of a residual block is called by diffusers, and by ADM."""

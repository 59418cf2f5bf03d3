"""The layers of a network that editing looks into: which ones attend, to what, and where."""

import math
import re
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ddib_jax.diffusion import DiffusionModel

_DECODER = re.compile(r"(up_blocks|output_blocks|dec)\.")
_CROSS = "attn2"  # diffusers' name of the attention to the text
_OF_HEADS = ("query", "key", "value", "attention")
"""Sites of an attention layer whose values have an axis of heads (`nets.hooks`)."""
LEAST_SIDE = 16
"""Positions each way of the layers that structure is read from, in published methods."""


@dataclass(frozen=True)
class Layer:
    """An attention layer of a network.

    name: as `nets.hooks` names it, `NAME.query` ... are its sites. block: the part of the network
    it is in, `up_blocks.1`. cross: it attends to a text. decoder: it lies behind the bottleneck.
    positions: of an image, as many as there are queries. heads: their number. channels: of all of
    them together.
    """

    name: str
    block: str
    cross: bool
    decoder: bool
    positions: int
    heads: int
    channels: int

    @property
    def side(self) -> int:
        """Positions along the shorter side of a square image."""
        return math.isqrt(self.positions)


def attention_layers(model: DiffusionModel) -> tuple[Layer, ...]:
    """The attention layers of a model's network, in the order in which they are computed.

    Raises ValueError where it has none.
    """
    sites, layers = told(model).sites(), []
    for site, value in sites.items():
        if not site.endswith(".query"):
            continue
        name = site.removesuffix(".query")
        _, positions, heads, width = value.shape
        layers.append(
            Layer(
                name,
                ".".join(name.split(".")[:2]),
                cross=name.split(".")[-1] == _CROSS,
                decoder=_DECODER.match(name) is not None,
                positions=positions,
                heads=heads,
                channels=heads * width,
            )
        )
    if not layers:
        raise ValueError(
            f"The {type(model.network).__name__} has no attention layers to look into; take a model"
            " that has."
        )
    return tuple(layers)


def structure_layers(model: DiffusionModel, *, cross: bool = False) -> tuple[Layer, ...]:
    """The attention layers of the first block of the decoder of 16 positions a side or more.

    Where structure is read and held, in Stable Diffusion at 512 pixels `up_blocks.1` (Mo et al.
    2024, fig. 11). Where no block is as large, those of the largest. cross: the layers that attend
    to the text, in place of those to the image itself.
    """
    layers = [layer for layer in attention_layers(model) if layer.decoder and layer.cross == cross]
    if not layers:
        kind = "to a text" if cross else "to the image itself"
        raise ValueError(
            f"The decoder of the {type(model.network).__name__} has no layer that attends {kind};"
            " take a model that has."
        )
    least = min(LEAST_SIDE**2, max(layer.positions for layer in layers))
    block = next(layer.block for layer in layers if layer.positions >= least)
    return tuple(layer for layer in layers if layer.block == block)


def text_layers(model: DiffusionModel) -> list[Layer]:
    """The attention layers that attend to a text; ValueError where the network has none."""
    layers = [layer for layer in attention_layers(model) if layer.cross]
    if not layers:
        raise ValueError(
            f"The {type(model.network).__name__} attends to no text; take a model that is told"
            " prompts."
        )
    return layers


def layers_of_words(model: DiffusionModel) -> tuple[str, ...]:
    """Where published code looks for words: all layers at the side nearest 16 that attend to text.

    Raises as `text_layers` does.
    """
    layers = text_layers(model)
    side = min((layer.side for layer in layers), key=lambda side: abs(side - LEAST_SIDE))
    return tuple(layer.name for layer in layers if layer.side == side)


def told(model: DiffusionModel) -> DiffusionModel:
    """The model under some condition, where it has none and takes one: to look at its layers."""
    spec = model.network.condition_spec()
    if spec is None or model.cond is not None:
        return model
    return model.given(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), spec))


def as_positions(site: str, value: Float[Array, "b ..."]) -> Float[Array, "b n c"]:
    """What is read at a site, position by position.

    Of attention [b n heads d] the heads side by side, of a layer's output [b h w c] or [b n c] its
    channels.
    """
    if value.ndim == 3:
        return value
    if site.rpartition(".")[2] in _OF_HEADS:
        return value.reshape(*value.shape[:2], -1)
    return value.reshape(len(value), -1, value.shape[-1])


def unguided(model: DiffusionModel) -> DiffusionModel:
    """The model under its own condition alone."""
    return replace(model, guidance=None)

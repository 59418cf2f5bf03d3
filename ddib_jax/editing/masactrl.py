"""MasaCtrl (Cao et al. 2023): the target's picture out of what the source's looks like."""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float

from ddib_jax.bridge.couplings import Rows, SideBySide
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.editing.layers import (
    attention_layers,
    layers_of_words,
    structure_layers,
    unguided,
)
from ddib_jax.editing.masks import at_positions, places_of_words
from ddib_jax.nets.hooks import Hook, inject
from ddib_jax.types import Scalar, VectorField

BELOW = 8.4
"""The noise level at which the paper's code begins: step 4 of 50 of Stable Diffusion's schedule."""


THRESHOLD = 0.1
"""Of the attention to an object's words, from which on a position of the source is the object's."""


@struct.dataclass
class Objects:
    """Where an object is in both pictures, by the attention to its words.

    source and target [n]: 1 for the tokens of the words in each of the prompts (`tokens_of`).
    layers: those whose attention is looked at, all of as many positions. threshold: of the source's
    attention, scaled to [0, 1], from which on a position is the object's.
    """

    source: Float[Array | np.ndarray, " n"]
    target: Float[Array | np.ndarray, " n"]
    layers: tuple[str, ...] = struct.field(pytree_node=False, kw_only=True)
    threshold: Scalar | float = THRESHOLD

    @classmethod
    def of(
        cls,
        model: DiffusionModel,
        source: Float[Array | np.ndarray, " n"],
        target: Float[Array | np.ndarray, " n"],
        *,
        threshold: Scalar | float = THRESHOLD,
    ) -> "Objects":
        """With the paper's layers: all those that attend to the text at the side nearest 16.

        Raises ValueError for a network that attends to no text.
        """
        return cls(source, target, layers=layers_of_words(model), threshold=threshold)

    @property
    def sites(self) -> list[str]:
        """What is looked at of either row."""
        return [f"{name}.{part}" for name in self.layers for part in ("query", "key")]


@struct.dataclass
class MasaCtrl(SideBySide):
    """The target's layout is its prompt's, and what it is made of is the source's.

    A coupling of a model with itself under another condition, for changes of pose and view that
    Plug-and-Play and Prompt-to-Prompt do not allow: in the self-attention of `layers`, from the
    noise level `below` on downwards, the target's queries attend to the source's keys and values
    (mutual self-attention), in both halves of a guidance.

    objects: what of both pictures is an object. The object's queries then attend to the object
    alone, and the background's to the background, each as far as it is that; it costs a reading of
    the target's own attention to words besides, and three attentions in place of one. The paper's
    code looks at the noise level's earlier layers instead, which need no other reading.

    Under equal conditions, without objects and guidance, it gives the source back.
    """

    layers: tuple[str, ...] = struct.field(pytree_node=False)
    below: Scalar | float = BELOW
    objects: Objects | None = None

    @classmethod
    def of(
        cls,
        model: DiffusionModel,
        *,
        below: Scalar | float = BELOW,
        objects: Objects | None = None,
    ) -> "MasaCtrl":
        """With the paper's layers, of Stable Diffusion the last six of sixteen.

        The decoder's self-attention behind the first block of 16 positions a side or more; where
        nothing attends behind it, that block's. Raises ValueError for a network without such
        layers.
        """
        first = structure_layers(model)
        layers = [layer for layer in attention_layers(model) if layer.decoder and not layer.cross]
        behind = layers[layers.index(first[-1]) + 1 :] or first
        return cls(tuple(layer.name for layer in behind), below, objects)

    def field(self, source: DiffusionModel, target: DiffusionModel) -> VectorField:
        """The slope of the pair."""
        sites = [f"{name}.{part}" for name in self.layers for part in ("key", "value")]

        def slope(sigma: Scalar, rows: Rows) -> Rows:
            y, x = rows[:, 0], rows[:, 1]
            looked_at = [] if self.objects is None else self.objects.sites
            denoised, values = source.read(y, sigma, [*sites, *looked_at])
            held = sigma <= self.below
            if self.objects is None:
                given = {site: values[site] for site in sites}
                hooks = inject(given, blend=lambda theirs, own: jnp.where(held, theirs, own))
            else:
                ours = unguided(target).read(x, sigma, looked_at)[1]
                hooks = self._apart(held, values, ours, x.shape[1:])
            steered = target.hooked(*hooks).denoise(x, sigma)
            return (rows - jnp.stack([denoised, steered], axis=1)) / sigma

        return slope

    def _apart(
        self,
        held: Bool[Array, ""],
        theirs: Mapping[str, Array],
        ours: Mapping[str, Array],
        shape: tuple[int, ...],
    ) -> list[Hook]:
        """Attention in the layers to the source's object and background apart."""
        objects = self.objects
        assert objects is not None
        there = places_of_words(theirs, objects.layers, objects.source) >= objects.threshold
        here = places_of_words(ours, objects.layers, objects.target)
        hooks = []
        for name in self.layers:
            keys, values = (theirs[f"{name}.{part}"] for part in ("key", "value"))
            inside = at_positions(there.astype(jnp.float32), keys.shape[1], shape) > 0.5
            share = at_positions(here, keys.shape[1], shape)
            edit = partial(_attend, held, keys, values, inside, share)
            hooks.append(Hook(f"{name}.attend", edit))
        return hooks


def _attend(
    held: Bool[Array, ""],
    keys: Float[Array, "b m heads d"],
    values: Float[Array, "b m heads d"],
    inside: Bool[Array, "b m"],
    share: Float[Array, "b m"],
    query: Float[Array, "b m heads d"],
    key: Float[Array, "b m heads d"],
    value: Float[Array, "b m heads d"],
) -> Float[Array, "b m heads d"]:
    """The attention to the source's object, as far as a position is the object's, and to the rest.

    inside: where the source's object is. share: how far the target's is. Not held, the target's
    own.
    """
    attend = jax.nn.dot_product_attention
    of_object, of_rest = (
        attend(query, keys, values, mask=where[:, None, None]) for where in (inside, ~inside)
    )
    share = share[..., None, None].astype(of_object.dtype)
    mutual = share * of_object + (1 - share) * of_rest
    return jnp.where(held, mutual, attend(query, key, value))

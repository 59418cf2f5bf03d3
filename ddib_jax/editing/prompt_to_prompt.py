"""Prompt-to-Prompt (Hertz et al. 2023): the source's attention maps, for the target's words."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Bool, Float

from ddib_jax.bridge.couplings import Rows, SideBySide
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.editing.alignment import Alignment
from ddib_jax.editing.conditional import guided_around
from ddib_jax.editing.layers import attention_layers, layers_of_words, text_layers, unguided
from ddib_jax.nets.hooks import Hook, attention_weights, inject
from ddib_jax.types import Scalar, VectorField

CROSS_UNTIL = 0.574
"""The noise level at which the paper's code stops with attention to words: step 40 of 50."""
SELF_UNTIL = 2.29
"""The same of the attention of the image to itself: step 20 of 50."""
LARGEST_SIDE = 32
"""Positions each way of the layers whose attention to the image itself is replaced."""

Maps = Float[Array, "b heads p n"]
"""How much each position of an image attends to each token of its text, in each head."""


@struct.dataclass
class LocalBlend:
    """Where words are: outside of it, the target moves as the source does.

    layers: those whose attention to the text is looked at, all of as many positions. source and
    target [n]: 1 for the tokens of the words in each of the prompts (`tokens_of`). threshold: the
    share of the largest attention, from which a place counts.

    The mask is that of the current noise level and the edited attention; the paper sums the maps of
    all steps so far, which an ODE does not have.
    """

    source: Float[Array | np.ndarray, " n"]
    target: Float[Array | np.ndarray, " n"]
    layers: tuple[str, ...] = struct.field(pytree_node=False, kw_only=True)
    threshold: Scalar | float = 0.3

    @classmethod
    def of(
        cls,
        model: DiffusionModel,
        source: Float[Array | np.ndarray, " n"],
        target: Float[Array | np.ndarray, " n"],
        *,
        threshold: Scalar | float = 0.3,
    ) -> "LocalBlend":
        """With the paper's layers: all those that attend to the text at the side nearest 16.

        Raises ValueError for a network that attends to no text.
        """
        return cls(source, target, layers=layers_of_words(model), threshold=threshold)

    def mask(
        self, theirs: Sequence[Maps], own: Sequence[Maps], shape: tuple[int, ...]
    ) -> Bool[Array, "b h w 1"]:
        """Where the words of either prompt are, in data of `shape` [h w c].

        theirs and own: the maps of the layers, of the source and of the target.
        """
        return self._where(theirs, self.source, shape) | self._where(own, self.target, shape)

    def _where(
        self, maps: Sequence[Maps], words: Array | np.ndarray, shape: tuple[int, ...]
    ) -> Array:
        height, width, _ = shape
        mean = sum(jnp.mean(weights, axis=1) for weights in maps) / len(maps)
        said = jnp.matmul(mean, words, precision="highest")
        b, positions = said.shape
        rows = round(height / math.sqrt(height * width / positions))
        pooled = nn.max_pool(said.reshape(b, rows, -1, 1), (3, 3), padding="SAME")
        resized = jax.image.resize(pooled, (b, height, width, 1), "nearest")
        return resized > self.threshold * jnp.max(resized, axis=(1, 2, 3), keepdims=True)


@struct.dataclass
class PromptToPrompt(SideBySide):
    """Words are changed, and what the picture gives to each word stays where it is.

    A coupling of a model with itself under another prompt. Of the target's attention to its text,
    in the layers `cross`, the weights become the source's under the `alignment` of both prompts,
    times `factors`, down to the noise level `cross_until`; tokens without a partner keep their own.
    Of its attention to itself, in the layers `itself`, the queries and keys, and so the weights,
    become the source's down to `self_until`. Both in the conditional half of a guidance alone, as
    in the paper's code. The source's row is its own ODE, so nothing is stored for a step.

    alignment: `word_replacement` or `prompt_refinement` of the prompts' tokens. factors: [] or [n],
    as `equaliser` makes them. cross_until: [], or [n] with one for each token. Under equal prompts,
    factors of 1 and no guidance it gives the source back.
    """

    alignment: Alignment
    cross: tuple[str, ...] = struct.field(pytree_node=False, kw_only=True)
    itself: tuple[str, ...] = struct.field(pytree_node=False, kw_only=True)
    factors: Float[Array | np.ndarray, "..."] | float = 1.0
    cross_until: Float[Array | np.ndarray, "..."] | float = CROSS_UNTIL
    self_until: Scalar | float = SELF_UNTIL
    blend: LocalBlend | None = None

    @classmethod
    def of(
        cls,
        model: DiffusionModel,
        alignment: Alignment,
        *,
        factors: Float[Array | np.ndarray, "..."] | float = 1.0,
        cross_until: Float[Array | np.ndarray, "..."] | float = CROSS_UNTIL,
        self_until: Scalar | float = SELF_UNTIL,
        blend: LocalBlend | None = None,
    ) -> "PromptToPrompt":
        """With the paper's layers: all that attend to the text, and to the image up to 32 x 32.

        Raises ValueError for a network that attends to no text.
        """
        itself = tuple(
            layer.name
            for layer in attention_layers(model)
            if not layer.cross and layer.positions <= LARGEST_SIDE**2
        )
        return cls(
            alignment,
            cross=tuple(layer.name for layer in text_layers(model)),
            itself=itself,
            factors=factors,
            cross_until=cross_until,
            self_until=self_until,
            blend=blend,
        )

    def field(self, source: DiffusionModel, target: DiffusionModel) -> VectorField:
        """The slope of the pair. Raises ValueError for an alignment of another text length."""
        looked_at = () if self.blend is None else self.blend.layers
        mapped = tuple(dict.fromkeys((*self.cross, *looked_at)))  # each once, in order
        kept = _given(self.itself)

        def slope(sigma: Scalar, rows: Rows) -> Rows:
            y, x = rows[:, 0], rows[:, 1]
            denoised, values = source.read(y, sigma, [*kept, *_given(mapped)])
            held = sigma >= self.self_until
            keep = lambda theirs, own: jnp.where(held, theirs, own)
            maps = {name: _maps(values, name) for name in mapped}
            hooks = [
                *inject({site: values[site] for site in kept}, blend=keep),
                *(
                    Hook(f"{name}.attend", functools.partial(self._attend, sigma, maps[name]))
                    for name in self.cross
                ),
            ]
            edited = unguided(target).hooked(*hooks)
            told, own = edited.read(x, sigma, _given(looked_at))
            guided = guided_around(target, x, sigma, told)
            slopes = (rows - jnp.stack([denoised, guided], axis=1)) / sigma
            if self.blend is None:
                return slopes
            ours = [self._map(sigma, maps[name], name, _maps(own, name)) for name in looked_at]
            mask = self.blend.mask([maps[name] for name in looked_at], ours, x.shape[1:])
            return slopes.at[:, 1].set(jnp.where(mask, slopes[:, 1], slopes[:, 0]))

        return slope

    def _attend(self, sigma: Scalar, theirs: Maps, q: Array, k: Array, v: Array) -> Array:
        weights = self._edited(sigma, theirs, attention_weights(q, k))
        return jnp.einsum("bhpn,bnhd->bphd", weights, v.astype(weights.dtype))

    def _map(self, sigma: Scalar, theirs: Maps, name: str, own: Maps) -> Maps:
        """What the target attends to in a layer, edited where the layer is."""
        return self._edited(sigma, theirs, own) if name in self.cross else own

    def _edited(self, sigma: Scalar, theirs: Maps, own: Maps) -> Maps:
        matrix, paired = self.alignment
        if len(matrix) != own.shape[-1]:
            raise ValueError(
                f"The prompts were aligned by {len(matrix)} tokens, and the network attends to"
                f" {own.shape[-1]}; take the tokens of the model's own tokenizer."
            )
        mapped = jnp.matmul(theirs, matrix, precision="highest")
        mapped = self.factors * jnp.where(jnp.asarray(paired) > 0, mapped, own)
        return jnp.where(sigma >= self.cross_until, mapped, own)


def _given(layers: Sequence[str]) -> list[str]:
    """The sites of what layers attend with."""
    return [f"{name}.{part}" for name in layers for part in ("query", "key")]


def _maps(values: dict[str, Array], name: str) -> Maps:
    return attention_weights(values[f"{name}.query"], values[f"{name}.key"])

"""The text encoders of a latent model: a tokenizer and a CLIP each, and what they say together."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ddib_jax.conditioning import Prompts
from ddib_jax.nets import CLIPText
from ddib_jax.nets.clip_text import TextStates
from ddib_jax.nets.precision import products
from ddib_jax.text import Tokenizer, Tokens
from ddib_jax.types import Params

BLANK = ("text", "pooled")
"""The leaves that are zeros for no negative prompt, where a model was trained so."""


class TextEncoder(NamedTuple):
    """A tokenizer, and the CLIP that reads its tokens."""

    network: CLIPText
    params: Params
    tokenizer: Tokenizer


@dataclass(frozen=True, eq=False)
class Encoders:
    """Prompts -> conditions of a `UNet2DCondition`, by one encoder or two.

    read: makes the encoders, when the first prompt comes. pooled: as SDXL has it, hidden states of
    the last layer but one, without a norm; the pooled embedding is that of the last encoder. sizes:
    what SDXL is told of the image's size (`time_ids`) besides, [6].
    """

    read: Any  # () -> tuple[TextEncoder, ...], which beartype would call to look at
    pooled: bool = False
    sizes: tuple[int, ...] = ()

    @cached_property
    def encoders(self) -> tuple[TextEncoder, ...]:
        """The encoders, with weights on the host: a device has them while it reads prompts."""
        return tuple(each._replace(params=jax.device_get(each.params)) for each in self.read())

    def __call__(self, prompts: Sequence[str]) -> dict[str, np.ndarray]:
        """`text` [b n e], the encoders' hidden states side by side; `pooled` and `time_ids`.

        Raises as the tokenizers do, and as the files' readers do at the first call.
        """
        states = []
        for network, params, tokenizer in self.encoders:
            ids = np.stack([tokenizer(prompt).ids for prompt in prompts])
            with products("float32"):
                said = _states(params, jnp.asarray(ids), network=network, as_xl=self.pooled)
            states.append(jax.device_get(said))
        told = {"text": np.concatenate([state.hidden for state in states], axis=-1)}
        if self.pooled:
            sizes = np.asarray(self.sizes, np.float32)
            told |= {"pooled": states[-1].pooled, "time_ids": np.tile(sizes, (len(prompts), 1))}
        return {name: np.asarray(leaf, np.float32) for name, leaf in told.items()}

    def prompts(self, *, blank: bool, whose: str) -> Prompts:
        """The conditioner. blank: whether no negative prompt is zeros, and not the prompt ""."""
        return Prompts(self, self.tokens, blank=BLANK if blank else (), whose=whose)

    def tokens(self, prompt: str) -> Tokens:
        """The tokens of a prompt as the first encoder reads them; raises as its tokenizer does."""
        return self.encoders[0].tokenizer(prompt)


@partial(jax.jit, static_argnames=("network", "as_xl"))
def _states(
    params: Params, ids: Int[Array, "b n"], *, network: CLIPText, as_xl: bool
) -> TextStates:
    said: Any = network.apply({"params": params}, ids, skip=1 if as_xl else 0, final_norm=not as_xl)
    return said


def sizes_of(image_shape: tuple[int, ...]) -> tuple[int, ...]:
    """An image of [h w c] that was not cropped, in SDXL's six numbers."""
    height, width = image_shape[:2]
    return (height, width, 0, 0, height, width)


def named(key: str) -> str:
    """A key of a text encoder's state dict with the prefix that some versions leave out."""
    return key if key.startswith(("text_model.", "text_projection.")) else f"text_model.{key}"


UNUSED = ("text_model.embeddings.position_ids",)
"""What files of text encoders may hold besides weights: the numbers of the positions."""


def encoder_options(config: dict[str, Any], path: Path, *, projects: bool) -> dict[str, Any]:
    """The options of a `CLIPText` out of transformers' configuration, which says much besides."""
    options = {name: config[name] for name in _OF_NETWORK if name in config}
    if config.get("model_type") not in (None, "clip_text_model"):
        raise ValueError(
            f"{path} is a text encoder of the type {config['model_type']}; only CLIP's are read."
        )
    return options | {"projection_dim": config.get("projection_dim", 512) if projects else None}


_OF_NETWORK = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
    "hidden_act",
    "layer_norm_eps",
    "eos_token_id",
)
"""Options of `CLIPTextConfig` that are the network's."""

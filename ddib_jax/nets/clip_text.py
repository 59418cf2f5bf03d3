"""CLIP's text encoder (Radford et al. 2021) in linen, parameter for parameter with transformers'.

Submodules bear the names of transformers (`text_model.encoder.layers.0` ...), so that a parameter's
path, joined with dots, is its key in the state dict.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from ddib_jax.nets.attention import attention
from ddib_jax.nets.layers import ACTIVATIONS, Attending, layer_norm

TEXT_ACTIVATIONS: dict[str, Callable] = ACTIVATIONS | {
    "quick_gelu": lambda x: x * nn.sigmoid(1.702 * x),
    "gelu_new": lambda x: nn.gelu(x, approximate=True),
    "gelu_pytorch_tanh": lambda x: nn.gelu(x, approximate=True),
}
"""Name of an activation in transformers -> the function."""
_LEGACY_END = 2  # what configurations called the end token before transformers 4.31


class TextStates(NamedTuple):
    """What an encoder says of texts: hidden [b n e] of every token, pooled [b p] of the whole."""

    hidden: Float[Array, "b n e"]
    pooled: Float[Array, "b p"]


class CausalAttention(Attending):
    """Self-attention in which a token looks at itself and at those before it."""

    heads: int
    dtype: Any

    def attend(
        self,
        q: Float[Array, "b n heads d"],
        k: Float[Array, "b n heads d"],
        v: Float[Array, "b n heads d"],
    ) -> Float[Array, "b n heads d"]:
        """softmax(q k^T / sqrt(d)) v in each head, over the positions up to each query's own."""
        return attention(q, k, v, causal=True)

    @nn.compact
    def __call__(self, x: Float[Array, "b n e"]) -> Float[Array, "b n e"]:
        b, n, e = x.shape
        q, k, v = (
            nn.Dense(e, dtype=self.dtype, name=f"{part}_proj")(x).reshape(b, n, self.heads, -1)
            for part in "qkv"
        )
        h = self.attend(q, k, v).reshape(b, n, e)
        return nn.Dense(e, dtype=self.dtype, name="out_proj")(h)


class Layer(nn.Module):
    """transformers' `CLIPEncoderLayer`: causal self-attention and an MLP, each of a normed sum."""

    heads: int
    intermediate: int
    act: str
    eps: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b n e"]) -> Float[Array, "b n e"]:
        h = layer_norm("layer_norm1", eps=self.eps)(x)
        x = x + CausalAttention(self.heads, self.dtype, name="self_attn")(h)
        h = layer_norm("layer_norm2", eps=self.eps)(x)
        h = nn.Dense(self.intermediate, dtype=self.dtype, name="mlp.fc1")(h)
        h = TEXT_ACTIVATIONS[self.act](h)
        return x + nn.Dense(x.shape[-1], dtype=self.dtype, name="mlp.fc2")(h)


class CLIPText(nn.Module):
    """The text encoder of Stable Diffusion; its fields are the options of `CLIPTextConfig`.

    projection_dim: of the pooled embedding, by a linear map without bias; None: there is no such
    map, as in a `CLIPTextModel`, and it is of hidden_size. eos_token_id: the token at whose first
    place the text is pooled; 2, an error of old configurations, stands for the largest token of
    the text. dtype is that of the computation; norms and softmax are in float32.
    """

    vocab_size: int = 49408
    hidden_size: int = 512
    intermediate_size: int = 2048
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    max_position_embeddings: int = 77
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    projection_dim: int | None = None
    eos_token_id: int = 49407
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "b n"], *, skip: int = 0, final_norm: bool = True
    ) -> TextStates:
        """Tokens [b n], padded to one length -> the states of each text, float32.

        skip: how many of the last layers `hidden` leaves out. final_norm: whether it is normed.
        Stable Diffusion 1 and 2 take 0 and True, XL takes 1 and False of both its encoders;
        `pooled` is always of the last layer, normed. Every position is attended to, padding
        included, as these models were trained.

        Raises ValueError for an unknown activation, texts longer than `max_position_embeddings` and
        more layers left out than there are.
        """
        self._check(tokens, skip)
        dtype = jnp.dtype(self.dtype)
        embed = lambda size, name: nn.Embed(
            size, self.hidden_size, dtype=dtype, name=f"text_model.embeddings.{name}_embedding"
        )
        positions = embed(self.max_position_embeddings, "position")(jnp.arange(tokens.shape[1]))
        states = [embed(self.vocab_size, "token")(tokens) + positions[None]]
        for layer in range(self.num_hidden_layers):
            block = Layer(
                self.num_attention_heads,
                self.intermediate_size,
                self.hidden_act,
                self.layer_norm_eps,
                dtype,
                name=f"text_model.encoder.layers.{layer}",
            )
            states.append(block(states[-1]))
        norm = layer_norm("text_model.final_layer_norm", eps=self.layer_norm_eps)
        last, hidden = norm(states[-1]), states[-1 - skip].astype(jnp.float32)
        if final_norm:
            hidden = norm(hidden) if skip else last
        pooled = jnp.take_along_axis(last, self._ends(tokens)[:, None, None], axis=1)[:, 0]
        if self.projection_dim is not None:
            project = nn.Dense(
                self.projection_dim, use_bias=False, dtype=dtype, name="text_projection"
            )
            pooled = project(pooled).astype(jnp.float32)
        return TextStates(hidden, pooled)

    def _ends(self, tokens: Int[Array, "b n"]) -> Int[Array, " b"]:
        """The position at which each text is pooled."""
        legacy = self.eos_token_id == _LEGACY_END
        return jnp.argmax(tokens if legacy else tokens == self.eos_token_id, axis=1)

    def _check(self, tokens: jax.Array, skip: int) -> None:
        if self.hidden_act not in TEXT_ACTIVATIONS:
            raise ValueError(
                f"hidden_act = {self.hidden_act!r} of transformers is not supported; known are"
                f" {', '.join(TEXT_ACTIVATIONS)}."
            )
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads"
                f" {self.num_attention_heads}."
            )
        if tokens.shape[1] > self.max_position_embeddings:
            raise ValueError(
                f"The texts have {tokens.shape[1]} tokens, and this encoder takes"
                f" {self.max_position_embeddings} at most; cut them."
            )
        if not 0 <= skip <= self.num_hidden_layers:
            raise ValueError(
                f"{skip} layers are to be left out of {self.num_hidden_layers}; leave out 0 to"
                f" {self.num_hidden_layers}."
            )

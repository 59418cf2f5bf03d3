"""diffusers' `UNet2DConditionModel` in linen, parameter for parameter, its options by their names.

The network of Stable Diffusion 1, 2 and XL. Submodules bear the names of diffusers
(`down_blocks.0.attentions.1` ...), so that a parameter's path, joined with dots, is its key in the
state dict. NHWC throughout.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ddib_jax.nets.layers import (
    ACTIVATIONS,
    depth_to_space,
    group_norm,
    space_to_depth,
    timestep_embedding,
)
from ddib_jax.nets.transformer2d import Transformer2D
from ddib_jax.nets.unet2d_blocks import Down, Embedding, Residual, Up

DOWN = {"DownBlock2D": False, "CrossAttnDownBlock2D": True}
"""Block type of the downward half -> it attends."""
UP = {"UpBlock2D": False, "CrossAttnUpBlock2D": True}
"""The same of the upward half."""
_SIZES = 6  # of an image in SDXL's words: original size, corner of the crop, target size
_BY_DEFAULT_ALONE = (
    "only_cross_attention",
    "mid_block_only_cross_attention",
    "dual_cross_attention",
    "cross_attention_norm",
    "attention_type",
    "reverse_transformer_layers_per_block",
    "encoder_hid_dim",
    "encoder_hid_dim_type",
    "class_embed_type",
    "num_class_embeds",
    "class_embeddings_concat",
    "addition_embed_type_num_heads",
    "resnet_skip_time_act",
    "resnet_out_scale_factor",
    "time_embedding_type",
    "time_embedding_act_fn",
    "timestep_post_act",
    "time_cond_proj_dim",
    "conv_in_kernel",
    "conv_out_kernel",
)


class UNet2DCondition(nn.Module):
    """The U-Net of diffusers that is told a text; its fields are `UNet2DConditionModel`'s options.

    Options of one value for all levels take a sequence, one for each, too. attention_head_dim is
    the *number* of heads, as in diffusers, whose name for it is a known mistake; where given,
    num_attention_heads is that number instead. upcast_attention changes nothing: the softmax is in
    float32 always. Options that are listed last are refused at any value but their default or None.

    Options of ours: text_length, tokens of a text; patch_size > 1, a space-to-depth stem with which
    the network runs on [h/p, w/p] with p^2 times the channels; time_scale, which multiplies the
    time before its embedding (1 for steps of a thousand, 16 for log(sigma) / 4). dtype is that of
    the computation; parameters are used as they are loaded. remat computes every block anew on the
    way back instead of keeping what it held (jax.checkpoint): less memory, a third more time.
    """

    in_channels: int = 4
    out_channels: int = 4
    center_input_sample: bool = False
    flip_sin_to_cos: bool = True
    freq_shift: int = 0
    down_block_types: Sequence[str] = (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D")
    mid_block_type: str | None = "UNetMidBlock2DCrossAttn"
    up_block_types: Sequence[str] = ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3)
    block_out_channels: Sequence[int] = (320, 640, 1280, 1280)
    layers_per_block: int | Sequence[int] = 2
    downsample_padding: int = 1
    mid_block_scale_factor: float = 1.0
    dropout: float = 0.0
    act_fn: str = "silu"
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    cross_attention_dim: int = 1280
    transformer_layers_per_block: int | Sequence[int] = 1
    attention_head_dim: int | Sequence[int] = 8
    num_attention_heads: int | Sequence[int] | None = None
    use_linear_projection: bool = False
    upcast_attention: bool | None = False
    resnet_time_scale_shift: str = "default"
    time_embedding_dim: int | None = None
    addition_embed_type: str | None = None
    addition_time_embed_dim: int | None = None
    projection_class_embeddings_input_dim: int | None = None
    text_length: int = 77
    patch_size: int = 1
    time_scale: float = 1.0
    dtype: str = "float32"
    remat: bool = False

    only_cross_attention: bool | None = False
    mid_block_only_cross_attention: bool | None = None
    dual_cross_attention: bool | None = False
    cross_attention_norm: str | None = None
    attention_type: str | None = "default"
    reverse_transformer_layers_per_block: Sequence | None = None
    encoder_hid_dim: int | None = None
    encoder_hid_dim_type: str | None = None
    class_embed_type: str | None = None
    num_class_embeds: int | None = None
    class_embeddings_concat: bool | None = False
    addition_embed_type_num_heads: int | None = 64
    resnet_skip_time_act: bool | None = False
    resnet_out_scale_factor: float | None = 1.0
    time_embedding_type: str | None = "positional"
    time_embedding_act_fn: str | None = None
    timestep_post_act: str | None = None
    time_cond_proj_dim: int | None = None
    conv_in_kernel: int | None = 3
    conv_out_kernel: int | None = 3

    @property
    def bottleneck(self) -> str:
        """The layer whose output is the bottleneck, the last of the lowest resolution."""
        return "mid_block.resnets.1"

    def condition_spec(self) -> dict[str, jax.ShapeDtypeStruct]:
        """`text` [text_length cross_attention_dim], the hidden states of every token.

        With `addition_embed_type` text_time also `pooled` [p], an embedding of the whole text, and
        `time_ids` [6], in pixels: the image's height and width before it was cropped, top and left
        of the crop, and the height and width that are wanted.
        """
        vector = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)
        spec = {"text": vector(self.text_length, self.cross_attention_dim)}
        if self.addition_embed_type is not None:
            width, sizes = self.projection_class_embeddings_input_dim, self.addition_time_embed_dim
            if width is None or sizes is None or width <= _SIZES * sizes:
                raise ValueError(
                    f"addition_embed_type = {self.addition_embed_type!r} needs an"
                    f" addition_time_embed_dim and more than {_SIZES} times as many"
                    f" projection_class_embeddings_input_dim; they are {sizes} and {width}."
                )
            spec |= {"pooled": vector(width - _SIZES * sizes), "time_ids": vector(_SIZES)}
        return spec

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        time: Float[Array, " b"],
        cond: Mapping[str, Float[Array, "b ..."]] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "b h w o"]:
        """Inputs [b h w in_channels] at times [b] -> [b h w out_channels].

        cond: of `condition_spec`, [b ...] each; a text may also be of another length.

        Raises ValueError for an option that is not supported, for heights and widths that the
        levels do not divide, and without a condition.
        """
        self._check(x)
        cond = {} if cond is None else cond
        if missing := [name for name in self.condition_spec() if name not in cond]:
            raise ValueError(
                f"This network is told {', '.join(self.condition_spec())} of every image; there is"
                f" no {' and no '.join(missing)}."
            )
        dtype, widths = jnp.dtype(self.dtype), list(self.block_out_channels)
        embedding, text = self._embedding(time, cond, dtype), cond["text"].astype(dtype)
        layers = self._each("layers_per_block")
        depths = self._each("transformer_layers_per_block")
        counted = (
            "attention_head_dim" if self.num_attention_heads is None else "num_attention_heads"
        )
        heads = self._each(counted)

        def residual(name: str, h: Array, width: int, *, divisor: float = 1.0) -> Array:
            block = (nn.remat(Residual) if self.remat else Residual)(
                width,
                act=ACTIVATIONS[self.act_fn],
                groups=self.norm_num_groups,
                eps=self.norm_eps,
                dtype=dtype,
                dropout=self.dropout,
                divisor=divisor,
                scale_shift=self.resnet_time_scale_shift == "scale_shift",
                train=train,
                name=name,
            )
            return block(h, embedding)

        def transformer(name: str, h: Array, level: int) -> Array:
            block = Transformer2D(
                heads[level],
                depths[level],
                groups=self.norm_num_groups,
                linear=self.use_linear_projection,
                remat=self.remat,
                dtype=dtype,
                name=name,
            )
            return block(h, text)

        x = space_to_depth(x, self.patch_size)
        h = (2 * x - 1 if self.center_input_sample else x).astype(dtype)
        h = nn.Conv(widths[0], (3, 3), padding=1, dtype=dtype, name="conv_in")(h)
        skips, last = [h], len(widths) - 1
        for level, kind in enumerate(self.down_block_types):
            for layer in range(layers[level]):
                h = residual(f"down_blocks.{level}.resnets.{layer}", h, widths[level])
                if DOWN[kind]:
                    h = transformer(f"down_blocks.{level}.attentions.{layer}", h, level)
                skips.append(h)
            if level < last:
                down = Down(
                    self.downsample_padding, dtype, name=f"down_blocks.{level}.downsamplers.0"
                )
                skips.append(h := down(h))

        divisor = self.mid_block_scale_factor
        h = residual("mid_block.resnets.0", h, widths[last], divisor=divisor)
        h = transformer("mid_block.attentions.0", h, last)
        h = residual(self.bottleneck, h, widths[last], divisor=divisor)

        for step, kind in enumerate(self.up_block_types):
            level = last - step
            for layer in range(layers[level] + 1):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = residual(f"up_blocks.{step}.resnets.{layer}", h, widths[level])
                if UP[kind]:
                    h = transformer(f"up_blocks.{step}.attentions.{layer}", h, level)
            if level:
                h = Up(dtype, name=f"up_blocks.{step}.upsamplers.0")(h)

        norm = group_norm("conv_norm_out", groups=self.norm_num_groups, eps=self.norm_eps)
        h = ACTIVATIONS[self.act_fn](norm(h)).astype(dtype)
        channels = self.out_channels * self.patch_size**2
        h = nn.Conv(channels, (3, 3), padding=1, dtype=dtype, name="conv_out")(h)
        return depth_to_space(h, self.patch_size)

    def _embedding(self, time: Array, cond: Mapping[str, Array], dtype: Any) -> Float[Array, "b e"]:
        """The embedding of time, and of what SDXL is told besides the text."""

        def waves(t: Array, width: int) -> Array:
            options = {"shift": float(self.freq_shift), "cosines_first": self.flip_sin_to_cos}
            return timestep_embedding(t, width, **options).astype(dtype)

        size = self.time_embedding_dim or 4 * self.block_out_channels[0]
        act = ACTIVATIONS[self.act_fn]
        of_time = Embedding(size, dtype, act, name="time_embedding")
        embedding = of_time(waves(self.time_scale * time, self.block_out_channels[0]))
        if self.addition_embed_type is None or self.addition_time_embed_dim is None:
            return embedding
        sizes = waves(cond["time_ids"].reshape(-1), self.addition_time_embed_dim)
        told = [cond["pooled"].astype(dtype), sizes.reshape(len(time), -1)]
        addition = Embedding(size, dtype, name="add_embedding")
        return embedding + addition(jnp.concatenate(told, axis=-1))

    def _each(self, option: str) -> tuple[int, ...]:
        """An option's value on each level."""
        value, levels = getattr(self, option), len(self.block_out_channels)
        values = (value,) * levels if isinstance(value, int) else tuple(value)
        if len(values) != levels or not all(isinstance(entry, int) for entry in values):
            raise ValueError(
                f"{option} = {value!r} is not supported: the network has {levels} levels; give one"
                " whole number, or one for each level."
            )
        return values

    def _check(self, x: Array) -> None:
        levels = len(self.block_out_channels)
        for option, kinds in (("down_block_types", DOWN), ("up_block_types", UP)):
            types = getattr(self, option)
            if len(types) != levels:
                raise ValueError(
                    f"{option} are {len(types)} and block_out_channels {levels}; a network has one"
                    " of each a level."
                )
            for level, kind in enumerate(types):
                _refuse_unless(f"{option}[{level}]", kind, tuple(kinds))
        _refuse_unless("mid_block_type", self.mid_block_type, ("UNetMidBlock2DCrossAttn",))
        _refuse_unless("addition_embed_type", self.addition_embed_type, (None, "text_time"))
        _refuse_unless("act_fn", self.act_fn, tuple(ACTIVATIONS))
        shifts = ("default", "scale_shift")
        _refuse_unless("resnet_time_scale_shift", self.resnet_time_scale_shift, shifts)
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for option in _BY_DEFAULT_ALONE:
            _refuse_unless(option, getattr(self, option), (defaults[option], None))
        multiple = self.patch_size * 2 ** (levels - 1)
        if x.shape[1] % multiple or x.shape[2] % multiple:
            raise ValueError(
                f"This U-Net needs heights and widths divisible by {multiple}; the images are"
                f" {x.shape[1]} x {x.shape[2]}."
            )


def _refuse_unless(option: str, value: Any, values: tuple) -> None:
    if value not in values:
        known = ", ".join(dict.fromkeys(map(str, values)))
        raise ValueError(f"{option} = {value!r} of diffusers is not supported; known are {known}.")

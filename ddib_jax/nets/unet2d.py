"""diffusers' `UNet2DModel` in linen, parameter for parameter, with its options under its names.

Submodules bear the names of diffusers (`down_blocks.0.resnets.1` ...), so that a parameter's path,
joined with dots, is its key in the state dict. NHWC throughout.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from ddib_jax.nets.layers import ACTIVATIONS, group_norm, timestep_embedding
from ddib_jax.nets.unet2d_blocks import Attention, Down, Embedding, Residual, Up

DOWN = {
    "DownBlock2D": (False, False),
    "AttnDownBlock2D": (True, False),
    "ResnetDownsampleBlock2D": (False, True),
}
"""Block type of the downward half -> (it attends, it resamples by a residual block)."""
UP = {
    "UpBlock2D": (False, False),
    "AttnUpBlock2D": (True, False),
    "ResnetUpsampleBlock2D": (False, True),
}
"""The same of the upward half."""


class UNet2D(nn.Module):
    """The U-Net of diffusers, with classes or without; its fields are `UNet2DModel`'s options."""

    in_channels: int = 3
    out_channels: int = 3
    center_input_sample: bool = False
    time_embedding_type: str = "positional"
    time_embedding_dim: int | None = None
    freq_shift: int = 0
    flip_sin_to_cos: bool = True
    down_block_types: Sequence[str] = (
        "DownBlock2D",
        "AttnDownBlock2D",
        "AttnDownBlock2D",
        "AttnDownBlock2D",
    )
    mid_block_type: str | None = "UNetMidBlock2D"
    up_block_types: Sequence[str] = ("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D")
    block_out_channels: Sequence[int] = (224, 448, 672, 896)
    layers_per_block: int = 2
    mid_block_scale_factor: float = 1.0
    downsample_padding: int = 1
    downsample_type: str | None = "conv"
    upsample_type: str | None = "conv"
    dropout: float = 0.0
    act_fn: str = "silu"
    attention_head_dim: int | None = 8
    norm_num_groups: int = 32
    attn_norm_num_groups: int | None = None
    norm_eps: float = 1e-5
    resnet_time_scale_shift: str = "default"
    add_attention: bool = True
    class_embed_type: str | None = None
    num_class_embeds: int | None = None
    num_train_timesteps: int | None = None
    dtype: str = "float32"

    @property
    def num_classes(self) -> int | None:
        """The number of classes of a network with a table of them, else None."""
        return None if self.class_embed_type else self.num_class_embeds

    @property
    def bottleneck(self) -> str:
        """The layer whose output is the bottleneck, the last of the lowest resolution.

        Of a network without a middle block it is the last layer of the way down.
        """
        if self.mid_block_type is not None:
            return "mid_block.resnets.1"
        lowest = len(self.down_block_types) - 1
        attends, _ = DOWN[self.down_block_types[lowest].removeprefix("UNetRes")]
        kind = "attentions" if attends else "resnets"
        return f"down_blocks.{lowest}.{kind}.{self.layers_per_block - 1}"

    def condition_spec(self) -> jax.ShapeDtypeStruct | None:
        """A label (with `class_embed_type` timestep any number), an embedding [e], or None."""
        if self.class_embed_type == "identity":
            return jax.ShapeDtypeStruct((self._embedding_width(),), jnp.float32)
        if self.num_class_embeds is None and self.class_embed_type is None:
            return None
        return jax.ShapeDtypeStruct((), jnp.int32)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        time: Float[Array, " b"],
        cond: Int[Array, " b"] | Float[Array, "b e"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "b h w o"]:
        """Inputs [b h w in_channels] at times [b] -> [b h w out_channels].

        cond: class labels [b], embeddings [b e] where `class_embed_type` is identity, or None for a
        network without classes. Learned embeddings of time (a table of whole steps) are
        interpolated between the steps.

        Raises ValueError for an option that is not supported, for heights and widths that the
        stages do not divide, and where labels and classes do not go together.
        """
        self._check(x, cond)
        dtype, widths = jnp.dtype(self.dtype), list(self.block_out_channels)
        embedding = self._embedding(time, cond, dtype)

        def residual(
            name: str, h: Array, width: int, *, resample: str | None = None, divisor: float = 1.0
        ) -> Array:
            block = Residual(
                width,
                act=ACTIVATIONS[self.act_fn],
                groups=self.norm_num_groups,
                eps=self.norm_eps,
                dtype=dtype,
                resample=resample,
                dropout=self.dropout,
                divisor=divisor,
                scale_shift=self.resnet_time_scale_shift == "scale_shift",
                train=train,
                name=name,
            )
            return block(h, embedding)

        def attention(name: str, h: Array, groups: int | None, *, divisor: float = 1.0) -> Array:
            head_dim, eps = self.attention_head_dim, self.norm_eps
            return Attention(head_dim, groups, eps, divisor, dtype, name=name)(h)

        h = (2 * x - 1 if self.center_input_sample else x).astype(dtype)
        h = nn.Conv(widths[0], (3, 3), padding=1, dtype=dtype, name="conv_in")(h)
        skips, last = [h], len(widths) - 1
        for level, (kind, width) in enumerate(zip(self.down_block_types, widths, strict=True)):
            attends, resnets = DOWN[kind.removeprefix("UNetRes")]
            # Of diffusers' blocks those with attention alone heed `downsample_type`.
            resnets |= attends and self.downsample_type == "resnet"
            for layer in range(self.layers_per_block):
                h = residual(f"down_blocks.{level}.resnets.{layer}", h, width)
                if attends:
                    name = f"down_blocks.{level}.attentions.{layer}"
                    h = attention(name, h, self.norm_num_groups)
                skips.append(h)
            if level < last:
                name = f"down_blocks.{level}.downsamplers.0"
                if resnets:
                    h = residual(name, h, width, resample="down")
                else:
                    h = Down(self.downsample_padding, dtype, name=name)(h)
                skips.append(h)

        if self.mid_block_type is not None:
            divisor = self.mid_block_scale_factor
            h = residual("mid_block.resnets.0", h, h.shape[-1], divisor=divisor)
            if self.add_attention:
                groups = self._middle_groups()
                h = attention("mid_block.attentions.0", h, groups, divisor=divisor)
            h = residual("mid_block.resnets.1", h, h.shape[-1], divisor=divisor)

        upward = zip(self.up_block_types, reversed(widths), strict=True)
        for level, (kind, width) in enumerate(upward):
            attends, resnets = UP[kind.removeprefix("UNetRes")]
            resnets |= attends and self.upsample_type == "resnet"
            for layer in range(self.layers_per_block + 1):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = residual(f"up_blocks.{level}.resnets.{layer}", h, width)
                if attends:
                    name = f"up_blocks.{level}.attentions.{layer}"
                    h = attention(name, h, self.norm_num_groups)
            if level < last:
                name = f"up_blocks.{level}.upsamplers.0"
                h = residual(name, h, width, resample="up") if resnets else Up(dtype, name=name)(h)

        norm = group_norm("conv_norm_out", groups=self.norm_num_groups, eps=self.norm_eps)
        h = nn.silu(norm(h)).astype(dtype)
        h = nn.Conv(self.out_channels, (3, 3), padding=1, dtype=dtype, name="conv_out")(h)
        if self.time_embedding_type == "fourier":
            # Networks of this kind are NCSN++, whose time is sigma and whose output is a score.
            return h / time.reshape(-1, 1, 1, 1)
        return h

    def _embedding_width(self) -> int:
        return self.time_embedding_dim or 4 * self.block_out_channels[0]

    def _middle_groups(self) -> int | None:
        """Groups of the norm of the middle attention, by diffusers' own default: with scale-shift
        norms that attention has none.
        """
        if self.attn_norm_num_groups is not None:
            return self.attn_norm_num_groups
        return None if self.resnet_time_scale_shift == "scale_shift" else self.norm_num_groups

    def _embedding(self, time: Array, cond: Array | None, dtype: Any) -> Float[Array, "b e"]:
        project, width = self._time_projection(), self._embedding_width()
        embedding = Embedding(width, dtype, name="time_embedding")(project(time).astype(dtype))
        if self.condition_spec() is None:
            return embedding
        if cond is None:
            raise ValueError(
                "This network is told a class or an embedding of every image; give it."
            )
        if self.class_embed_type == "timestep":
            waves = project(cond.astype(jnp.float32)).astype(dtype)
            embedding += Embedding(width, dtype, name="class_embedding")(waves)
        elif self.class_embed_type == "identity":
            embedding += cond.astype(dtype)
        elif self.num_class_embeds is not None:
            table = nn.Embed(self.num_class_embeds, width, dtype=dtype, name="class_embedding")
            embedding += table(cond)
        return embedding

    def _time_projection(self) -> Callable[[Array], Array]:
        """The function of times [b] -> features [b w] that the embedding begins with."""
        width = self.block_out_channels[0]
        if self.time_embedding_type == "fourier":
            frequencies = self.param("time_proj.weight", nn.initializers.normal(16.0), (width,))

            def fourier(t: Array) -> Array:
                angles = jnp.log(t)[:, None] * frequencies[None] * 2 * jnp.pi
                return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)

            return fourier
        if self.time_embedding_type == "learned":
            shape = (self.num_train_timesteps, width)
            table = self.param("time_proj.weight", nn.initializers.normal(1.0), shape)

            def interpolated(t: Array) -> Array:
                # A bridge evaluates at times between the whole steps that the table knows.
                below = jnp.clip(jnp.floor(t).astype(jnp.int32), 0, len(table) - 2)
                fraction = (t - below)[:, None]
                return (1 - fraction) * table[below] + fraction * table[below + 1]

            return interpolated
        options = {"shift": float(self.freq_shift), "cosines_first": self.flip_sin_to_cos}
        return lambda t: timestep_embedding(t, width, **options)

    def _check(self, x: Array, cond: Array | None) -> None:
        supported = {
            "time_embedding_type": (self.time_embedding_type, ("positional", "fourier", "learned")),
            "mid_block_type": (self.mid_block_type, ("UNetMidBlock2D", None)),
            "resnet_time_scale_shift": (self.resnet_time_scale_shift, ("default", "scale_shift")),
            "class_embed_type": (self.class_embed_type, (None, "timestep", "identity")),
            "act_fn": (self.act_fn, tuple(ACTIVATIONS)),
        }
        for option, kinds in (("down_block_types", DOWN), ("up_block_types", UP)):
            for level, kind in enumerate(getattr(self, option)):
                # Old configurations call the blocks UNetResDownBlock2D and so on.
                supported[f"{option}[{level}]"] = (kind.removeprefix("UNetRes"), tuple(kinds))
        for option, (value, values) in supported.items():
            if value not in values:
                raise ValueError(
                    f"{option} = {value!r} of diffusers is not supported; known are"
                    f" {', '.join(map(str, values))}."
                )
        multiple = 2 ** (len(self.block_out_channels) - 1)
        if x.shape[1] % multiple or x.shape[2] % multiple:
            raise ValueError(
                f"This U-Net needs heights and widths divisible by {multiple}; the images are"
                f" {x.shape[1]} x {x.shape[2]}."
            )
        conditional = self.condition_spec() is not None
        if conditional != (cond is not None):
            classes = "classes and no" if conditional else "no classes and"
            raise ValueError(f"The network has {classes} labels were given.")

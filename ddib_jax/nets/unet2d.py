"""diffusers' `UNet2DModel` in linen, parameter for parameter, with its options under its names.

Submodules bear the names of diffusers (`down_blocks.0.resnets.1` ...), so that a parameter's path,
joined with dots, is its key in the state dict. NHWC throughout.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from ddib_jax.nets.layers import group_norm, timestep_embedding
from ddib_jax.nets.unet2d_blocks import Attention, Down, Embedding, Residual, Up

ACTIVATIONS: dict[str, Callable] = {
    "silu": nn.silu,
    "swish": nn.silu,
    "mish": lambda x: x * jnp.tanh(nn.softplus(x)),
    "gelu": lambda x: nn.gelu(x, approximate=False),
    "relu": nn.relu,
}
DOWN = {
    "DownBlock2D": (False, False),
    "AttnDownBlock2D": (True, False),
    "ResnetDownsampleBlock2D": (False, True),
}
"""Type of a block of the way down -> whether it attends, and whether residual blocks change the
resolution.
"""
UP = {
    "UpBlock2D": (False, False),
    "AttnUpBlock2D": (True, False),
    "ResnetUpsampleBlock2D": (False, True),
}


class UNet2D(nn.Module):
    """The unconditional (or class-conditional) U-Net of diffusers; every field is an option of
    `UNet2DModel`.

    Every block's output is sown in the collection `intermediates` under the block's name, free when
    not asked for.
    """

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
        """The number of classes of a class-conditional network, else None."""
        return self.num_class_embeds

    def example_condition(self) -> Array | None:
        """A condition [1] or [1 e] of the kind that the network wants, or None."""
        if self.class_embed_type == "identity":
            return jnp.zeros((1, self.time_embedding_dim or 4 * self.block_out_channels[0]))
        return (
            None
            if self.num_class_embeds is None and self.class_embed_type is None
            else jnp.zeros(1, jnp.int32)
        )

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        time: Float[Array, " b"],
        cond: Int[Array, " b"] | Float[Array, "b e"] | None = None,
        train: bool = False,
    ) -> Float[Array, "b h w o"]:
        """x [b h w in_channels] -> [b h w out_channels]; time [b]; cond: class labels [b], or
        embeddings [b e] where `class_embed_type` is identity.

        Learned embeddings of time (a table of whole steps) are interpolated between the steps.

        Raises ValueError for options that are not known and for heights and widths that the stages
        do not divide.
        """
        self._check(x, cond)
        dtype, widths, act = (
            jnp.dtype(self.dtype),
            list(self.block_out_channels),
            ACTIVATIONS[self.act_fn],
        )
        embedding = self._embedding(time, cond, dtype)

        def residual(
            name: str, h: Array, width: int, resample: str | None = None, divisor: float = 1.0
        ) -> Array:
            scale_shift = self.resnet_time_scale_shift == "scale_shift"
            options = {
                "act": act,
                "groups": self.norm_num_groups,
                "eps": self.norm_eps,
                "scale_shift": scale_shift,
            }
            return Residual(
                width, resample, self.dropout, divisor, dtype=dtype, name=name, **options
            )(h, embedding, train)

        def attend(name: str, h: Array, groups: int | None, divisor: float = 1.0) -> Array:
            return Attention(
                self.attention_head_dim, groups, self.norm_eps, divisor, dtype, name=name
            )(h)

        def seen(name: str, value: Array) -> Array:
            self.sow("intermediates", name, value)
            return value

        h = (2 * x - 1 if self.center_input_sample else x).astype(dtype)
        h = seen("conv_in", nn.Conv(widths[0], (3, 3), padding=1, dtype=dtype, name="conv_in")(h))
        skips, last = [h], len(widths) - 1
        for level, (kind, width) in enumerate(zip(self.down_block_types, widths, strict=True)):
            attends, resnets = DOWN[kind.removeprefix("UNetRes")]
            resnets |= attends and self.downsample_type == "resnet"
            for layer in range(self.layers_per_block):
                h = residual(f"down_blocks.{level}.resnets.{layer}", h, width)
                if attends:
                    h = attend(f"down_blocks.{level}.attentions.{layer}", h, self.norm_num_groups)
                skips.append(h)
            if level < last:
                name = f"down_blocks.{level}.downsamplers.0"
                h = (
                    residual(name, h, width, "down")
                    if resnets
                    else Down(self.downsample_padding, dtype, name=name)(h)
                )
                skips.append(h)
            seen(f"down_blocks.{level}", h)

        if self.mid_block_type is not None:
            scale = self.mid_block_scale_factor
            h = residual("mid_block.resnets.0", h, h.shape[-1], divisor=scale)
            if self.add_attention:
                inherited = (
                    None if self.resnet_time_scale_shift == "scale_shift" else self.norm_num_groups
                )
                groups = (
                    inherited if self.attn_norm_num_groups is None else self.attn_norm_num_groups
                )
                h = attend("mid_block.attentions.0", h, groups, scale)
            h = seen("mid_block", residual("mid_block.resnets.1", h, h.shape[-1], divisor=scale))

        for level, (kind, width) in enumerate(
            zip(self.up_block_types, reversed(widths), strict=True)
        ):
            attends, resnets = UP[kind.removeprefix("UNetRes")]
            resnets |= attends and self.upsample_type == "resnet"
            for layer in range(self.layers_per_block + 1):
                h = residual(
                    f"up_blocks.{level}.resnets.{layer}",
                    jnp.concatenate([h, skips.pop()], axis=-1),
                    width,
                )
                if attends:
                    h = attend(f"up_blocks.{level}.attentions.{layer}", h, self.norm_num_groups)
            if level < last:
                name = f"up_blocks.{level}.upsamplers.0"
                h = residual(name, h, width, "up") if resnets else Up(dtype, name=name)(h)
            seen(f"up_blocks.{level}", h)

        h = nn.silu(group_norm("conv_norm_out", self.norm_num_groups, self.norm_eps)(h)).astype(
            dtype
        )
        h = nn.Conv(self.out_channels, (3, 3), padding=1, dtype=dtype, name="conv_out")(h)
        return h / time.reshape(-1, 1, 1, 1) if self.time_embedding_type == "fourier" else h

    def _embedding(self, time: Array, cond: Array | None, dtype) -> Array:
        width = self.block_out_channels[0]
        size = self.time_embedding_dim or 4 * width
        if self.time_embedding_type == "fourier":
            frequencies = self.param("time_proj.weight", nn.initializers.normal(16.0), (width,))

            def projected(t):
                angles = jnp.log(t)[:, None] * frequencies[None] * 2 * jnp.pi
                return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)

        elif self.time_embedding_type == "learned":
            table = self.param(
                "time_proj.weight", nn.initializers.normal(1.0), (self.num_train_timesteps, width)
            )

            def projected(t):
                below = jnp.clip(jnp.floor(t).astype(jnp.int32), 0, len(table) - 2)
                fraction = (t - below)[:, None]
                return (1 - fraction) * table[below] + fraction * table[below + 1]

        else:

            def projected(t):
                return timestep_embedding(
                    t, width, shift=float(self.freq_shift), cosines_first=self.flip_sin_to_cos
                )

        embedding = Embedding(size, dtype, name="time_embedding")(projected(time).astype(dtype))
        if self.class_embed_type == "timestep":
            embedding += Embedding(size, dtype, name="class_embedding")(
                projected(cond.astype(jnp.float32)).astype(dtype)
            )
        elif self.class_embed_type == "identity":
            embedding += cond.astype(dtype)
        elif self.num_class_embeds is not None:
            embedding += nn.Embed(self.num_class_embeds, size, dtype=dtype, name="class_embedding")(
                cond
            )
        return embedding

    def _check(self, x: Array, cond: Array | None) -> None:
        known = {
            "time_embedding_type": (self.time_embedding_type, ("positional", "fourier", "learned")),
            "mid_block_type": (self.mid_block_type, ("UNetMidBlock2D", None)),
            "resnet_time_scale_shift": (self.resnet_time_scale_shift, ("default", "scale_shift")),
            "class_embed_type": (self.class_embed_type, (None, "timestep", "identity")),
            "act_fn": (self.act_fn, tuple(ACTIVATIONS)),
            **{
                f"down_block_types[{i}]": (kind.removeprefix("UNetRes"), tuple(DOWN))
                for i, kind in enumerate(self.down_block_types)
            },
            **{
                f"up_block_types[{i}]": (kind.removeprefix("UNetRes"), tuple(UP))
                for i, kind in enumerate(self.up_block_types)
            },
        }
        for option, (value, values) in known.items():
            if value not in values:
                raise ValueError(
                    f"{option} = {value!r} of diffusers is not supported; known are"
                    f" {', '.join(map(str, values))}."
                )
        unit = 2 ** (len(self.block_out_channels) - 1)
        if x.shape[1] % unit or x.shape[2] % unit:
            raise ValueError(
                f"This U-Net needs heights and widths divisible by {unit}; the images are"
                f" {x.shape[1]} x {x.shape[2]}."
            )
        conditional = self.example_condition() is not None
        if conditional != (cond is not None):
            raise ValueError(
                f"The network has {'classes and no' if conditional else 'no classes and'} labels"
                " were given."
            )

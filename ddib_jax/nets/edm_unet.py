"""The two U-Nets of Karras et al. (2022) in linen, parameter for parameter: DDPM++ and NCSN++ (Song
et al. 2021), and ADM.

Submodules bear the names of NVlabs/edm (`enc.32x32_block0.conv0` ...), so that a parameter's path,
joined with dots, is its key in a state dict. NHWC throughout.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from ddib_jax.nets.layers import group_norm, timestep_embedding


def resampled(
    x: Float[Array, "b h w c"], taps: Sequence[int], direction: str, padding: int | None = None
) -> Array:
    """Half or twice the resolution by a separable filter of these taps, each channel by itself."""
    line = jnp.asarray(taps, x.dtype)
    kernel = jnp.outer(line, line) / line.sum() ** 2 * (4 if direction == "up" else 1)
    kernel = jnp.tile(kernel[:, :, None, None], (1, 1, 1, x.shape[-1]))
    border = (len(taps) - 1) // 2 if padding is None else padding
    up = direction == "up"
    border = len(taps) - 1 - border if up else border
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (1, 1) if up else (2, 2),
        [(border, border)] * 2,
        lhs_dilation=(2, 2) if up else (1, 1),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


class Block(nn.Module):
    """`UNetBlock`: a residual block with embedding, resampling on the way, and attention after."""

    features: int
    attention: bool = False
    direction: str | None = None
    heads: int | None = None
    taps: Sequence[int] = (1, 1)
    project: bool = False
    adaptive: bool = True
    skip_scale: float = 1.0
    eps: float = 1e-5
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"], train: bool):
        norm = lambda name, width: group_norm(name, min(32, width // 4), self.eps)
        moved = (
            (lambda h: resampled(h, self.taps, self.direction)) if self.direction else lambda h: h
        )
        h = nn.Conv(self.features, (3, 3), name="conv0")(
            moved(nn.silu(norm("norm0", x.shape[-1])(x)))
        )
        shift = nn.Dense(self.features * (2 if self.adaptive else 1), name="affine")(embedding)[
            :, None, None
        ]
        if self.adaptive:
            scale, shift = jnp.split(shift, 2, axis=-1)
            h = norm("norm1", self.features)(h) * (1 + scale) + shift
        else:
            h = norm("norm1", self.features)(h + shift)
        h = nn.Dropout(self.dropout, deterministic=not train)(nn.silu(h))
        h = nn.Conv(self.features, (3, 3), name="conv1")(h)
        changed = x.shape[-1] != self.features
        skip = moved(x)
        if changed or (self.direction and self.project):
            skip = nn.Conv(self.features, (1, 1), name="skip")(skip)
        x = (h + skip) * self.skip_scale
        if not self.attention:
            return x
        b, height, width, c = x.shape
        heads = c // 64 if self.heads is None else self.heads
        qkv = nn.Conv(3 * c, (1, 1), name="qkv")(norm("norm2", c)(x)).reshape(
            b, height * width, heads, c // heads, 3
        )
        h = jax.nn.dot_product_attention(qkv[..., 0], qkv[..., 1], qkv[..., 2]).reshape(
            b, height, width, c
        )
        return (nn.Conv(c, (1, 1), name="proj")(h) + x) * self.skip_scale


class FusedDown(nn.Module):
    """A convolution and a filter that halves the resolution, padded once for both, the
    bias last.
    """

    features: int
    taps: Sequence[int]

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]):
        kernel = self.param(
            "kernel", nn.initializers.lecun_normal(), (3, 3, x.shape[-1], self.features)
        )
        around = 1 + (len(self.taps) - 1) // 2
        h = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), [(around, around)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return resampled(h, self.taps, "down", padding=0) + self.param(
            "bias", nn.initializers.zeros, (self.features,)
        )


class _Shared(nn.Module):
    """The options of both networks, under their names in NVlabs/edm."""

    img_resolution: int = 32
    out_channels: int = 3
    label_dim: int = 0
    model_channels: int = 128
    channel_mult: Sequence[int] = (1, 2, 2, 2)
    channel_mult_emb: int = 4
    num_blocks: int = 4
    attn_resolutions: Sequence[int] = (16,)
    dropout: float = 0.1
    time_scale: float = 1.0
    label_dropout: float = 0.0

    @property
    def num_classes(self) -> int | None:
        """The number of classes of a class-conditional network, else None."""
        return self.label_dim or None

    @property
    def null_label(self) -> int | None:
        """The label that stands for no class, where the network was trained with labels dropped now
        and then, else None.
        """
        return self.label_dim if self.label_dim and self.label_dropout else None

    def told(self, cond: Int[Array, " b"] | None) -> Float[Array, "b k"] | None:
        """Labels as the network is told them; the number after the last class stands for none of
        them.
        """
        if (cond is None) != (self.label_dim == 0):
            raise ValueError(
                f"The network has {self.label_dim or 'no'} classes; give labels to"
                " class-conditional models, and to those alone."
            )
        return None if cond is None else jax.nn.one_hot(cond, self.label_dim)

    def size(self, level: int) -> str:
        """The resolution of a level as the names have it."""
        side = self.img_resolution >> level
        return f"{side}x{side}"

    def attends(self, level: int) -> bool:
        """Whether the blocks of a level attend."""
        return self.img_resolution >> level in tuple(self.attn_resolutions)

    def entered(self, block: Callable, level: int, h: Array, width: int) -> Array:
        """What a level of the way up begins with: two blocks at the lowest one, a doubling at the
        others.
        """
        size = self.size(level)
        if level < len(self.channel_mult) - 1:
            return block(f"dec.{size}_up", h, width, direction="up")
        return block(f"dec.{size}_in1", block(f"dec.{size}_in0", h, width, attention=True), width)


class SongUNet(_Shared):
    """`SongUNet` of NVlabs/edm: DDPM++ and NCSN++ of Song et al. (2021). x [b h w c], time [b],
    cond: labels [b] where label_dim is set.
    """

    embedding_type: str = "positional"
    channel_mult_noise: int = 1
    encoder_type: str = "standard"
    decoder_type: str = "standard"
    resample_filter: Sequence[int] = (1, 1)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        time: Float[Array, " b"],
        cond: Int[Array, " b"] | None = None,
        train: bool = False,
    ) -> Float[Array, "b h w o"]:
        """x [b h w c] at times [b] -> [b h w out_channels]; ValueError for unknown options."""
        self._check()
        labels, embedding = self.told(cond), self._noise(time * self.time_scale)
        if labels is not None:
            embedding += nn.Dense(embedding.shape[-1], name="map_label")(
                labels * jnp.sqrt(float(self.label_dim))
            )
        for layer in ("map_layer0", "map_layer1"):
            embedding = nn.silu(
                nn.Dense(self.model_channels * self.channel_mult_emb, name=layer)(embedding)
            )
        taps = tuple(self.resample_filter)
        shared = {
            "heads": 1,
            "taps": taps,
            "project": True,
            "adaptive": False,
            "skip_scale": 0.5**0.5,
            "eps": 1e-6,
            "dropout": self.dropout,
        }

        def block(name: str, h: Array, features: int, **options: Any) -> Array:
            return Block(features, **shared, **options, name=name)(h, embedding, train)

        h, aside, skips, width = x, x, [], self.model_channels
        for level, mult in enumerate(self.channel_mult):
            size = self.size(level)
            if level == 0:
                h = nn.Conv(width, (3, 3), name=f"enc.{size}_conv")(h)
            else:
                h = block(f"enc.{size}_down", h, width, direction="down")
                if self.encoder_type == "skip":
                    aside = resampled(aside, taps, "down")
                    h = h + nn.Conv(width, (1, 1), name=f"enc.{size}_aux_skip")(aside)
                if self.encoder_type == "residual":
                    h = aside = (
                        h + FusedDown(width, taps, name=f"enc.{size}_aux_residual")(aside)
                    ) / jnp.sqrt(2.0)
            skips.append(h)
            width = self.model_channels * mult
            for index in range(self.num_blocks):
                h = block(f"enc.{size}_block{index}", h, width, attention=self.attends(level))
                skips.append(h)
        answer = None
        for level, mult in reversed(list(enumerate(self.channel_mult))):
            size, h = self.size(level), self.entered(block, level, h, width)
            width = self.model_channels * mult
            for index in range(self.num_blocks + 1):
                attends = index == self.num_blocks and self.attends(level)
                h = block(
                    f"dec.{size}_block{index}",
                    jnp.concatenate([h, skips.pop()], axis=-1),
                    width,
                    attention=attends,
                )
            if self.decoder_type == "skip" or level == 0:
                normed = nn.silu(group_norm(f"dec.{size}_aux_norm", min(32, width // 4), 1e-6)(h))
                more = nn.Conv(self.out_channels, (3, 3), name=f"dec.{size}_aux_conv")(normed)
                answer = more if answer is None else resampled(answer, taps, "up") + more
        return answer

    def _noise(self, time: Float[Array, " b"]) -> Float[Array, "b w"]:
        width = self.model_channels * self.channel_mult_noise
        if self.embedding_type == "positional":
            return timestep_embedding(time, width, shift=1.0, cosines_first=False)
        frequencies = self.param("map_noise.freqs", nn.initializers.normal(16.0), (width // 2,))
        angles = time[:, None] * (2 * jnp.pi * frequencies)[None]
        return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)

    def _check(self) -> None:
        known = {
            "embedding_type": ("positional", "fourier"),
            "encoder_type": ("standard", "skip", "residual"),
            "decoder_type": ("standard", "skip"),
        }
        for option, values in known.items():
            if getattr(self, option) not in values:
                raise ValueError(
                    f"{option} = {getattr(self, option)!r} is not known; known are"
                    f" {', '.join(values)}."
                )


class DhariwalUNet(_Shared):
    """`DhariwalUNet` of NVlabs/edm: ADM of Dhariwal and Nichol (2021). x [b h w c], time [b], cond:
    labels [b] where label_dim is set.
    """

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        time: Float[Array, " b"],
        cond: Int[Array, " b"] | None = None,
        train: bool = False,
    ) -> Float[Array, "b h w o"]:
        """x [b h w c] at times [b] -> [b h w out_channels]."""
        labels = self.told(cond)
        embedding = timestep_embedding(time * self.time_scale, self.model_channels)
        inner = self.model_channels * self.channel_mult_emb
        embedding = nn.Dense(inner, name="map_layer1")(
            nn.silu(nn.Dense(inner, name="map_layer0")(embedding))
        )
        if labels is not None:
            embedding += nn.Dense(inner, use_bias=False, name="map_label")(labels)
        embedding = nn.silu(embedding)

        def block(name: str, h: Array, features: int, **options: Any) -> Array:
            return Block(features, **options, dropout=self.dropout, name=name)(h, embedding, train)

        h, skips, width = x, [], self.model_channels * self.channel_mult[0]
        for level, mult in enumerate(self.channel_mult):
            size = self.size(level)
            h = (
                block(f"enc.{size}_down", h, width, direction="down")
                if level
                else nn.Conv(width, (3, 3), name=f"enc.{size}_conv")(h)
            )
            skips.append(h)
            width = self.model_channels * mult
            for index in range(self.num_blocks):
                h = block(f"enc.{size}_block{index}", h, width, attention=self.attends(level))
                skips.append(h)
        for level, mult in reversed(list(enumerate(self.channel_mult))):
            size, h = self.size(level), self.entered(block, level, h, width)
            width = self.model_channels * mult
            for index in range(self.num_blocks + 1):
                h = block(
                    f"dec.{size}_block{index}",
                    jnp.concatenate([h, skips.pop()], axis=-1),
                    width,
                    attention=self.attends(level),
                )
        h = nn.silu(group_norm("out_norm", min(32, width // 4))(h))
        return nn.Conv(self.out_channels, (3, 3), name="out_conv")(h)

"""The two U-Nets of Karras et al. (2022) in linen, parameter for parameter.

`SongUNet` is DDPM++ and NCSN++ (Song et al. 2021), `DhariwalUNet` is ADM (Dhariwal and Nichol
2021). Submodules bear the names of NVlabs/edm (`enc.32x32_block0.conv0` ...), so that a parameter's
path, joined with dots, is its key in a state dict. NHWC throughout.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from ddib_jax.nets.edm_blocks import Block, FusedDown, groups_of, resample
from ddib_jax.nets.layers import group_norm, timestep_embedding

_SONG_EPSILON = 1e-6  # of SongUNet's norms; DhariwalUNet has torch's 1e-5


class _Options(nn.Module):
    """The options of both networks, under their names in NVlabs/edm, and what follows from them."""

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

    def condition_spec(self) -> jax.ShapeDtypeStruct | None:
        """A label, or None for a network without classes."""
        return jax.ShapeDtypeStruct((), jnp.int32) if self.label_dim else None

    @property
    def null_label(self) -> int | None:
        """The label of no class, where the network was trained with labels dropped, else None."""
        return self.label_dim if self.label_dim and self.label_dropout else None

    @property
    def bottleneck(self) -> str:
        """The layer whose output is the bottleneck, the last of the lowest resolution."""
        return f"dec.{self.size(len(self.channel_mult) - 1)}_in1"

    def one_hot(self, cond: Int[Array, " b"] | None) -> Float[Array, "b k"] | None:
        """Labels [b] -> one-hot vectors [b label_dim], or None for a network without classes.

        The label `label_dim`, the number after the last class, stands for no class: a vector of
        zeros. Raises ValueError for labels without classes and classes without labels.
        """
        if (cond is None) != (self.label_dim == 0):
            raise ValueError(
                f"The network has {self.label_dim or 'no'} classes; give labels to"
                " class-conditional models, and to those alone."
            )
        # one_hot of a number beyond the last class is all zeros, which is NVlabs/edm's null label.
        return None if cond is None else jax.nn.one_hot(cond, self.label_dim)

    def size(self, level: int) -> str:
        """The resolution of a level as the names have it: `32x32`."""
        side = self.img_resolution >> level
        return f"{side}x{side}"

    def attends(self, level: int) -> bool:
        """Whether the blocks of a level attend."""
        return self.img_resolution >> level in tuple(self.attn_resolutions)

    def enter(self, block: Callable, level: int, h: Array, width: int) -> Array:
        """The start of a level on the way up: two blocks at the lowest one, else a doubling."""
        size = self.size(level)
        if level < len(self.channel_mult) - 1:
            return block(f"dec.{size}_up", h, width, direction="up")
        h = block(f"dec.{size}_in0", h, width, attention=True)
        return block(self.bottleneck, h, width)


class SongUNet(_Options):
    """`SongUNet` of NVlabs/edm: DDPM++ and NCSN++ (Song et al. 2021).

    Its options are `embedding_type` (positional, fourier), `encoder_type` (standard, skip,
    residual), `decoder_type` (standard, skip) and the taps of `resample_filter`.
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
        *,
        train: bool = False,
    ) -> Float[Array, "b h w o"]:
        """Inputs [b h w c] at times [b] -> [b h w out_channels].

        cond: class labels [b] where label_dim is set, else None. Raises ValueError for an option
        that is not known and for labels that do not go with label_dim.
        """
        self._check()
        embedding = self._embedding(time, cond)
        taps = tuple(self.resample_filter)
        options = {
            "heads": 1,
            "taps": taps,
            "project": True,
            "adaptive": False,
            "skip_scale": 0.5**0.5,
            "eps": _SONG_EPSILON,
            "dropout": self.dropout,
        }

        def block(name: str, h: Array, features: int, **more: Any) -> Array:
            return Block(features, **options, **more, name=name)(h, embedding, train=train)

        # aux: the image beside the features, at the resolution of the level. The encoder "skip"
        # adds a projection of it, "residual" makes it one more chain of feature maps.
        h, aux, skips, width = x, x, [], self.model_channels
        for level, mult in enumerate(self.channel_mult):
            size = self.size(level)
            if level == 0:
                h = nn.Conv(width, (3, 3), name=f"enc.{size}_conv")(h)
            else:
                h = block(f"enc.{size}_down", h, width, direction="down")
                if self.encoder_type == "skip":
                    aux = resample(aux, taps, "down")
                    h = h + nn.Conv(width, (1, 1), name=f"enc.{size}_aux_skip")(aux)
                if self.encoder_type == "residual":
                    aux = FusedDown(width, taps, name=f"enc.{size}_aux_residual")(aux)
                    h = aux = (h + aux) / jnp.sqrt(2.0)
            skips.append(h)
            width = self.model_channels * mult
            for index in range(self.num_blocks):
                h = block(f"enc.{size}_block{index}", h, width, attention=self.attends(level))
                skips.append(h)
        output = None
        for level, mult in reversed(list(enumerate(self.channel_mult))):
            size, h = self.size(level), self.enter(block, level, h, width)
            width = self.model_channels * mult
            for index in range(self.num_blocks + 1):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                # On the way up only the last block of a level attends.
                attends = index == self.num_blocks and self.attends(level)
                h = block(f"dec.{size}_block{index}", h, width, attention=attends)
            if self.decoder_type == "skip" or level == 0:
                name = f"dec.{size}_aux_norm"
                norm = group_norm(name, groups=groups_of(width), eps=_SONG_EPSILON)
                conv = nn.Conv(self.out_channels, (3, 3), name=f"dec.{size}_aux_conv")
                image = conv(nn.silu(norm(h)))
                output = image if output is None else resample(output, taps, "up") + image
        return cast(Array, output)  # the last level, 0, always makes one

    def _embedding(self, time: Float[Array, " b"], cond: Array | None) -> Float[Array, "b e"]:
        labels, embedding = self.one_hot(cond), self._noise(time * self.time_scale)
        if labels is not None:
            # A one-hot vector times sqrt(label_dim) has a mean square of 1.
            scaled = labels * jnp.sqrt(float(self.label_dim))
            embedding += nn.Dense(embedding.shape[-1], name="map_label")(scaled)
        width = self.model_channels * self.channel_mult_emb
        for layer in ("map_layer0", "map_layer1"):
            embedding = nn.silu(nn.Dense(width, name=layer)(embedding))
        return embedding

    def _noise(self, time: Float[Array, " b"]) -> Float[Array, "b w"]:
        width = self.model_channels * self.channel_mult_noise
        if self.embedding_type == "positional":
            return timestep_embedding(time, width, shift=1.0, cosines_first=False)
        # Random Fourier features (Tancik et al. 2020), a buffer of the checkpoint.
        frequencies = self.param("map_noise.freqs", nn.initializers.normal(16.0), (width // 2,))
        angles = time[:, None] * (2 * jnp.pi * frequencies)[None]
        return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)

    def _check(self) -> None:
        supported = {
            "embedding_type": ("positional", "fourier"),
            "encoder_type": ("standard", "skip", "residual"),
            "decoder_type": ("standard", "skip"),
        }
        for option, values in supported.items():
            if getattr(self, option) not in values:
                raise ValueError(
                    f"{option} = {getattr(self, option)!r} is not known; known are"
                    f" {', '.join(values)}."
                )


class DhariwalUNet(_Options):
    """`DhariwalUNet` of NVlabs/edm: the ADM U-Net of Dhariwal and Nichol (2021)."""

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        time: Float[Array, " b"],
        cond: Int[Array, " b"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "b h w o"]:
        """Inputs [b h w c] at times [b] -> [b h w out_channels].

        cond: class labels [b] where label_dim is set, else None. Raises ValueError for labels that
        do not go with label_dim.
        """
        embedding = self._embedding(time, cond)

        def block(name: str, h: Array, features: int, **more: Any) -> Array:
            module = Block(features, **more, dropout=self.dropout, name=name)
            return module(h, embedding, train=train)

        h, skips, width = x, [], self.model_channels * self.channel_mult[0]
        for level, mult in enumerate(self.channel_mult):
            size = self.size(level)
            if level == 0:
                h = nn.Conv(width, (3, 3), name=f"enc.{size}_conv")(h)
            else:
                h = block(f"enc.{size}_down", h, width, direction="down")
            skips.append(h)
            width = self.model_channels * mult
            for index in range(self.num_blocks):
                h = block(f"enc.{size}_block{index}", h, width, attention=self.attends(level))
                skips.append(h)
        for level, mult in reversed(list(enumerate(self.channel_mult))):
            size, h = self.size(level), self.enter(block, level, h, width)
            width = self.model_channels * mult
            for index in range(self.num_blocks + 1):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = block(f"dec.{size}_block{index}", h, width, attention=self.attends(level))
        h = nn.silu(group_norm("out_norm", groups=groups_of(width))(h))
        return nn.Conv(self.out_channels, (3, 3), name="out_conv")(h)

    def _embedding(self, time: Float[Array, " b"], cond: Array | None) -> Float[Array, "b e"]:
        labels, width = self.one_hot(cond), self.model_channels * self.channel_mult_emb
        embedding = timestep_embedding(time * self.time_scale, self.model_channels)
        embedding = nn.silu(nn.Dense(width, name="map_layer0")(embedding))
        embedding = nn.Dense(width, name="map_layer1")(embedding)
        if labels is not None:
            embedding += nn.Dense(width, use_bias=False, name="map_label")(labels)
        return nn.silu(embedding)

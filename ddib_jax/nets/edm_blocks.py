"""The blocks of NVlabs/edm's networks (Karras et al. 2022) in linen, parameter for parameter."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ddib_jax.nets.layers import Attending, group_norm

_NHWC = ("NHWC", "HWIO", "NHWC")


def groups_of(channels: int) -> int:
    """The number of groups of a norm: 32, or fewer so that a group has 4 channels at least."""
    return min(32, channels // 4)


def resample(
    x: Float[Array, "b h w c"],
    taps: Sequence[int],
    direction: str,
    *,
    padding: int | None = None,
) -> Float[Array, "b k l c"]:
    """Half ("down") or twice ("up") the resolution by a separable filter, channel by channel.

    taps: the filter along one axis, symmetric: (1, 1) is the mean of 2 x 2 pixels, (1, 3, 3, 1) the
    smoother FIR filter of NCSN++ (Song et al. 2021). padding: zeros around the image, in pixels;
    None takes as many as halve or double the resolution exactly.
    """
    line = jnp.asarray(taps, x.dtype)
    kernel = jnp.outer(line, line) / line.sum() ** 2
    border = (len(taps) - 1) // 2 if padding is None else padding
    if direction == "up":
        # A transposed convolution, written as a convolution of the image with zeros between its
        # pixels (lhs_dilation). Only every fourth tap meets a pixel, so a gain of 4 keeps the mean;
        # padding p of the transposed convolution is len - 1 - p of this one; and symmetric taps
        # need not be flipped.
        kernel, border = 4 * kernel, len(taps) - 1 - border
    strides, dilation = ((1, 1), (2, 2)) if direction == "up" else ((2, 2), (1, 1))
    return jax.lax.conv_general_dilated(
        x,
        jnp.tile(kernel[:, :, None, None], (1, 1, 1, x.shape[-1])),
        strides,
        [(border, border)] * 2,
        lhs_dilation=dilation,
        dimension_numbers=_NHWC,
        feature_group_count=x.shape[-1],
    )


class Block(Attending):
    """`UNetBlock`: a residual block modulated by an embedding, then attention.

    direction: "down" or "up" resamples after the first norm, by the filter `taps`. project: a
    block that resamples has a convolution on its skip. adaptive: the embedding scales and shifts
    the second norm, else it is added before it. skip_scale multiplies every sum of a residual and
    its input: sqrt(1/2) keeps the variance. heads: of the attention; None is one for 64 channels.
    """

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
    def __call__(
        self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"], *, train: bool
    ) -> Float[Array, "b k l f"]:
        h = self._resample(nn.silu(self._norm("norm0", x.shape[-1])(x)))
        h = nn.Conv(self.features, (3, 3), name="conv0")(h)
        width = self.features * (2 if self.adaptive else 1)
        shift = nn.Dense(width, name="affine")(embedding)[:, None, None]
        norm = self._norm("norm1", self.features)
        if self.adaptive:
            scale, shift = jnp.split(shift, 2, axis=-1)
            h = norm(h) * (1 + scale) + shift
        else:
            h = norm(h + shift)
        h = nn.Dropout(self.dropout, deterministic=not train)(nn.silu(h))
        h = nn.Conv(self.features, (3, 3), name="conv1")(h)
        skip = self._resample(x)
        if x.shape[-1] != self.features or (self.direction and self.project):
            skip = nn.Conv(self.features, (1, 1), name="skip")(skip)
        x = (h + skip) * self.skip_scale
        return self._attention(x) if self.attention else x

    def _norm(self, name: str, channels: int) -> nn.GroupNorm:
        return group_norm(name, groups=groups_of(channels), eps=self.eps)

    def _resample(self, x: Array) -> Array:
        return x if self.direction is None else resample(x, self.taps, self.direction)

    def _attention(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        b, height, width, c = x.shape
        heads = c // 64 if self.heads is None else self.heads
        qkv = nn.Conv(3 * c, (1, 1), name="qkv")(self._norm("norm2", c)(x))
        # The 3c channels are [heads c/heads 3] here: q, k and v alternate from channel to channel.
        qkv = qkv.reshape(b, height * width, heads, c // heads, 3)
        h = self.attend(qkv[..., 0], qkv[..., 1], qkv[..., 2])
        h = nn.Conv(c, (1, 1), name="proj")(h.reshape(b, height, width, c))
        return (h + x) * self.skip_scale


class FusedDown(nn.Module):
    """A 3 x 3 convolution, then the filter `taps` that halves the resolution.

    The image is padded once for both, and the bias comes last, as in NVlabs/edm
    (`fused_resample`): at the borders this is not what padding each of them would give.
    """

    features: int
    taps: Sequence[int]

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h/2 w/2 f"]:
        init = nn.initializers.lecun_normal()
        kernel = self.param("kernel", init, (3, 3, x.shape[-1], self.features))
        border = 1 + (len(self.taps) - 1) // 2
        h = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), [(border, border)] * 2, dimension_numbers=_NHWC
        )
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return resample(h, self.taps, "down", padding=0) + bias

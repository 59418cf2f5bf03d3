"""EfficientNet-Lite0 in linen: an eye for pictures, trained on ImageNet, whose features Frechet
distances are taken of.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

SIZE = 224
FEATURES = 1280


class Stage(NamedTuple):
    """Blocks of one kind: how many, the side of their kernels, the stride of the first, how far
    they widen, and their channels out.
    """

    blocks: int
    kernel: int
    stride: int
    expand: int
    out: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class FrozenNorm(nn.Module):
    """Batch normalisation by statistics that no longer change."""

    epsilon: float = 1e-3

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Feature maps -> feature maps."""
        one, nought = nn.initializers.ones, nn.initializers.zeros
        scale, bias, mean, variance = (
            self.param(name, init, x.shape[-1:])
            for name, init in (
                ("scale", one),
                ("bias", nought),
                ("running_mean", nought),
                ("running_var", one),
            )
        )
        factor = scale * jax.lax.rsqrt(variance + self.epsilon)
        return x * factor + (bias - mean * factor)


class DepthwiseConv(nn.Module):
    """A convolution of every channel by itself, "SAME" padded, as a sum of shifted images: on CPUs
    7 to 50 times faster than XLA's grouped convolution.
    """

    side: int
    stride: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b k l c"]:
        """Feature maps -> feature maps, a `stride`-th as high and wide."""
        kernel = self.param(
            "kernel", nn.initializers.lecun_normal(), (self.side, self.side, 1, x.shape[-1])
        )
        sizes = [-(-size // self.stride) for size in x.shape[1:3]]
        rooms = [
            max((made - 1) * self.stride + self.side - size, 0)
            for made, size in zip(sizes, x.shape[1:3], strict=True)
        ]
        x = jnp.pad(x, ((0, 0), *((room // 2, room - room // 2) for room in rooms), (0, 0)))
        ends = [(made - 1) * self.stride + 1 for made in sizes]
        offsets = [(i, j) for i in range(self.side) for j in range(self.side)]
        return sum(
            x[:, i : i + ends[0] : self.stride, j : j + ends[1] : self.stride] * kernel[i, j, 0]
            for i, j in offsets
        )


class EfficientNetLite0(nn.Module):
    """The EfficientNet without squeeze-and-excitation and with ReLU6 (Tan and Le 2019; its Lite
    variant, Liu 2020).

    Submodules bear the names of their twins in torch. NHWC, TensorFlow's "SAME" padding; any image
    is resized to 224 pixels.
    """

    classes: int = 1000

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w 3"]
    ) -> tuple[Float[Array, "b k"], Float[Array, "b 1280"]]:
        """Images in [-1, 1] -> logits of ImageNet's classes, and the pooled features that they are
        linear in.
        """
        x = jax.image.resize(x, (len(x), SIZE, SIZE, 3), "bilinear")
        x = (127.5 * x + 0.5) / 128  # (byte - 127) / 128
        h = self._conv(x, 32, 3, 2, "_conv_stem", "_bn0")
        index = 0
        for stage in STAGES:
            for place in range(stage.blocks):
                h = self._block(h, stage, stage.stride if place == 0 else 1, f"_blocks.{index}")
                index += 1
        features = self._conv(h, FEATURES, 1, 1, "_conv_head", "_bn1").mean((1, 2))
        return nn.Dense(self.classes, name="_fc")(features), features

    def _block(self, x: Array, stage: Stage, stride: int, name: str) -> Array:
        """Widen, convolve every channel by itself, narrow (Sandler et al. 2018)."""
        wide = stage.expand * x.shape[-1]
        h = (
            self._conv(x, wide, 1, 1, f"{name}._expand_conv", f"{name}._bn0")
            if stage.expand > 1
            else x
        )
        h = DepthwiseConv(stage.kernel, stride, name=f"{name}._depthwise_conv")(h)
        h = nn.relu6(FrozenNorm(name=f"{name}._bn1")(h))
        h = FrozenNorm(name=f"{name}._bn2")(
            nn.Conv(stage.out, (1, 1), use_bias=False, name=f"{name}._project_conv")(h)
        )
        return x + h if x.shape == h.shape else h

    def _conv(self, x: Array, width: int, side: int, stride: int, conv: str, norm: str) -> Array:
        h = nn.Conv(width, (side, side), (stride, stride), use_bias=False, name=conv)(x)
        return nn.relu6(FrozenNorm(name=norm)(h))

"""LPIPS on AlexNet in linen: how far two pictures are apart to the eye."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

SMALLEST = 31
"""Pixels of a side, below which nothing is left of a picture at the network's third layer."""

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""ImageNet's mean and deviation of values in [-1, 1]."""
_EPSILON = 1e-10
_LAYERS = (
    ("features.0", 64, 11, 4, 2),
    ("features.3", 192, 5, 1, 2),
    ("features.6", 384, 3, 1, 1),
    ("features.8", 256, 3, 1, 1),
    ("features.10", 256, 3, 1, 1),
)
"""Name, channels, side of the kernel, stride and border of each convolution."""
_POOLED = (0, 1)
"""Which convolutions are followed by a maximum over 3 x 3 pixels, every other one."""


class LPIPS(nn.Module):
    """Learned perceptual image patch similarity, version 0.1 (Zhang et al. 2018), of AlexNet.

    sum_l mean_yx w_l . (u_l(a) - u_l(b))^2, of the activations u_l behind each of five
    convolutions, divided by their length over the channels; w_l >= 0 was fitted to people's
    judgements. Submodules bear the names of torchvision's AlexNet and of the package lpips. NHWC.
    """

    @nn.compact
    def __call__(
        self, first: Float[Array, "b h w 3"], second: Float[Array, "b h w 3"]
    ) -> Float[Array, " b"]:
        """The distances of two sets of images in [-1, 1], of at least `SMALLEST` pixels a side."""
        count = len(first)
        h = (jnp.concatenate([first, second]) - jnp.asarray(_SHIFT)) / jnp.asarray(_SCALE)
        total = jnp.zeros(count)
        for place, (name, width, side, stride, border) in enumerate(_LAYERS):
            around = ((border, border), (border, border))
            h = nn.relu(nn.Conv(width, (side, side), (stride, stride), around, name=name)(h))
            length = jnp.sqrt(jnp.sum(h**2, axis=-1, keepdims=True))
            unit = h / (length + _EPSILON)
            square = (unit[:count] - unit[count:]) ** 2
            head = nn.Conv(1, (1, 1), use_bias=False, name=f"lin{place}.model.1")
            total += head(square).mean(axis=(1, 2, 3))
            if place in _POOLED:
                h = nn.max_pool(h, (3, 3), (2, 2))
        return total

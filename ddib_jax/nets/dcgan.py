"""The networks of DCGAN (Radford et al. 2016) in linen: images of 64 pixels by five transposed
convolutions, of 32 by four, of 128 by six.

Submodules bear the names of their twins in PyTorch's DCGAN example (`main.0`, `main.1` ...). NHWC;
images in [-1, 1].
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ddib_jax.nets.cyclegan import UpConv

_EPSILON = 1e-5
_INIT = nn.initializers.normal(0.02)


def _norm(train: bool, axis_name: str | None, name: str) -> nn.BatchNorm:
    scale = lambda key, shape, dtype=jnp.float32: 1 + 0.02 * jax.random.normal(key, shape, dtype)
    return nn.BatchNorm(
        not train, momentum=0.9, epsilon=_EPSILON, scale_init=scale, axis_name=axis_name, name=name
    )


def _levels(size: int) -> int:
    """Doublings from 4 pixels; ValueError for a size that is not 16, 32, 64 ..."""
    if size < 16 or size & (size - 1):
        raise ValueError(f"DCGAN makes images of 16, 32, 64 ... pixels, not of {size}.")
    return size.bit_length() - 3


class DCGANGenerator(nn.Module):
    """Latents -> images. `normalised` is batch normalisation, over all devices of `axis_name`;
    `folded` weights have none and a bias instead.
    """

    size: int = 64
    out_channels: int = 3
    width: int = 64
    latent: int = 100
    normalised: bool = True
    axis_name: str | None = None

    @nn.compact
    def __call__(self, z: Float[Array, "b z"], train: bool = False) -> Float[Array, "b s s o"]:
        """Latents N(0, I) [b latent] -> images in [-1, 1]."""
        levels = _levels(self.size)
        width = self.width * 2 ** (levels - 1)
        kernel = self.param("main.0", _INIT, (4, 4, self.latent, width))
        h = jnp.einsum("bz,hwzf->bhwf", z, kernel)
        h = nn.relu(self._after(h, 0, train))
        for level in range(1, levels):
            width //= 2
            h = UpConv(width, use_bias=False, name=f"main.{3 * level}")(h)
            h = nn.relu(self._after(h, level, train))
        return jnp.tanh(UpConv(self.out_channels, use_bias=False, name=f"main.{3 * levels}")(h))

    def _after(self, h: Array, level: int, train: bool) -> Array:
        name = f"main.{3 * level + 1}"
        if self.normalised:
            return _norm(train, self.axis_name, name)(h)
        return h + self.param(name, nn.initializers.zeros, (h.shape[-1],))


class DCGANDiscriminator(nn.Module):
    """Images -> one logit each, high for real ones."""

    size: int = 64
    width: int = 64
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "b s s c"], train: bool = False) -> Float[Array, " b"]:
        """Images in [-1, 1] -> logits; ValueError for images of another size."""
        if x.shape[1:3] != (self.size, self.size):
            raise ValueError(
                f"This discriminator judges images of {self.size} x {self.size}; these are"
                f" {x.shape[1]} x {x.shape[2]}."
            )
        conv = lambda features, name, stride, padding: nn.Conv(
            features, (4, 4), stride, padding=padding, use_bias=False, kernel_init=_INIT, name=name
        )
        h = nn.leaky_relu(conv(self.width, "main.0", 2, 1)(x), 0.2)
        for level in range(1, _levels(self.size)):
            h = conv(self.width * 2**level, f"main.{3 * level - 1}", 2, 1)(h)
            h = nn.leaky_relu(_norm(train, self.axis_name, f"main.{3 * level}")(h), 0.2)
        return conv(1, f"main.{3 * _levels(self.size) - 1}", 1, 0)(h)[:, 0, 0, 0]


def folded(params: Mapping[str, Any], stats: Mapping[str, Any]) -> dict[str, Any]:
    """A trained generator's weights with its batch normalisation folded into them: those of the
    same network, not `normalised`.
    """
    weights = dict(params)
    for name, moments in stats.items():
        before = f"main.{int(name.split('.')[1]) - 1}"
        norm = params[name]
        scale = norm["scale"] / jnp.sqrt(moments["var"] + _EPSILON)
        weights[before] = jax.tree.map(lambda kernel, scale=scale: kernel * scale, params[before])
        weights[name] = norm["bias"] - moments["mean"] * scale
    return weights

"""The networks of DCGAN (Radford et al. 2016) in linen.

Images of 64 pixels are made by five transposed convolutions, of 32 by four, of 128 by six.
Submodules bear the names of their twins in PyTorch's DCGAN example (`main.0`, `main.1` ...), whose
numbers are positions in a `Sequential` of convolution, norm and activation. NHWC; images in
[-1, 1].
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ddib_jax.nets.cyclegan import UpConv

_EPSILON = 1e-5
_INIT = nn.initializers.normal(0.02)
_SLOPE = 0.2


def _scale_init(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
    """Scales of norms ~ N(1, .02^2), as PyTorch's example draws them."""
    return 1 + 0.02 * jax.random.normal(key, shape, dtype)


def _batch_norm(name: str, *, train: bool, axis_name: str | None) -> nn.BatchNorm:
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,  # torch calls this .1: the weight of the new statistics
        epsilon=_EPSILON,
        scale_init=_scale_init,
        axis_name=axis_name,
        name=name,
    )


def _doublings(size: int) -> int:
    """How often 4 pixels double to `size`; ValueError for a size that is not 16, 32, 64 ..."""
    if size < 16 or size & (size - 1):
        raise ValueError(f"DCGAN makes images of 16, 32, 64 ... pixels, not of {size}.")
    return size.bit_length() - 3


class DCGANGenerator(nn.Module):
    """Latents -> images of `size` x `size` pixels.

    normalised: with batch normalisation, its moments taken over all devices of `axis_name` in
    training; else each norm is a bias alone, for weights that `fold_batch_norm` made.
    """

    size: int = 64
    out_channels: int = 3
    width: int = 64
    latent: int = 100
    normalised: bool = True
    axis_name: str | None = None

    @nn.compact
    def __call__(self, z: Float[Array, "b z"], *, train: bool = False) -> Float[Array, "b s s o"]:
        """Latents [b latent] ~ N(0, I) -> images in [-1, 1]; ValueError for an unknown size."""
        levels = _doublings(self.size)
        width = self.width * 2 ** (levels - 1)
        # A transposed convolution of one pixel to 4 x 4 is a matrix product.
        kernel = self.param("main.0", _INIT, (4, 4, self.latent, width))
        h = jnp.einsum("bz,hwzf->bhwf", z, kernel)
        h = nn.relu(self._normalise(h, 0, train=train))
        for level in range(1, levels):
            width //= 2
            h = UpConv(width, use_bias=False, name=f"main.{3 * level}")(h)
            h = nn.relu(self._normalise(h, level, train=train))
        return jnp.tanh(UpConv(self.out_channels, use_bias=False, name=f"main.{3 * levels}")(h))

    def _normalise(self, h: Array, level: int, *, train: bool) -> Array:
        name = f"main.{3 * level + 1}"
        if self.normalised:
            return _batch_norm(name, train=train, axis_name=self.axis_name)(h)
        return h + self.param(name, nn.initializers.zeros, (h.shape[-1],))


class DCGANDiscriminator(nn.Module):
    """Images -> one logit each, high for real ones."""

    size: int = 64
    width: int = 64
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "b s s c"], *, train: bool = False) -> Float[Array, " b"]:
        """Images [b size size c] in [-1, 1] -> logits [b]; ValueError for another size."""
        if x.shape[1:3] != (self.size, self.size):
            raise ValueError(
                f"This discriminator judges images of {self.size} x {self.size}; these are"
                f" {x.shape[1]} x {x.shape[2]}."
            )

        def conv(features: int, name: str, *, stride: int, padding: int) -> nn.Conv:
            options = {"use_bias": False, "kernel_init": _INIT, "name": name}
            return nn.Conv(features, (4, 4), stride, padding=padding, **options)

        levels = _doublings(self.size)
        h = nn.leaky_relu(conv(self.width, "main.0", stride=2, padding=1)(x), _SLOPE)
        for level in range(1, levels):
            h = conv(self.width * 2**level, f"main.{3 * level - 1}", stride=2, padding=1)(h)
            norm = _batch_norm(f"main.{3 * level}", train=train, axis_name=self.axis_name)
            h = nn.leaky_relu(norm(h), _SLOPE)
        # A 4 x 4 kernel on the 4 x 4 map that is left: one number an image.
        return conv(1, f"main.{3 * levels - 1}", stride=1, padding=0)(h)[:, 0, 0, 0]


def fold_batch_norm(params: Mapping[str, Any], stats: Mapping[str, Any]) -> dict[str, Any]:
    """A trained generator's weights with its batch normalisation folded into the convolutions.

    params, stats: the collections `params` and `batch_stats` of a `normalised` generator. Returns
    the parameters of the same generator with `normalised=False`; it answers as the other one does
    outside training.
    """
    weights = dict(params)
    for name, moments in stats.items():
        convolution = f"main.{int(name.split('.')[1]) - 1}"  # it stands right before its norm
        norm = params[name]
        scale = norm["scale"] / jnp.sqrt(moments["var"] + _EPSILON)
        weights[convolution] = jax.tree.map(
            lambda kernel, scale=scale: kernel * scale, params[convolution]
        )
        weights[name] = norm["bias"] - moments["mean"] * scale
    return weights

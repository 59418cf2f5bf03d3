"""The networks of CycleGAN and pix2pix (Zhu et al. 2017; Isola et al. 2017) in linen.

Submodules of the ResNet generator and of the discriminator bear the names of their twins in
pytorch-CycleGAN-and-pix2pix (`model.10.conv_block.1` ...), so that a parameter's path, joined with
dots, is its key there. NHWC throughout; images in [-1, 1].
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

_INIT = nn.initializers.normal(0.02)


def instance_norm(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Every channel of every image to mean 0 and variance 1 (Ulyanov et al. 2016),
    nothing learnt.
    """
    centred = x - x.mean((1, 2), keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(centred**2, (1, 2), keepdims=True) + 1e-5)


def _conv(features: int, size: int, name: str, *, stride: int = 1, padding: int = 0) -> nn.Conv:
    return nn.Conv(features, (size, size), stride, padding=padding, kernel_init=_INIT, name=name)


def _reflect(x: Array, border: int) -> Array:
    return jnp.pad(x, ((0, 0), (border, border), (border, border), (0, 0)), mode="reflect")


class UpConv(nn.Module):
    """A transposed convolution of stride 2 that doubles the resolution: torch's kernel 4 with
    padding 1, or 3 with padding 1 and output padding 1.

    Each of the four phases of the output is a convolution by a quarter of the kernel, and is
    written as a product of 2 x 2 patches with it. XLA's own dilated convolution is three times as
    fast forward on a CPU, but its gradient is eleven times slower (128 to 64 channels, 16 x 16,
    batch 16: .016 s and 1.1 s, here .046 s and .099 s).
    """

    features: int
    size: int = 4
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w f"]:
        kernel = self.param("kernel", _INIT, (self.size, self.size, x.shape[-1], self.features))
        kernel = jnp.pad(kernel, ((0, 4 - self.size),) * 2 + ((0, 0),) * 2)
        b, h, w, c = x.shape
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))

        def phase(r: int, s: int) -> Array:
            """Rows 2q + r and columns 2p + s of the output: of input rows q - 1 + r and q + r by
            kernel rows 3 - r and 1 - r, and so for columns.
            """
            patches = jnp.concatenate(
                [padded[:, r + i : r + i + h, s + j : s + j + w] for i in (0, 1) for j in (0, 1)],
                axis=-1,
            )
            return patches @ kernel[3 - r :: -2, 3 - s :: -2].reshape(4 * c, self.features)

        y = jnp.stack([phase(r, s) for r in (0, 1) for s in (0, 1)], axis=3).reshape(
            b, h, w, 2, 2, self.features
        )
        y = y.transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, self.features)
        return (
            y + self.param("bias", nn.initializers.zeros, (self.features,)) if self.use_bias else y
        )


class ResnetGenerator(nn.Module):
    """The generator of CycleGAN: two halvings, residual blocks, two doublings (Johnson et al.
    2016); 9 blocks for 256 pixels, 6 below.
    """

    out_channels: int = 3
    width: int = 64
    blocks: int = 9

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w o"]:
        """Images in [-1, 1] -> images in [-1, 1]; ValueError where the sides do not divide by 4 or
        are below 8.
        """
        if x.shape[1] % 4 or x.shape[2] % 4 or min(x.shape[1:3]) < 8:
            raise ValueError(
                "The ResNet generator needs sides of at least 8 that divide by 4; the images are"
                f" {x.shape[1]} x {x.shape[2]}."
            )
        h = nn.relu(instance_norm(_conv(self.width, 7, "model.1")(_reflect(x, 3))))
        for place, width in ((4, 2), (7, 4)):
            h = nn.relu(
                instance_norm(
                    _conv(width * self.width, 3, f"model.{place}", stride=2, padding=1)(h)
                )
            )
        for block in range(self.blocks):
            name = f"model.{10 + block}.conv_block"
            inner = nn.relu(instance_norm(_conv(4 * self.width, 3, f"{name}.1")(_reflect(h, 1))))
            h = h + instance_norm(_conv(4 * self.width, 3, f"{name}.5")(_reflect(inner, 1)))
        for step, width in enumerate((2, 1)):
            h = nn.relu(
                instance_norm(
                    UpConv(width * self.width, 3, name=f"model.{10 + self.blocks + 3 * step}")(h)
                )
            )
        return jnp.tanh(_conv(self.out_channels, 7, f"model.{17 + self.blocks}")(_reflect(h, 3)))


class UnetGenerator(nn.Module):
    """The generator of pix2pix: `downs` halvings and as many doublings, with skips; the images'
    sides are multiples of 2^downs.
    """

    out_channels: int = 3
    width: int = 64
    downs: int = 5

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w o"]:
        """Images in [-1, 1] -> images in [-1, 1]; ValueError where the sides do not divide."""
        unit = 2**self.downs
        if x.shape[1] % unit or x.shape[2] % unit:
            raise ValueError(
                f"The U-Net generator of {self.downs} halvings needs sides that divide by {unit};"
                f" the images are {x.shape[1]} x {x.shape[2]}."
            )
        widths = [self.width * min(8, 2**level) for level in range(self.downs)]
        h, skips = x, []
        for level, width in enumerate(widths):
            h = _conv(width, 4, f"down.{level}", stride=2, padding=1)(
                h if level == 0 else nn.leaky_relu(h, 0.2)
            )
            h = h if level in (0, self.downs - 1) else instance_norm(h)
            skips.append(h)
        h = skips.pop()
        for level in reversed(range(1, self.downs)):
            h = instance_norm(UpConv(widths[level - 1], name=f"up.{level}")(nn.relu(h)))
            h = jnp.concatenate([skips.pop(), h], axis=-1)
        return jnp.tanh(UpConv(self.out_channels, name="up.0")(nn.relu(h)))


class PatchDiscriminator(nn.Module):
    """PatchGAN: one logit for every overlapping patch, of 70 x 70 pixels with three halvings (Isola
    et al. 2017).
    """

    width: int = 64
    layers: int = 3

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b p q"]:
        """Images -> logits of patches, high for real ones; ValueError for images that leave no
        patch.
        """
        least = 2 ** (self.layers + 1) + 2**self.layers
        if min(x.shape[1:3]) < least:
            raise ValueError(
                f"A discriminator of {self.layers} halvings needs images of at least {least}"
                f" pixels; these are {x.shape[1]} x {x.shape[2]}."
            )
        h, place = nn.leaky_relu(_conv(self.width, 4, "model.0", stride=2, padding=1)(x), 0.2), 2
        for level in range(1, self.layers + 1):
            width = self.width * min(8, 2**level)
            h = _conv(
                width, 4, f"model.{place}", stride=2 if level < self.layers else 1, padding=1
            )(h)
            h, place = nn.leaky_relu(instance_norm(h), 0.2), place + 3
        return _conv(1, 4, f"model.{place}", padding=1)(h)[..., 0]

"""The networks of CycleGAN and pix2pix (Zhu et al. 2017; Isola et al. 2017) in linen.

Submodules of the ResNet generator and of the discriminator bear the names of their twins in
pytorch-CycleGAN-and-pix2pix (`model.10.conv_block.1` ...), so that a parameter's path, joined with
dots, is its key there. Their numbers are positions in torch's `Sequential`, where padding, norm and
activation are entries too, without parameters. NHWC throughout; images in [-1, 1].
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

_INIT = nn.initializers.normal(0.02)
_SLOPE = 0.2


def instance_norm(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Every channel of every image to mean 0 and variance 1 (Ulyanov et al. 2016).

    Nothing is learnt; 1e-5 is torch's epsilon.
    """
    centred = x - x.mean((1, 2), keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(centred**2, (1, 2), keepdims=True) + 1e-5)


def _conv(features: int, size: int, name: str, *, stride: int = 1, padding: int = 0) -> nn.Conv:
    return nn.Conv(features, (size, size), stride, padding=padding, kernel_init=_INIT, name=name)


def _reflect(x: Array, border: int) -> Array:
    return jnp.pad(x, ((0, 0), (border, border), (border, border), (0, 0)), mode="reflect")


class UpConv(nn.Module):
    """A transposed convolution of stride 2 that doubles the resolution: [b h w c] -> [b 2h 2w f].

    It is torch's of kernel size 4 and padding 1, or of size 3, padding 1 and output padding 1, and
    its kernel is in their orientation. Each of the four phases of the output (even and odd rows,
    even and odd columns) is a convolution by a quarter of the kernel, written as a product of 2 x 2
    patches with it. XLA's own dilated convolution is three times as fast forward on a CPU, but its
    gradient is eleven times slower (128 to 64 channels, 16 x 16, batch 16: .016 s and 1.1 s, here
    .046 s and .099 s).
    """

    features: int
    size: int = 4
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w f"]:
        kernel = self.param("kernel", _INIT, (self.size, self.size, x.shape[-1], self.features))
        # Size 3 with output padding 1 is size 4 whose last row and column are 0.
        kernel = jnp.pad(kernel, ((0, 4 - self.size),) * 2 + ((0, 0),) * 2)
        b, h, w, c = x.shape
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))

        def phase(r: int, s: int) -> Array:
            """Rows 2q + r and columns 2p + s of the output [b h w f]."""
            # Input row i reaches output row o = 2i - 1 + k by kernel row k (stride 2, padding 1).
            # So output row 2q + r is made of input row q - 1 + r by kernel row 3 - r, and of input
            # row q + r by kernel row 1 - r: as the input row rises by one the kernel row falls by
            # two, which is why the kernel is indexed backwards. Columns likewise. Row i of the
            # input is row i + 1 of `padded`.
            patches = [
                padded[:, r + i : r + i + h, s + j : s + j + w] for i in (0, 1) for j in (0, 1)
            ]
            quarter = kernel[3 - r :: -2, 3 - s :: -2].reshape(4 * c, self.features)
            return jnp.concatenate(patches, axis=-1) @ quarter

        phases = jnp.stack([phase(r, s) for r in (0, 1) for s in (0, 1)], axis=3)
        # Interleave: [b q p r s f] -> rows 2q + r, columns 2p + s.
        y = phases.reshape(b, h, w, 2, 2, self.features).transpose(0, 1, 3, 2, 4, 5)
        y = y.reshape(b, 2 * h, 2 * w, self.features)
        if not self.use_bias:
            return y
        return y + self.param("bias", nn.initializers.zeros, (self.features,))


class ResnetGenerator(nn.Module):
    """The generator of CycleGAN: two halvings, residual blocks, two doublings.

    The architecture is that of Johnson et al. (2016). CycleGAN has 9 blocks for images of 256
    pixels and 6 below.
    """

    out_channels: int = 3
    width: int = 64
    blocks: int = 9

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w o"]:
        """Images in [-1, 1] -> images in [-1, 1].

        Raises ValueError where the sides do not divide by 4 or are below 8.
        """
        if x.shape[1] % 4 or x.shape[2] % 4 or min(x.shape[1:3]) < 8:
            raise ValueError(
                "The ResNet generator needs sides of at least 8 that divide by 4; the images are"
                f" {x.shape[1]} x {x.shape[2]}."
            )
        # Reflected borders, as in the reference: a border of zeros shows in the generated images.
        h = nn.relu(instance_norm(_conv(self.width, 7, "model.1")(_reflect(x, 3))))
        for index, factor in ((4, 2), (7, 4)):
            down = _conv(factor * self.width, 3, f"model.{index}", stride=2, padding=1)
            h = nn.relu(instance_norm(down(h)))
        for block in range(self.blocks):
            name = f"model.{10 + block}.conv_block"
            inner = nn.relu(instance_norm(_conv(4 * self.width, 3, f"{name}.1")(_reflect(h, 1))))
            h = h + instance_norm(_conv(4 * self.width, 3, f"{name}.5")(_reflect(inner, 1)))
        first_up = 10 + self.blocks
        for index, factor in ((first_up, 2), (first_up + 3, 1)):
            h = nn.relu(instance_norm(UpConv(factor * self.width, 3, name=f"model.{index}")(h)))
        return jnp.tanh(_conv(self.out_channels, 7, f"model.{first_up + 7}")(_reflect(h, 3)))


class UnetGenerator(nn.Module):
    """The generator of pix2pix: `downs` halvings and as many doublings, with skips between them."""

    out_channels: int = 3
    width: int = 64
    downs: int = 5

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w o"]:
        """Images in [-1, 1] -> images in [-1, 1].

        Raises ValueError where the sides do not divide by 2^downs.
        """
        multiple = 2**self.downs
        if x.shape[1] % multiple or x.shape[2] % multiple:
            raise ValueError(
                f"The U-Net generator of {self.downs} halvings needs sides that divide by"
                f" {multiple}; the images are {x.shape[1]} x {x.shape[2]}."
            )
        widths = [self.width * min(8, 2**level) for level in range(self.downs)]
        h, skips = x, []
        for level, width in enumerate(widths):
            h = h if level == 0 else nn.leaky_relu(h, _SLOPE)
            h = _conv(width, 4, f"down.{level}", stride=2, padding=1)(h)
            # The innermost map may be a single pixel, which an instance norm would make 0; the
            # outermost is left as it is by the reference.
            h = h if level in (0, self.downs - 1) else instance_norm(h)
            skips.append(h)
        h = skips.pop()
        for level in reversed(range(1, self.downs)):
            h = instance_norm(UpConv(widths[level - 1], name=f"up.{level}")(nn.relu(h)))
            h = jnp.concatenate([skips.pop(), h], axis=-1)
        return jnp.tanh(UpConv(self.out_channels, name="up.0")(nn.relu(h)))


class PatchDiscriminator(nn.Module):
    """PatchGAN: one logit for every overlapping patch of an image (Isola et al. 2017).

    With three layers a patch has 70 x 70 pixels.
    """

    width: int = 64
    layers: int = 3

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b p q"]:
        """Images [b h w c] -> logits of their patches [b p q], high for real ones.

        Raises ValueError for images that are too small to hold a patch.
        """
        # The last two convolutions (size 4, padding 1, stride 1) take a pixel each from the map
        # that `layers` halvings leave.
        minimum = 3 * 2**self.layers
        if min(x.shape[1:3]) < minimum:
            raise ValueError(
                f"A discriminator of {self.layers} halvings needs images of at least {minimum}"
                f" pixels; these are {x.shape[1]} x {x.shape[2]}."
            )
        h = nn.leaky_relu(_conv(self.width, 4, "model.0", stride=2, padding=1)(x), _SLOPE)
        for level in range(1, self.layers + 1):
            width, stride = self.width * min(8, 2**level), 2 if level < self.layers else 1
            h = _conv(width, 4, f"model.{3 * level - 1}", stride=stride, padding=1)(h)
            h = nn.leaky_relu(instance_norm(h), _SLOPE)
        return _conv(1, 4, f"model.{3 * self.layers + 2}", padding=1)(h)[..., 0]

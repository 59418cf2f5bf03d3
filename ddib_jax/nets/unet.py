"""The ADM U-Net of Dhariwal and Nichol (2021) in linen, parameter for parameter."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from ddib_jax.nets.adm_blocks import ADM, conv
from ddib_jax.nets.layers import depth_to_space, group_norm, space_to_depth


class UNet(ADM):
    """The U-Net of openai/guided-diffusion (`UNetModel`), with its options under its names.

    attention_resolutions: heights of the feature maps that attend, in pixels of the network (after
    the stem). num_head_channels, where given, sets the width of a head; else num_heads counts them.
    learn_sigma doubles the output channels. patch_size > 1 is a space-to-depth stem, an addition:
    the network runs on [h/p, w/p] with p^2 times the channels. time_scale multiplies the time
    before its embedding (1 for time steps of a thousand, 16 for log(sigma) / 4). dtype is that of
    the computation; parameters stay float32. remat computes every block anew on the way back
    instead of keeping what it held (jax.checkpoint): less memory, a third more time.
    norm_num_groups, another addition, are the groups of every group normalisation, 32 in the
    reference. Of as many channels as groups the mean of each is divided out, and with it how much
    of a colour the first convolution put there; few groups keep it.
    """

    out_channels: int = 3
    num_classes: int | None = None
    learn_sigma: bool = False
    patch_size: int = 1

    def condition_spec(self) -> jax.ShapeDtypeStruct | None:
        """A label, or None for a network without classes."""
        return None if self.num_classes is None else jax.ShapeDtypeStruct((), jnp.int32)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        time: Float[Array, " b"],
        cond: Int[Array, " b"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "b h w o"]:
        """Inputs [b h w c] at times [b] -> [b h w out_channels], twice as many with learn_sigma.

        cond: class labels [b] where num_classes is set, else None. Raises ValueError where h or w
        does not divide by the stem and the stages, and where labels and num_classes do not go
        together.
        """
        self._check(x, cond)
        dtype, widths = jnp.dtype(self.dtype), self.widths()
        embedding = self.time_embedding(time)
        if self.num_classes is not None:
            width = 4 * self.model_channels
            labels = nn.Embed(self.num_classes, width, dtype=dtype, name="label_emb")
            embedding += labels(cond)
        skips = self.down(space_to_depth(x, self.patch_size), embedding, train=train)
        h = self.middle(skips[-1], embedding, train=train)
        block = 0
        for level, width in reversed(list(enumerate(widths))):
            for repeat in range(self.num_res_blocks + 1):
                name = f"output_blocks.{block}"
                # Within a block torch numbers the layers that there are, attention or not.
                layer = 1
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = self.residual(f"{name}.0", h, embedding, width, train=train)
                if h.shape[1] in self.attention_resolutions:
                    h = self.attention(f"{name}.{layer}", h)
                    layer += 1
                if level and repeat == self.num_res_blocks:
                    h = self.resample(f"{name}.{layer}", h, embedding, "up", train=train)
                block += 1
        channels = self.out_channels * (2 if self.learn_sigma else 1) * self.patch_size**2
        h = nn.silu(group_norm("out.0", groups=self.norm_num_groups)(h)).astype(dtype)
        return depth_to_space(conv(channels, 3, dtype, "out.2", zero=True)(h), self.patch_size)

    def _check(self, x: Array, cond: Array | None) -> None:
        multiple = self.patch_size * 2 ** (len(self.channel_mult) - 1)
        if x.shape[1] % multiple or x.shape[2] % multiple:
            raise ValueError(
                f"This U-Net needs heights and widths divisible by {multiple}; the images are"
                f" {x.shape[1]} x {x.shape[2]}."
            )
        if (cond is None) != (self.num_classes is None):
            labels = "no labels were given" if cond is None else "labels were given"
            classes = f"{self.num_classes} classes" if self.num_classes else "no classes"
            raise ValueError(
                f"The network has {classes} and {labels}; give labels to class-conditional models,"
                " and to those alone."
            )

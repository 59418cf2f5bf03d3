"""The network of a training with captions: a U-Net of Stable Diffusion's kind, a text encoder."""

import math
from typing import TYPE_CHECKING

from ddib_jax.nets import Captioned, CLIPText, UNet2DCondition
from ddib_jax.nets.unet2d_condition import DOWN, UP
from ddib_jax.text import LENGTH, Tokenizer

if TYPE_CHECKING:
    from ddib_jax.trainer.recipe import Recipe

HEAD = 16
"""Channels of a head of the text encoder; a head of the U-Net has at least 32."""


def captioned_network(
    recipe: "Recipe", shape: tuple[int, ...], tokenizer: Tokenizer | None, *, time_scale: float
) -> Captioned:
    """The network that the options of a recipe describe, for images of [h w c].

    tokenizer: of the captions; without one, the largest that the options allow is assumed.
    time_scale: what the U-Net multiplies its time by.
    """
    size, length, end = recipe.vocabulary, LENGTH, recipe.vocabulary - 1
    if tokenizer is not None:
        size, length, end = tokenizer.size, tokenizer.length, tokenizer.end
    dtype = "bfloat16" if recipe.bf16 else "float32"
    widths = tuple(recipe.model_channels * multiple for multiple in recipe.channel_mult)
    side = shape[0] // recipe.patch_size
    attends = [side // 2**level in recipe.attention_resolutions for level in range(len(widths))]
    kind = lambda table, attended: next(name for name in table if table[name] == attended)
    unet = UNet2DCondition(
        in_channels=shape[-1],
        out_channels=shape[-1],
        down_block_types=tuple(kind(DOWN, attended) for attended in attends),
        up_block_types=tuple(kind(UP, attended) for attended in reversed(attends)),
        block_out_channels=widths,
        layers_per_block=recipe.num_res_blocks,
        norm_num_groups=math.gcd(8, *widths),
        attention_head_dim=tuple(_heads(width) for width in widths),
        cross_attention_dim=recipe.text_width,
        dropout=recipe.dropout,
        text_length=length,
        patch_size=recipe.patch_size,
        time_scale=time_scale,
        dtype=dtype,
    )
    encoder = CLIPText(
        vocab_size=size,
        hidden_size=recipe.text_width,
        intermediate_size=4 * recipe.text_width,
        num_hidden_layers=recipe.text_layers,
        num_attention_heads=recipe.text_width // HEAD,
        max_position_embeddings=length,
        eos_token_id=end,
        dtype=dtype,
    )
    return Captioned(unet, encoder)


def _heads(width: int) -> int:
    """The largest number of heads of 32 channels or more that divides a width."""
    return next(heads for heads in range(max(width // 32, 1), 0, -1) if width % heads == 0)

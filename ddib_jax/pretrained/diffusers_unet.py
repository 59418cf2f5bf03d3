"""The ADM U-Net as diffusers' `UNet2DModel`: the same network under other names.

`UNet2DModel` is the U-Net of Ho et al. (2020), with scale-shift norms as an option; where an ADM
U-Net uses no more than that, its weights go there one to one.
"""

from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from ddib_jax.nets import UNet
from ddib_jax.pretrained.torch_names import to_torch
from ddib_jax.types import Params

RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
"""Layer of a residual block in guided-diffusion -> its name in diffusers."""
_ATTENTION = {"norm": "group_norm", "proj_out": "to_out.0"}
_LAST_WORDS = {"kernel": "weight", "scale": "weight", "bias": "bias"}


def to_diffusers(
    network: UNet, params: Params, *, in_channels: int, size: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The options of a `UNet2DModel` and its state dict, float32, in torch's layouts.

    in_channels, size: of the images that the network takes. With a patch stem the `UNet2DModel` is
    the network behind it: `pixel_unshuffle` and `pixel_shuffle` are the caller's, with channels
    moved last in each patch. Raises ValueError where diffusers has no such network.
    """
    if (
        network.resblock_updown
        or network.learn_sigma
        or network.num_classes is not None
        or not network.use_scale_shift_norm
    ):
        raise ValueError(
            "Only U-Nets with scale-shift norms and none of resblock_updown, learn_sigma and"
            " classes are written for diffusers."
        )
    widths = [int(mult * network.model_channels) for mult in network.channel_mult]
    if network.num_heads != 1 and network.num_head_channels is None:
        raise ValueError(
            "diffusers counts heads by their width; give num_head_channels in place of num_heads."
        )
    inner = size // network.patch_size
    attends = [inner // 2**level in network.attention_resolutions for level in range(len(widths))]
    options = {
        "sample_size": inner,
        "in_channels": in_channels * network.patch_size**2,
        "out_channels": network.out_channels * network.patch_size**2,
        "block_out_channels": tuple(widths),
        "layers_per_block": network.num_res_blocks,
        "down_block_types": tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attends),
        "up_block_types": tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)),
        "attention_head_dim": network.num_head_channels,
        "resnet_time_scale_shift": "scale_shift",
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "downsample_padding": 1,
        "norm_eps": 1e-5,
        "norm_num_groups": network.norm_num_groups,
        "attn_norm_num_groups": network.norm_num_groups,
    }
    names = block_names(len(widths), network.num_res_blocks, attends)
    state = {}
    for path, leaf in flatten_dict(params, sep="/").items():
        *modules, word = path.split("/")
        module, layer = renamed(names, ".".join(modules))
        state |= _tensors(module, layer, word, np.asarray(leaf, np.float32), network)
    return options, state


def block_names(levels: int, repeats: int, attends: list[bool]) -> dict[str, str]:
    """Name of every block of the ADM U-Net -> that of its twin in diffusers."""
    names = {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
        "middle_block.0": "mid_block.resnets.0",
        "middle_block.1": "mid_block.attentions.0",
        "middle_block.2": "mid_block.resnets.1",
        "out.0": "conv_norm_out",
        "out.2": "conv_out",
    }
    block = 1
    for level in range(levels):
        for repeat in range(repeats):
            names[f"input_blocks.{block}.0"] = f"down_blocks.{level}.resnets.{repeat}"
            names[f"input_blocks.{block}.1"] = f"down_blocks.{level}.attentions.{repeat}"
            block += 1
        if level < levels - 1:
            names[f"input_blocks.{block}.0.op"] = f"down_blocks.{level}.downsamplers.0.conv"
            block += 1
    for step, level in enumerate(reversed(range(levels))):
        for repeat in range(repeats + 1):
            name = f"output_blocks.{step * (repeats + 1) + repeat}"
            names[f"{name}.0"] = f"up_blocks.{step}.resnets.{repeat}"
            if attends[level]:
                names[f"{name}.1"] = f"up_blocks.{step}.attentions.{repeat}"
            # The upsampling layer comes after attention, where there is some.
            names[f"{name}.{1 + attends[level]}.conv"] = f"up_blocks.{step}.upsamplers.0.conv"
    return names


def renamed(names: dict[str, str], path: str) -> tuple[str, str]:
    """The module of diffusers that a path of ours lies in, and the rest of the path.

    The longest name wins: `input_blocks.1.0.op` is another module than `input_blocks.1.0`.
    """
    prefixes = [name for name in names if path == name or path.startswith(name + ".")]
    if not prefixes:
        raise ValueError(f"The U-Net's weights '{path}' have no place in diffusers' network.")
    longest = max(prefixes, key=len)
    return names[longest], path[len(longest) + 1 :]


def _tensors(
    module: str, layer: str, word: str, leaf: np.ndarray, network: UNet
) -> dict[str, np.ndarray]:
    """One parameter under diffusers' keys: one tensor, or three of the attention's q, k and v."""
    leaf = to_torch(word, leaf)
    word = _LAST_WORDS[word]
    if "attentions" not in module:
        return {".".join(filter(None, (module, RESNET.get(layer, layer), word))): leaf}
    if layer != "qkv":
        return {f"{module}.{_ATTENTION[layer]}.{word}": leaf}
    width = len(leaf) // 3
    heads = 1 if network.num_head_channels is None else width // network.num_head_channels
    # The rows are [3 heads width/heads] in the new attention order, [heads 3 width/heads] in the
    # old one.
    if network.use_new_attention_order:
        parts = leaf.reshape(3, heads, width // heads, *leaf.shape[1:])
    else:
        parts = leaf.reshape(heads, 3, width // heads, *leaf.shape[1:]).swapaxes(0, 1)
    return {
        f"{module}.to_{letter}.{word}": part.reshape(width, *leaf.shape[1:])
        for letter, part in zip("qkv", parts, strict=True)
    }

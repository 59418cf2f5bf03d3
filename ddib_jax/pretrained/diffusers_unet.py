"""The ADM U-Net as diffusers' `UNet2DModel`: the same network under other names.

diffusers holds the U-Net of Ho et al. (2020) with scale-shift norms; where an ADM U-Net uses no
more than that, its weights go there one to one.
"""

from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from ddib_jax.nets import UNet
from ddib_jax.types import Params

_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}


def to_diffusers(
    network: UNet, params: Params, *, in_channels: int, size: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The options of a `UNet2DModel` and its state dict, float32, in torch's layouts.

    in_channels, size: of the images that the network takes. With a patch stem both are those behind
    it: `pixel_unshuffle` and `pixel_shuffle` are the caller's, with channels moved last in each
    patch. Raises ValueError where diffusers has no such network.
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
        "norm_num_groups": 32,
        "attn_norm_num_groups": 32,
    }
    names = _names(len(widths), network.num_res_blocks, attends)
    state = {}
    for path, leaf in flatten_dict(params, sep="/").items():
        *modules, kind = path.split("/")
        module, rest = _longest(names, ".".join(modules))
        state |= _weights(module, rest, kind, np.asarray(leaf, np.float32), network)
    return options, state


def _names(levels: int, repeats: int, attends: list[bool]) -> dict[str, str]:
    """Name of every block of the ADM U-Net -> that of its twin."""
    names = {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
    }
    names |= {"out.0": "conv_norm_out", "out.2": "conv_out"}
    names |= {
        f"middle_block.{i}": f"mid_block.{name}"
        for i, name in enumerate(("resnets.0", "attentions.0", "resnets.1"))
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
            names[f"{name}.{1 + attends[level]}.conv"] = f"up_blocks.{step}.upsamplers.0.conv"
    return names


def _longest(names: dict[str, str], path: str) -> tuple[str, str]:
    found = max(
        (name for name in names if path == name or path.startswith(name + ".")),
        key=len,
        default=None,
    )
    if found is None:
        raise ValueError(f"The U-Net's weights '{path}' have no place in diffusers' network.")
    return names[found], path[len(found) + 1 :]


def _weights(
    module: str, rest: str, kind: str, leaf: np.ndarray, network: UNet
) -> dict[str, np.ndarray]:
    name = {"kernel": "weight", "scale": "weight", "bias": "bias"}[kind]
    if kind == "kernel":
        leaf = leaf.transpose(3, 2, 0, 1) if leaf.ndim == 4 else leaf.T
    if "attentions" not in module:
        return {".".join(filter(None, (module, _RESNET.get(rest, rest), name))): leaf}
    if rest != "qkv":
        return {f"{module}.{ {'norm': 'group_norm', 'proj_out': 'to_out.0'}[rest] }.{name}": leaf}
    width = len(leaf) // 3
    heads = 1 if network.num_head_channels is None else width // network.num_head_channels
    shape = (
        (3, heads, width // heads)
        if network.use_new_attention_order
        else (heads, 3, width // heads)
    )
    parts = leaf.reshape(*shape, *leaf.shape[1:])
    parts = parts if network.use_new_attention_order else parts.swapaxes(0, 1)
    return {
        f"{module}.to_{letter}.{name}": part.reshape(width, *leaf.shape[1:])
        for letter, part in zip("qkv", parts, strict=True)
    }

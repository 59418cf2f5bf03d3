"""State dicts of CompVis' layout under the names of diffusers and transformers.

One file holds a whole Stable Diffusion: U-Net, autoencoder and text encoders, each behind a prefix.
U-Net and blocks are named as in guided-diffusion (`diffusers_unet`).
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from ddib_jax.nets import AutoencoderKL, CLIPText, UNet2DCondition
from ddib_jax.nets.unet2d_condition import DOWN
from ddib_jax.pretrained.diffusers_unet import RESNET, block_names, renamed

Tensors = Mapping[str, np.ndarray]

UNET, AUTOENCODER = "model.diffusion_model.", "first_stage_model."
"""Prefixes of the U-Net and of the autoencoder."""
_EMBEDDINGS = {
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
}
_OF_AUTOENCODER = {
    "encoder.conv_in": "encoder.conv_in",
    "encoder.norm_out": "encoder.conv_norm_out",
    "encoder.conv_out": "encoder.conv_out",
    "decoder.conv_in": "decoder.conv_in",
    "decoder.norm_out": "decoder.conv_norm_out",
    "decoder.conv_out": "decoder.conv_out",
    "quant_conv": "quant_conv",
    "post_quant_conv": "post_quant_conv",
}
_MIDDLE = {"block_1": "resnets.0", "attn_1": "attentions.0", "block_2": "resnets.1"}
_IN_BLOCK = {
    "nin_shortcut": "conv_shortcut",
    "norm": "group_norm",
    "q": "to_q",
    "k": "to_k",
    "v": "to_v",
    "proj_out": "to_out.0",
}
"""Layer of the autoencoder's blocks -> its name in diffusers."""
_OPEN_CLIP = {
    "positional_embedding": "embeddings.position_embedding.weight",
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_IN_OPEN_CLIP = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
"""Layer of open_clip's blocks -> its name in transformers."""
_BLOCKS = "transformer.resblocks."
_NO_WEIGHTS = ("logit_scale", "attn_mask", "visual.")
"""What an open_clip model holds besides the text encoder."""


class Derived(Mapping):
    """Tensors that are made of others when they are asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], np.ndarray]]):
        self._makers = makers

    def __getitem__(self, name: str) -> np.ndarray:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def unet_key(network: UNet2DCondition, stored: str) -> str:
    """diffusers' name of a tensor of the U-Net; ValueError for one that has no place there."""
    levels = len(network.block_out_channels)
    attends = [DOWN.get(kind, False) for kind in network.down_block_types]
    layers = network.layers_per_block
    if not isinstance(layers, int):
        raise ValueError("The U-Net has other numbers of layers on other levels; it has no file.")
    names = block_names(levels, layers, attends) | _EMBEDDINGS
    path, _, word = stored.rpartition(".")
    module, layer = renamed(names, path)
    return ".".join(filter(None, (module, RESNET.get(layer, layer), word)))


def autoencoder_key(network: AutoencoderKL, stored: str) -> str:
    """diffusers' name of a tensor of the autoencoder; ValueError for one without a place there."""
    last = len(network.block_out_channels) - 1
    names = dict(_OF_AUTOENCODER)
    for level in range(last + 1):
        names[f"encoder.down.{level}.downsample.conv"] = (
            f"encoder.down_blocks.{level}.downsamplers.0.conv"
        )
        names[f"decoder.up.{level}.upsample.conv"] = (
            f"decoder.up_blocks.{last - level}.upsamplers.0.conv"
        )
        for layer in range(network.layers_per_block + 1):
            names[f"encoder.down.{level}.block.{layer}"] = (
                f"encoder.down_blocks.{level}.resnets.{layer}"
            )
            # which counts its levels from the image's resolution, and diffusers from the code's
            names[f"decoder.up.{level}.block.{layer}"] = (
                f"decoder.up_blocks.{last - level}.resnets.{layer}"
            )
    for half in ("encoder", "decoder"):
        names |= {f"{half}.mid.{old}": f"{half}.mid_block.{new}" for old, new in _MIDDLE.items()}
    path, _, word = stored.rpartition(".")
    module, layer = renamed(names, path)
    return ".".join(filter(None, (module, _IN_BLOCK.get(layer, layer), word)))


def open_clip(weights: Tensors, prefix: str, network: CLIPText) -> Tensors:
    """The text encoder of an open_clip model behind a prefix, as transformers has it.

    Its queries, keys and values are one tensor, and its projection is the transpose. Layers beyond
    those of the network, and a projection that it does not have, are left out. Raises ValueError
    for a tensor that has no place there.
    """
    makers: dict[str, Callable[[], np.ndarray]] = {}
    for stored in weights:
        key = stored.removeprefix(prefix)
        if key == stored or key.startswith(_NO_WEIGHTS):
            continue
        if key == "text_projection":
            if network.projection_dim is None:
                continue
            makers["text_projection.weight"] = lambda stored=stored: weights[stored].T
        elif key in _OPEN_CLIP:
            makers[f"text_model.{_OPEN_CLIP[key]}"] = lambda stored=stored: weights[stored]
        elif not _beyond(key, network.num_hidden_layers):
            makers |= _of_block(weights, stored, key)
    return Derived(makers)


def _beyond(key: str, layers: int) -> bool:
    """Whether a tensor is of a block after so many layers."""
    number = key.removeprefix(_BLOCKS).partition(".")[0]
    return key.startswith(_BLOCKS) and number.isdecimal() and int(number) >= layers


def _of_block(weights: Tensors, stored: str, key: str) -> dict[str, Callable[[], np.ndarray]]:
    """What a tensor of one of open_clip's blocks is in transformers: one tensor, or three."""
    head, _, rest = key.removeprefix(_BLOCKS).partition(".")
    module = f"text_model.encoder.layers.{head}"
    for kind in ("weight", "bias"):
        if rest == f"attn.in_proj_{kind}":
            return {
                f"{module}.self_attn.{letter}_proj.{kind}": (
                    lambda part=part: np.split(weights[stored], 3)[part]
                )
                for part, letter in enumerate("qkv")
            }
    layer, _, word = rest.rpartition(".")
    if layer not in _IN_OPEN_CLIP:
        raise ValueError(f"The text encoder's weights '{stored}' have no place in transformers'.")
    return {f"{module}.{_IN_OPEN_CLIP[layer]}.{word}": lambda: weights[stored]}


def behind(
    weights: Tensors, prefix: str, name: Callable[[str], str], *, without: str | None = None
) -> Tensors:
    """The tensors behind a prefix, under what `name` makes of the rest of theirs.

    without: what the rest of those begins with that are left out.
    """
    makers = {}
    for stored in weights:
        key = stored.removeprefix(prefix)
        if key != stored and not (without and key.startswith(without)):
            makers[name(key)] = lambda stored=stored: weights[stored]
    return Derived(makers)

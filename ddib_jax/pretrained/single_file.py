"""Stable Diffusion 1, 2 and XL in one `.safetensors` file, in the layout of CompVis.

Such a file has weights alone: what family it is of is seen by its names, and the tokenizers' files
lie beside it.
"""

import re
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp

from ddib_jax.conditioning import Prompts
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets import AutoencoderKL, CLIPText, UNet2DCondition
from ddib_jax.pretrained.compvis_names import (
    AUTOENCODER,
    UNET,
    Tensors,
    autoencoder_key,
    behind,
    open_clip,
    unet_key,
)
from ddib_jax.pretrained.diffusers_scheduler import read_scheduler
from ddib_jax.pretrained.latent_model import Part, latent_model
from ddib_jax.pretrained.text_encoders import UNUSED, Encoders, TextEncoder, sizes_of
from ddib_jax.pretrained.torch_files import SafetensorsFile
from ddib_jax.pretrained.torch_names import load_params
from ddib_jax.text import read_tokenizer

_NOISE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
_AUTOENCODER = AutoencoderKL(
    block_out_channels=(128, 256, 512, 512),
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
    layers_per_block=2,
)
_CLIP_L = CLIPText(hidden_size=768, intermediate_size=3072, num_attention_heads=12)
_CLIP_H = CLIPText(  # whose last layer Stable Diffusion 2 leaves out
    hidden_size=1024,
    intermediate_size=4096,
    num_hidden_layers=23,
    num_attention_heads=16,
    hidden_act="gelu",
)
_CLIP_G = CLIPText(
    hidden_size=1280,
    intermediate_size=5120,
    num_hidden_layers=32,
    num_attention_heads=20,
    hidden_act="gelu",
    projection_dim=1280,
)


class Family(NamedTuple):
    """What a file of its names does not say.

    encoders: the prefix of each text encoder, and its network. sample_size: side of a code.
    velocity_size: that of those that predict v, of a family that has both, where no file says what
    it predicts.
    """

    unet: UNet2DCondition
    autoencoder: AutoencoderKL
    encoders: tuple[tuple[str, CLIPText], ...]
    scaling: float
    sample_size: int
    velocity_size: int | None = None


FAMILIES = {
    "Stable Diffusion 1": Family(
        UNet2DCondition(cross_attention_dim=768),
        _AUTOENCODER,
        (("cond_stage_model.transformer.", _CLIP_L),),
        0.18215,
        64,
    ),
    "Stable Diffusion 2": Family(
        UNet2DCondition(
            attention_head_dim=(5, 10, 20, 20),
            cross_attention_dim=1024,
            use_linear_projection=True,
        ),
        _AUTOENCODER,
        (("cond_stage_model.model.", _CLIP_H),),
        0.18215,
        64,
        velocity_size=96,
    ),
    "Stable Diffusion XL": Family(
        UNet2DCondition(
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * 2),
            up_block_types=(*("CrossAttnUpBlock2D",) * 2, "UpBlock2D"),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            transformer_layers_per_block=(1, 2, 10),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        ),
        _AUTOENCODER,
        (
            ("conditioner.embedders.0.transformer.", _CLIP_L),
            ("conditioner.embedders.1.model.", _CLIP_G),
        ),
        0.13025,
        128,
    ),
}
"""Family of models -> what its files hold; told apart by their text encoders."""
_PARAMETERIZATIONS = {"eps": "epsilon", "v": "v_prediction"}
"""What CompVis' configurations call a prediction -> what diffusers does."""
_OPEN_CLIP = "model."  # what the prefix of an open_clip encoder ends in


def is_single_file(path: Path) -> bool:
    """Whether a path is a file of a whole latent model in CompVis' layout."""
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        names = list(SafetensorsFile(path))
    except ValueError:
        return False  # damaged: the error is the business of who reads it
    return all(any(name.startswith(part) for name in names) for part in (UNET, AUTOENCODER))


def load_single_file(
    path: str | Path, *, image_size: tuple[int, int] | None = None, dtype: str | None = None
) -> DiffusionModel:
    """The diffusion model of a file: its U-Net, and its autoencoder as the codec.

    Tensors `v_pred` and `ztsnr`, by which files of fine-tuned models say so, mean v-prediction and
    zero terminal SNR. Where a family has models of both predictions (Stable Diffusion 2) and there
    is no `v_pred`, the file's configuration beside it says which it is. image_size and dtype: as of
    `load_pipeline`. Raises ValueError for a file of another family, for weights that are not the
    family's, and where nothing says what is predicted.
    """
    path = Path(path)
    weights = SafetensorsFile(path)
    family = _family(path, weights)
    prediction = _prediction(path, weights, family)
    noise = _NOISE | {"prediction_type": prediction}
    side = family.sample_size
    if prediction == "v_prediction":
        side = family.velocity_size or side
    try:
        unet = behind(weights, UNET, lambda key: unet_key(family.unet, key))
        autoencoder = behind(
            weights,
            AUTOENCODER,
            lambda key: autoencoder_key(family.autoencoder, key),
            without="loss.",
        )
    except ValueError as error:
        raise ValueError(f"{path} is no file of {_name(family)}: {error}") from error
    return latent_model(
        Part(family.unet, unet, path),
        Part(family.autoencoder, autoencoder, path),
        read_scheduler(path, noise | {"rescale_betas_zero_snr": "ztsnr" in weights}),
        scaling={"scaling_factor": family.scaling},
        sample_size=(side, side),
        image_size=image_size,
        dtype=dtype,
    )


def single_file_conditioner(path: Path, model: DiffusionModel, whose: str) -> Prompts:
    """What makes conditions of prompts; the encoders and tokenizers are read at the first one.

    whose: the subject of its error sentences.
    """
    family = _family(path, SafetensorsFile(path))
    two = len(family.encoders) == 2
    encoders = Encoders(
        lambda: tuple(_text_encoder(path, family, place) for place in range(len(family.encoders))),
        pooled=two,
        sizes=sizes_of(model.image_shape) if two else (),
    )
    return encoders.prompts(blank=two, whose=whose)


def _text_encoder(path: Path, family: Family, place: int) -> TextEncoder:
    """The text encoder of that place with its tokenizer, whose files lie beside the file."""
    folder = path.parent / f"tokenizer{f'_{place + 1}' if place else ''}"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{path} holds no tokenizer: put the folder {folder.name} of a {_name(family)} pipeline"
            " beside it, with vocab.json, merges.txt and special_tokens_map.json."
        )
    (prefix, network), weights = family.encoders[place], SafetensorsFile(path)
    if prefix.endswith(f".{_OPEN_CLIP}"):
        state = open_clip(weights, prefix, network)
    else:
        state = behind(weights, prefix, lambda key: key)
    tokenizer = read_tokenizer(folder, length=network.max_position_embeddings)
    ids = jnp.zeros((1, tokenizer.length), jnp.int32)
    params = load_params(network, (ids,), state, path, unused=UNUSED, dtype=None)
    return TextEncoder(network, params, tokenizer)


def _prediction(path: Path, weights: Tensors, family: Family) -> str:
    """What the U-Net predicts, in diffusers' words; ValueError where nothing says it."""
    if "v_pred" in weights:
        return "v_prediction"
    if family.velocity_size is None:
        return "epsilon"
    beside = path.with_suffix(".yaml")
    if not beside.is_file():
        raise ValueError(
            f"{path} does not say what it predicts, which is noise or v in {_name(family)}: put its"
            f" configuration beside it as {beside.name}, or a file of that name with the line"
            ' "parameterization: v" (for images of 768) or "parameterization: eps" (of 512).'
        )
    # Noise where it says nothing, as in the code that reads such a configuration.
    found = re.search(r"^\s*parameterization:\s*[\"']?(\w+)", beside.read_text("utf-8"), re.M)
    word = found[1] if found else "eps"
    if word not in _PARAMETERIZATIONS:
        known = " and ".join(_PARAMETERIZATIONS)
        raise ValueError(f"{beside}: parameterization {word} is not supported; {known} are.")
    return _PARAMETERIZATIONS[word]


def _family(path: Path, weights: Tensors) -> Family:
    for family in FAMILIES.values():
        prefixes = [prefix for prefix, _ in family.encoders]
        if all(any(name.startswith(prefix) for name in weights) for prefix in prefixes):
            return family
    raise ValueError(
        f"{path} is no file of {', '.join(FAMILIES)}, whose text encoders it does not hold; of"
        " other models the folder of a pipeline is read."
    )


def _name(family: Family) -> str:
    return next(name for name, other in FAMILIES.items() if other is family)

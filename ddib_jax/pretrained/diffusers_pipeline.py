"""Pipelines of latent diffusion in folders of diffusers: Stable Diffusion 1, 2 and XL, and LDM.

`model_index.json` names the components, each a folder: U-Net, autoencoder, scheduler, tokenizers
and text encoders. What else a pipeline has (safety checker, feature extractor) is left aside.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from ddib_jax.conditioning import Prompts
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets import (
    AutoencoderKL,
    CLIPText,
    UNet2D,
    UNet2DCondition,
    VQModel,
)
from ddib_jax.pretrained.diffusers_files import (
    options_of,
    read_options,
    size_of,
    state_of,
    weight_files,
)
from ddib_jax.pretrained.diffusers_folder import noise_of, pixel_network
from ddib_jax.pretrained.latent_model import Part, latent_model
from ddib_jax.pretrained.text_encoders import (
    UNUSED,
    Encoders,
    TextEncoder,
    encoder_options,
    named,
    sizes_of,
)
from ddib_jax.pretrained.torch_files import open_weights
from ddib_jax.pretrained.torch_names import load_params
from ddib_jax.pretrained.wrapped import Renamed
from ddib_jax.text import LENGTH, length_of, read_tokenizer

INDEX = "model_index.json"
_SD = ("unet", "vae", "scheduler", "tokenizer", "text_encoder")
_XL = (*_SD, "tokenizer_2", "text_encoder_2")
COMPONENTS = {
    "StableDiffusionPipeline": _SD,
    "StableDiffusionImg2ImgPipeline": _SD,
    "StableDiffusionInpaintPipeline": _SD,
    "StableDiffusionInpaintPipelineLegacy": _SD,
    "StableDiffusionXLPipeline": _XL,
    "StableDiffusionXLImg2ImgPipeline": _XL,
    "StableDiffusionXLInpaintPipeline": _XL,
    "LDMPipeline": ("unet", "vqvae", "scheduler"),
}
"""Class of a pipeline -> the components that are read."""
_AUTOENCODERS = {"AutoencoderKL": AutoencoderKL, "VQModel": VQModel}
_OF_CODEC = {
    "sample_size",
    "scaling_factor",
    "shift_factor",
    "latents_mean",
    "latents_std",
    "force_upcast",
    "norm_type",
    "lookup_from_codebook",
}
"""Options of diffusers' autoencoders that are not the network's."""
_SCALING = 0.18215  # where a configuration does not say, which those of Stable Diffusion 1 do not
_ENCODERS = {"CLIPTextModel": False, "CLIPTextModelWithProjection": True}
"""Class of a text encoder -> it projects the pooled embedding."""
STEMS = ("model", "pytorch_model")
"""What the names of transformers' files of weights begin with."""


def is_pipeline(path: Path) -> bool:
    """Whether a path is a folder of a pipeline of latents."""
    if not (path / INDEX).is_file():
        return False
    names = read_options(path / INDEX).keys()
    return bool({"vae", "vqvae", "text_encoder", "transformer"} & names)


def load_pipeline(
    path: str | Path, *, image_size: tuple[int, int] | None = None, dtype: str | None = None
) -> DiffusionModel:
    """The diffusion model of a pipeline's folder: its U-Net, and its autoencoder as the codec.

    It is under no condition yet; `pipeline_conditioner` makes conditions of prompts. image_size:
    height and width of its images, by default those that it was trained on. dtype: of the weights;
    None: as they are stored, so that half precision stays half the memory. Raises FileNotFoundError
    for a missing file, ValueError for an unknown pipeline, for options that are not supported, for
    a size that the networks cannot halve and for weights that are not those that the options
    describe.
    """
    path = Path(path)
    components = components_of(path)
    autoencoder = "vqvae" if "vqvae" in components else "vae"
    network, sample = _unet(path)
    codec_config = _config(path, autoencoder, "config.json")
    kind = codec_config.get("_class_name", "AutoencoderKL")
    if kind not in _AUTOENCODERS:
        raise ValueError(
            f"{path / autoencoder} is the autoencoder {kind}; read are {', '.join(_AUTOENCODERS)}."
        )
    options = options_of(_AUTOENCODERS[kind], path / autoencoder, codec_config, ignored=_OF_CODEC)
    vae = _AUTOENCODERS[kind](**options)
    if codec_config.get("norm_type", "group") != "group":
        raise ValueError(f"{path / autoencoder} has norm_type = 'spatial', which is not supported.")
    return latent_model(
        Part(network, state_of(weight_files(path / "unet")[0]), path / "unet"),
        Part(vae, state_of(weight_files(path / autoencoder)[0]), path / autoencoder),
        noise_of(path),
        scaling=_scaling(codec_config),
        sample_size=sample,
        image_size=image_size,
        dtype=dtype,
    )


def pipeline_conditioner(path: Path, model: DiffusionModel, whose: str) -> Prompts | None:
    """What makes conditions of prompts for the model of a folder; None for one without texts.

    whose: the subject of its error sentences. The encoders' files are read at the first prompt.
    """
    components = components_of(path)
    if "text_encoder" not in components:
        return None
    suffixes = ("", "_2") if "text_encoder_2" in components else ("",)
    two = len(suffixes) == 2
    encoders = Encoders(
        lambda: tuple(_text_encoder(path, suffix) for suffix in suffixes),
        pooled=two,
        sizes=sizes_of(model.image_shape) if two else (),
    )
    blank = two and bool(read_options(path / INDEX).get("force_zeros_for_empty_prompt", True))
    return encoders.prompts(blank=blank, whose=whose)


def pipeline_weights(path: Path) -> list[Path]:
    """The files of weights of all components that are read."""
    files = []
    for name in components_of(path):
        if name.startswith("text_encoder"):
            files += weight_files(path / name, stems=STEMS)
        elif name in ("unet", "vae", "vqvae"):
            files += weight_files(path / name)
    return files


def components_of(path: Path) -> tuple[str, ...]:
    """The names of the components that are read, which are all there.

    Raises ValueError for a pipeline of another class and FileNotFoundError for a missing component.
    """
    index = read_options(path / INDEX)
    kind = index.get("_class_name")
    if kind not in COMPONENTS:
        raise ValueError(
            f"{path} is a pipeline of the class {kind}, which is not read; of latent diffusion"
            f" those of {', '.join(COMPONENTS)} are."
        )
    if index.get("requires_aesthetics_score"):
        raise ValueError(
            f"{path} is a refiner, which is told a score of beauty; the base model is read."
        )
    for name in COMPONENTS[kind]:
        library, _ = index.get(name) or (None, None)
        if library is None:
            raise ValueError(f"{path / INDEX} names no {name}, which a {kind} has.")
        if not (path / name).is_dir():
            raise FileNotFoundError(
                f"{path} has no folder {name}, which its {INDEX} names; fetch the whole pipeline."
            )
    return COMPONENTS[kind]


def _config(path: Path, component: str, file: str) -> dict[str, Any]:
    return read_options(path / component / file)


def _unet(path: Path) -> tuple[UNet2D | UNet2DCondition, tuple[int, int]]:
    """The U-Net without weights, and the height and width of codes that it was trained on."""
    folder = path / "unet"
    config = read_options(folder / "config.json")
    size = size_of(folder, config.get("sample_size"))
    if config.get("_class_name") == "UNet2DModel":
        return pixel_network(folder, config), size
    kind = config.get("_class_name", "UNet2DConditionModel")
    if kind != "UNet2DConditionModel":
        raise ValueError(f"{folder} holds a {kind}; UNet2DConditionModel is read.")
    options = options_of(UNet2DCondition, folder, config, ignored={"sample_size"})
    lengths = [
        length_of(path / f"tokenizer{suffix}", length=_positions(path / f"text_encoder{suffix}"))
        for suffix in ("", "_2")
        if (path / f"text_encoder{suffix}").is_dir()
    ]
    network = UNet2DCondition(**options, text_length=min(lengths, default=LENGTH))
    if network.in_channels != network.out_channels:
        raise ValueError(
            f"{folder} makes {network.out_channels} channels of {network.in_channels}: it is"
            " told an image besides (inpainting, depth, InstructPix2Pix), which is not supported;"
            " models that take and make as many are."
        )
    return network, size


def _positions(folder: Path) -> int:
    return int(read_options(folder / "config.json").get("max_position_embeddings", LENGTH))


def _scaling(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a codec that say how a code is scaled."""
    array = lambda value: None if value is None else jnp.asarray(value, jnp.float32)
    return {
        "scaling_factor": float(config.get("scaling_factor") or _SCALING),
        "shift_factor": array(config.get("shift_factor")),
        "latents_mean": array(config.get("latents_mean")),
        "latents_std": array(config.get("latents_std")),
    }


def _text_encoder(path: Path, suffix: str) -> TextEncoder:
    """A text encoder and its tokenizer."""
    folder, index = path / f"text_encoder{suffix}", read_options(path / INDEX)
    _, kind = index[folder.name]
    if kind not in _ENCODERS:
        raise ValueError(f"{folder} is a {kind}; text encoders that are read are CLIP's.")
    config = read_options(folder / "config.json")
    network = CLIPText(**encoder_options(config, folder, projects=_ENCODERS[kind]))
    positions = network.max_position_embeddings
    tokenizer = read_tokenizer(path / f"tokenizer{suffix}", length=positions)
    stored = open_weights(weight_files(folder, stems=STEMS)[0])
    weights = Renamed(stored, {named(key): key for key in stored})
    ids = jnp.zeros((1, tokenizer.length), jnp.int32)
    params = load_params(network, (ids,), weights, folder, unused=UNUSED, dtype=None)
    return TextEncoder(network, params, tokenizer)

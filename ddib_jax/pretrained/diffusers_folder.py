"""Folders of diffusers: a `UNet2DModel` and the scheduler it was trained with.

`save_pretrained` writes them so and the Hugging Face hub holds them so. Either everything lies in
one folder (`config.json`, `scheduler_config.json`), or `unet/` and `scheduler/` are apart.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from ddib_jax.diffusion import DiffusionModel
from ddib_jax.files import drafted
from ddib_jax.nets import UNet, UNet2D, example_condition
from ddib_jax.pretrained.diffusers_files import (
    options_of,
    read_options,
    size_of,
    state_of,
    weight_files,
)
from ddib_jax.pretrained.diffusers_scheduler import read_scheduler, scheduler_config
from ddib_jax.pretrained.diffusers_unet import to_diffusers
from ddib_jax.pretrained.torch_names import load_params, state_dict
from ddib_jax.types import NoiseSchedule, Preconditioning

_OPTIONS = {
    field.name: field.default
    for field in dataclasses.fields(UNet2D)
    if field.name not in ("parent", "name", "dtype")
}
"""Option of `UNet2DModel` -> its default."""


def is_diffusers(path: Path) -> bool:
    """Whether a path is a folder of diffusers."""
    names = ("model_index.json", "config.json", "unet/config.json")
    return any((path / name).is_file() for name in names)


def load_diffusers(path: str | Path) -> DiffusionModel:
    """The diffusion model of a folder, float32.

    Raises FileNotFoundError for a missing file, ValueError for an option of network or scheduler
    that is not supported and for weights that are not those that the options describe.
    """
    path = Path(path)
    config = _unet_config(path)
    network = pixel_network(path, config)
    schedule, precondition = noise_of(path)
    shape = (*size_of(path, config.get("sample_size")), network.in_channels)
    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    # Time 1 and not 0: Fourier embeddings take its logarithm.
    inputs = (x, jnp.ones(1), example_condition(network))
    weights = state_of(weight_files(path)[0])
    return DiffusionModel(
        load_params(network, inputs, weights, path),
        precondition,
        network=network,
        schedule=schedule,
        data_shape=shape,
    )


def save_diffusers(directory: str | Path, model: DiffusionModel) -> Path:
    """Write a model as a folder that diffusers' `DDPMPipeline` loads; returns the folder.

    Raises ValueError where diffusers has no such model and FileExistsError where there is one.
    """
    if Path(directory, "unet").exists():
        raise FileExistsError(
            f"{directory} holds a model already; give another directory, or remove it."
        )
    network, (height, width, channels) = model.network, model.data_shape
    if isinstance(network, UNet):
        if network.patch_size != 1 or network.time_scale != 1.0:
            raise ValueError(
                "diffusers has no patch stem and no scaled time; this network cannot be written"
                " for it."
            )
        options, state = to_diffusers(network, model.params, in_channels=channels, size=height)
    elif isinstance(network, UNet2D):
        options = {name: getattr(network, name) for name in sorted(_OPTIONS)}
        state = state_dict(model.params)
    else:
        raise ValueError(f"diffusers has no network like {type(network).__name__}.")
    options["sample_size"] = height if height == width else [height, width]
    scheduler = scheduler_config(model)
    index = {
        "_class_name": "DDPMPipeline",
        "unet": ["diffusers", "UNet2DModel"],
        "scheduler": ["diffusers", scheduler["_class_name"]],
    }
    files = {
        "unet/config.json": {"_class_name": "UNet2DModel", **options},
        "scheduler/scheduler_config.json": scheduler,
        "model_index.json": index,
    }
    # save_file writes an array's memory as it lies, whatever its strides.
    tensors = {key: np.ascontiguousarray(array) for key, array in state.items()}
    with drafted(Path(directory)) as draft:
        for name, contents in files.items():
            (draft / name).parent.mkdir(exist_ok=True)
            (draft / name).write_text(json.dumps(contents, indent=2) + "\n")
        weights = draft / "unet" / "diffusion_pytorch_model.safetensors"
        save_file(tensors, weights, metadata={"format": "pt"})
    return Path(directory)


def pixel_network(path: Path, config: dict[str, Any]) -> UNet2D:
    """The `UNet2DModel` of a configuration; ValueError for another one, and unknown options."""
    if config.get("_class_name", "UNet2DModel") != "UNet2DModel":
        raise ValueError(
            f"{path} holds a {config['_class_name']}; only UNet2DModel is read alone, others in"
            " their pipeline: name the folder that has its model_index.json."
        )
    network = UNet2D(**options_of(UNet2D, path, config, ignored={"sample_size"}))
    if network.out_channels not in (network.in_channels, 2 * network.in_channels):
        raise ValueError(
            f"{path} makes {network.out_channels} channels of {network.in_channels}; a denoiser"
            " makes as many, or twice as many with learned variances."
        )
    return network


def _unet_config(path: Path) -> dict[str, Any]:
    folder = path / "unet"
    return read_options((folder if folder.is_dir() else path) / "config.json")


def noise_of(path: Path) -> tuple[NoiseSchedule, Preconditioning]:
    """The noise schedule and the preconditioning of the folder's scheduler.

    Raises FileNotFoundError where there is none and ValueError for one that is not supported.
    """
    apart = path / "scheduler" / "scheduler_config.json"
    beside = path / "scheduler_config.json"
    config = read_options(beside if beside.is_file() and not apart.is_file() else apart)
    try:
        return read_scheduler(path, config)
    except (AttributeError, TypeError) as error:
        raise ValueError(f"The scheduler of {path} cannot be understood ({error}).") from error

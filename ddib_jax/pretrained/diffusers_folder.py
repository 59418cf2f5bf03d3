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
from ddib_jax.files import drafted, read_json
from ddib_jax.nets import UNet, UNet2D, example_condition
from ddib_jax.pretrained.diffusers_scheduler import read_scheduler, scheduler_config
from ddib_jax.pretrained.diffusers_unet import to_diffusers
from ddib_jax.pretrained.torch_files import INDEX, open_weights, shard_files
from ddib_jax.pretrained.torch_names import load_params, state_dict
from ddib_jax.pretrained.wrapped import Renamed

_OPTIONS = {
    field.name: field.default
    for field in dataclasses.fields(UNet2D)
    if field.name not in ("parent", "name", "dtype")
}
"""Option of `UNet2DModel` -> its default."""
_PRIVATE = "_"  # what begins so in a configuration is about the file, not the network
_IGNORED = {"sample_size"}
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Layer of attention before diffusers 0.17 -> its name since."""


def is_diffusers(path: Path) -> bool:
    """Whether a path is a folder of diffusers."""
    names = ("model_index.json", "config.json", "unet/config.json")
    return any((path / name).is_file() for name in names)


def weight_files(path: Path) -> list[Path]:
    """The files of weights of a folder, the index first where they are several.

    safetensors come before `.bin`, `unet/` before the folder itself, and a variant such as fp16
    (`diffusion_pytorch_model.fp16.safetensors`) only where it is all there is. Raises
    FileNotFoundError where there are none, ValueError where there are several variants alone.
    """
    stem = "diffusion_pytorch_model"
    names = (f"{stem}.safetensors", f"{stem}.bin", f"{stem}.safetensors{INDEX}")
    variants = (f"{stem}.*.safetensors", f"{stem}.*.bin", f"{stem}.safetensors.index.*.json")
    folders = (path / "unet", path)
    candidates = [folder / name for name in names for folder in folders]
    first = next((file for file in candidates if file.is_file()), None)
    if first is None:
        patterns = (sorted(folder.glob(name)) for name in variants for folder in folders)
        found = next((files for files in patterns if files), [])
        if not found:
            raise FileNotFoundError(f"{path} holds no {' or '.join(names)}.")
        if len(found) > 1:
            raise ValueError(
                f"{path} holds several variants of one model, {', '.join(f.name for f in found)};"
                " keep one of them in a folder with its config.json, and name that."
            )
        [first] = found
    return [first, *shard_files(first)] if first.suffix == ".json" else [first]


def load_diffusers(path: str | Path) -> DiffusionModel:
    """The diffusion model of a folder, float32.

    Raises FileNotFoundError for a missing file, ValueError for an option of network or scheduler
    that is not supported and for weights that are not those that the options describe.
    """
    path = Path(path)
    config = _unet_config(path)
    index = path / "model_index.json"
    components = _read_object(index) if index.is_file() else {}
    if {"vae", "vqvae"} & components.keys():
        raise ValueError(
            f"{path} is a model of latents of an autoencoder, not of images; latent diffusion is"
            " not supported."
        )
    network = _network(path, config)
    try:
        schedule, precondition = read_scheduler(path, _scheduler_config(path))
    except (AttributeError, TypeError) as error:
        raise ValueError(f"The scheduler of {path} cannot be understood ({error}).") from error
    shape = (*_size(path, config.get("sample_size")), network.in_channels)
    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    # Time 1 and not 0: Fourier embeddings take its logarithm.
    inputs = (x, jnp.ones(1), example_condition(network))
    stored = open_weights(weight_files(path)[0])
    weights = Renamed(stored, {_current_name(key): key for key in stored})
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


def _network(path: Path, config: dict[str, Any]) -> UNet2D:
    if config.get("_class_name", "UNet2DModel") != "UNet2DModel":
        raise ValueError(f"{path} holds a {config['_class_name']}; only UNet2DModel is read.")
    options = {
        name: value
        for name, value in config.items()
        if not name.startswith(_PRIVATE) and name not in _IGNORED
    }
    unknown = sorted(options.keys() - _OPTIONS.keys())
    if unknown:
        raise ValueError(f"{path} has the unknown option {', '.join(unknown)} of UNet2DModel.")
    network = UNet2D(**{name: _typed(name, value) for name, value in options.items()})
    if network.out_channels not in (network.in_channels, 2 * network.in_channels):
        raise ValueError(
            f"{path} makes {network.out_channels} channels of {network.in_channels}; a denoiser"
            " makes as many, or twice as many with learned variances."
        )
    return network


def _unet_config(path: Path) -> dict[str, Any]:
    folder = path / "unet"
    return _read_object((folder if folder.is_dir() else path) / "config.json")


def _scheduler_config(path: Path) -> dict[str, Any]:
    apart = path / "scheduler" / "scheduler_config.json"
    beside = path / "scheduler_config.json"
    return _read_object(beside if beside.is_file() and not apart.is_file() else apart)


def _read_object(path: Path) -> dict[str, Any]:
    options = read_json(path, "the options of a model of diffusers")
    if not isinstance(options, dict):
        raise ValueError(f"{path} holds no options.")
    return options


def _typed(name: str, value: Any) -> Any:
    """An option in the type of its field: JSON knows no tuples, and may write a float as 1."""
    if isinstance(_OPTIONS[name], float) and isinstance(value, int):
        return float(value)
    return tuple(value) if isinstance(value, list) else value


def _size(path: Path, size: Any) -> tuple[int, int]:
    pair = tuple(size) if isinstance(size, list) else (size, size)
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise ValueError(
            f"{path} gives the sample_size {size!r}; a bridge needs the height and width of the"
            " images."
        )
    return pair


def _current_name(key: str) -> str:
    """A key of a state dict as diffusers names it since 0.17."""
    if key.count(".") < 3:
        return key
    *modules, layer, word = key.split(".")
    if modules[-2] != "attentions" or layer not in _OLD_ATTENTION:
        return key
    return ".".join([*modules, _OLD_ATTENTION[layer], word])

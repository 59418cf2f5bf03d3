"""Folders of diffusers: a `UNet2DModel` and the scheduler it was trained with, as `save_pretrained`
writes them and the Hugging Face hub holds them.

Either everything lies in one folder (`config.json`, `scheduler_config.json`), or `unet/` and
`scheduler/` are apart. What a scheduler says of sampling (clipping, thresholds, spacing of steps)
is no part of the model and is left aside: clipping cannot be inverted, and the grid is the
bridge's.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from ddib_jax import preconditioning, schedules
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.files import drafted
from ddib_jax.nets import UNet, UNet2D
from ddib_jax.preconditioning import Epsilon, Sample, Velocity
from ddib_jax.pretrained.diffusers_unet import to_diffusers
from ddib_jax.pretrained.torch_files import INDEX, Renamed, open_weights, shard_files
from ddib_jax.pretrained.torch_names import load_params, state_dict
from ddib_jax.schedules import Discrete
from ddib_jax.types import NoiseSchedule, Preconditioning

PREDICTIONS = {"epsilon": Epsilon, "v_prediction": Velocity, "sample": Sample}
_FIELDS = {
    field.name: field.default
    for field in dataclasses.fields(UNet2D)
    if field.name not in ("parent", "name", "dtype")
}
_PRIVATE = "_"  # what begins so in a config is about the file, not the network
_ASIDE = {"sample_size"}
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def is_diffusers(path: Path) -> bool:
    """Whether a folder is one of diffusers."""
    return any(
        (path / name).is_file() for name in ("model_index.json", "config.json", "unet/config.json")
    )


def weights_of(path: Path) -> list[Path]:
    """The files of weights of a folder, an index first where they are several; raises
    FileNotFoundError where there are none.
    """
    names = (
        "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model.bin",
        f"diffusion_pytorch_model.safetensors{INDEX}",
    )
    found = [
        file for name in names for home in (path / "unet", path) if (file := home / name).is_file()
    ]
    if not found:
        raise FileNotFoundError(f"{path} holds no {' or '.join(names)}.")
    return [found[0], *(shard_files(found[0]) if found[0].name.endswith(INDEX) else ())]


def load_diffusers(path: str | Path) -> DiffusionModel:
    """The diffusion model of a folder, float32.

    Raises FileNotFoundError for a missing file, ValueError for an option of network or scheduler
    that is not supported and for weights that are not those that the options describe.
    """
    path = Path(path)
    unet = (
        _json(path / "unet" / "config.json")
        if (path / "unet").is_dir()
        else _json(path / "config.json")
    )
    index = _json(path / "model_index.json") if (path / "model_index.json").is_file() else {}
    if {"vae", "vqvae"} & index.keys():
        raise ValueError(
            f"{path} is a model of latents of an autoencoder, not of images; latent diffusion is"
            " not supported."
        )
    if unet.get("_class_name", "UNet2DModel") != "UNet2DModel":
        raise ValueError(f"{path} holds a {unet['_class_name']}; only UNet2DModel is read.")
    options = {
        name: value
        for name, value in unet.items()
        if not name.startswith(_PRIVATE) and name not in _ASIDE
    }
    unknown = sorted(options.keys() - _FIELDS.keys())
    if unknown:
        raise ValueError(f"{path} has the unknown option {', '.join(unknown)} of UNet2DModel.")
    network = UNet2D(**{name: _typed(name, value) for name, value in options.items()})
    if network.out_channels not in (network.in_channels, 2 * network.in_channels):
        raise ValueError(
            f"{path} makes {network.out_channels} channels of {network.in_channels}; a denoiser"
            " makes as many, or twice as many with learned variances."
        )
    try:
        schedule, precondition = _meaning(path)
    except (AttributeError, TypeError) as error:
        raise ValueError(f"The scheduler of {path} cannot be understood ({error}).") from error
    shape = (*_size(path, unet.get("sample_size")), network.in_channels)
    inputs = (
        jax.ShapeDtypeStruct((1, *shape), jnp.float32),
        jnp.ones(1),
        network.example_condition(),
    )
    stored = open_weights(weights_of(path)[0])
    weights = Renamed(stored, {_today(key): key for key in stored})
    return DiffusionModel(
        load_params(network, inputs, weights, path),
        precondition,
        network=network,
        schedule=schedule,
        data_shape=shape,
    )


def save_diffusers(directory: str | Path, model: DiffusionModel) -> Path:
    """Write a model as a folder that diffusers' `DDPMPipeline` loads; raises ValueError where
    diffusers has no such model.
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
        options, state = (
            {name: getattr(network, name) for name in sorted(_FIELDS)},
            state_dict(model.params),
        )
    else:
        raise ValueError(f"diffusers has no network like {type(network).__name__}.")
    options["sample_size"] = height if height == width else [height, width]
    scheduler = _scheduler(model)
    index = {
        "_class_name": "DDPMPipeline",
        "unet": ["diffusers", "UNet2DModel"],
        "scheduler": ["diffusers", scheduler["_class_name"]],
    }
    with drafted(Path(directory)) as draft:
        for place, contents in {
            "unet/config.json": {"_class_name": "UNet2DModel", **options},
            "scheduler/scheduler_config.json": scheduler,
            "model_index.json": index,
        }.items():
            (draft / place).parent.mkdir(exist_ok=True)
            (draft / place).write_text(json.dumps(contents, indent=2) + "\n")
        whole = {
            key: np.ascontiguousarray(array) for key, array in state.items()
        }  # save_file takes strides for granted
        save_file(
            whole, draft / "unet" / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"}
        )
    return Path(directory)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}.")
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}).") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no options.")
    return found


def _typed(name: str, value: Any) -> Any:
    """JSON knows neither tuples nor whole floats."""
    if isinstance(_FIELDS[name], float) and isinstance(value, int):
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


def _meaning(path: Path) -> tuple[NoiseSchedule, Preconditioning]:
    """What the scheduler says of the model: which noise level a time step is, and what the network
    predicts.
    """
    candidates = [path / "scheduler" / "scheduler_config.json", path / "scheduler_config.json"]
    config = _json(next((file for file in candidates if file.is_file()), candidates[0]))
    kind, prediction = config.get("_class_name", ""), config.get("prediction_type", "epsilon")
    if config.get("predict_epsilon") is False:  # what diffusers before 0.9 called it
        prediction = "sample"
    if config.get("timestep_type") == "continuous":
        raise ValueError(f"{path}: timestep_type = 'continuous' is not supported; discrete is.")
    if kind.startswith("EDM"):
        if prediction != "epsilon":
            raise ValueError(
                f"{path}: prediction_type = {prediction!r} of {kind} is not supported; epsilon is."
            )
        schedule = schedules.EDM(
            float(config.get("sigma_min", 0.002)), float(config.get("sigma_max", 80.0))
        )
        return schedule, preconditioning.EDM(float(config.get("sigma_data", 0.5)))
    if prediction not in PREDICTIONS:
        raise ValueError(
            f"{path}: prediction_type = {prediction!r} is not supported; known are"
            f" {', '.join(PREDICTIONS)}."
        )
    if config.get("rescale_betas_zero_snr"):
        raise ValueError(
            f"{path}: rescale_betas_zero_snr ends in infinite noise, from which no latent comes"
            " back; it is not supported."
        )
    if "beta_schedule" not in config and config.get("trained_betas") is None:
        raise ValueError(
            f"{path}: the scheduler {kind or 'without a name'} gives no betas; it is not supported."
        )
    return _betas(path, config), PREDICTIONS[prediction]()


def _betas(path: Path, config: dict[str, Any]) -> Discrete:
    if config.get("trained_betas") is not None:
        return Discrete.from_betas(config["trained_betas"])
    steps, name = int(config.get("num_train_timesteps", 1000)), config["beta_schedule"]
    first, last = float(config.get("beta_start", 1e-4)), float(config.get("beta_end", 0.02))
    known = {
        "linear": lambda: Discrete.from_betas(np.linspace(first, last, steps)),
        "scaled_linear": lambda: Discrete.from_betas(
            np.linspace(first**0.5, last**0.5, steps) ** 2
        ),
        "sigmoid": lambda: Discrete.from_betas(
            (last - first) / (1 + np.exp(-np.linspace(-6, 6, steps))) + first
        ),
        "squaredcos_cap_v2": lambda: Discrete.cosine(steps),
    }
    if name not in known:
        raise ValueError(
            f"{path}: beta_schedule = {name!r} is not supported; known are {', '.join(known)}."
        )
    return known[name]()


def _today(key: str) -> str:
    if key.count(".") < 3:
        return key
    *modules, layer, word = key.split(".")
    known = modules[-2] == "attentions" and layer in _OLD_ATTENTION
    return ".".join([*modules, _OLD_ATTENTION[layer], word]) if known else key


def _scheduler(model: DiffusionModel) -> dict[str, Any]:
    """The scheduler's configuration that means what the model means."""
    schedule, precondition = model.schedule, model.precondition
    if isinstance(schedule, schedules.EDM) and isinstance(precondition, preconditioning.EDM):
        levels = {
            "sigma_min": schedule.sigma_min,
            "sigma_max": schedule.sigma_max,
            "sigma_data": precondition.sigma_data,
        }
        return {"_class_name": "EDMEulerScheduler", "prediction_type": "epsilon", **levels}
    name = next((name for name, kind in PREDICTIONS.items() if type(precondition) is kind), None)
    if not isinstance(schedule, Discrete) or name is None:
        raise ValueError(
            "diffusers has models of discrete time that predict epsilon, v or the clean image, and"
            " those of EDM; this is another one."
        )
    bar = np.asarray([1.0, *schedule.alphas_cumprod])
    betas = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
    if schedule != Discrete.linear(1000):
        betas = {"trained_betas": (1 - bar[1:] / bar[:-1]).tolist()}
    return {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": len(bar) - 1,
        "prediction_type": name,
        "clip_sample": False,
        **betas,
    }

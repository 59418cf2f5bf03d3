"""Checkpoints of NVlabs/edm, exported to safetensors.

They hold a `SongUNet` or a `DhariwalUNet` under any of its four preconditioners. Its pickles carry
code and are never opened here; docs/start/pretrained-models.md has the export, which runs once
beside their repository. The file's metadata hold, under `edm`, the class of the preconditioner and
its `init_kwargs` as JSON.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax import preconditioning, schedules
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets import DhariwalUNet, SongUNet, example_condition
from ddib_jax.preconditioning import Epsilon, Score
from ddib_jax.pretrained.torch_files import SafetensorsFile
from ddib_jax.pretrained.torch_names import load_params
from ddib_jax.pretrained.wrapped import Renamed
from ddib_jax.schedules import VE, Discrete, LinearVP
from ddib_jax.types import NoiseSchedule, Preconditioning

METADATA = "edm"
NETWORKS = {"SongUNet": SongUNet, "DhariwalUNet": DhariwalUNet}
_DEFAULTS = {
    "DhariwalUNet": {
        "model_channels": 192,
        "channel_mult": (1, 2, 3, 4),
        "num_blocks": 3,
        "attn_resolutions": (32, 16, 8),
    }
}
"""Defaults of the reference that differ from those of our class."""
_PRECONDITIONER_OPTIONS = {
    "img_channels",
    "use_fp16",
    "model_type",
    "augment_dim",
    "sigma_min",
    "sigma_max",
    "sigma_data",
    "beta_d",
    "beta_min",
    "M",
    "epsilon_t",
    "C_1",
    "C_2",
}
"""Options of the preconditioners, which are not the network's."""
_PREFIX = "model."


def is_edm(path: Path) -> bool:
    """Whether a path is the file of such an export."""
    if not path.is_file() or path.suffix != ".safetensors":
        return False
    return METADATA in SafetensorsFile(path).metadata


def load_edm(path: str | Path) -> DiffusionModel:
    """The diffusion model of an export, float32.

    A network that was trained with augmentation is one without: its augmentation labels are zero,
    as in NVlabs/edm's sampler. Raises ValueError for an unknown class or option and for weights
    that are not those that the options describe.
    """
    path = Path(path)
    file = SafetensorsFile(path)
    try:
        options = dict(json.loads(file.metadata[METADATA]))
        kind = options.pop("class")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} does not say which network of NVlabs/edm it holds; export it as"
            " docs/start/pretrained-models.md says."
        ) from error
    if not isinstance(kind, str) or kind not in PRECONDITIONERS:
        raise ValueError(f"{path} holds a {kind}; known are {', '.join(PRECONDITIONERS)}.")
    name = options.get("model_type", _default_network(kind))
    if not isinstance(name, str) or name not in NETWORKS:
        raise ValueError(f"{path} holds a {name}; known are {', '.join(NETWORKS)}.")
    try:
        schedule, precondition, time_scale = PRECONDITIONERS[kind](options)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: the options of its {kind} cannot be understood ({error})."
        ) from error
    channels = options.get("img_channels", 3)
    network_options = {
        # iDDPM learns variances: twice the channels.
        "out_channels": channels * (2 if kind == "iDDPMPrecond" else 1),
        "time_scale": time_scale,
        **_DEFAULTS.get(name, {}),
    }
    for key, value in options.items():
        if key not in _PRECONDITIONER_OPTIONS:
            network_options[key] = tuple(value) if isinstance(value, list) else value
    try:
        network = NETWORKS[name](**network_options)
    except TypeError as error:
        raise ValueError(f"{path}: {name} has an option that is not known ({error}).") from error
    shape = (network.img_resolution, network.img_resolution, channels)
    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    inputs = (x, jnp.zeros(1), example_condition(network))
    # u, iDDPM's table of noise levels, is computed here (`_iddpm`).
    weights = Renamed(file, {key.removeprefix(_PREFIX): key for key in file if key != "u"})
    # The filters are options of the network; augmentation labels of zero need no weights.
    unused = [
        key for key in weights if key.endswith("resample_filter") or key == "map_augment.weight"
    ]
    return DiffusionModel(
        load_params(network, inputs, weights, path, unused=unused),
        precondition,
        network=network,
        schedule=schedule,
        data_shape=shape,
    )


def _default_network(kind: str) -> str:
    return "DhariwalUNet" if kind in ("EDMPrecond", "iDDPMPrecond") else "SongUNet"


def _edm(options: Mapping[str, Any]) -> tuple[NoiseSchedule, Preconditioning, float]:
    sigma_data = float(options.get("sigma_data", 0.5))
    return schedules.EDM(), preconditioning.EDM(sigma_data), 1.0


def _vp(options: Mapping[str, Any]) -> tuple[NoiseSchedule, Preconditioning, float]:
    beta_min = float(options.get("beta_min", 0.1))
    schedule = LinearVP(beta_min, beta_min + float(options.get("beta_d", 19.9)))
    return schedule, Epsilon(), float(options.get("M", 1000) - 1)


def _ve(options: Mapping[str, Any]) -> tuple[NoiseSchedule, Preconditioning, float]:
    sigma_min, sigma_max = options.get("sigma_min", 0.02), options.get("sigma_max", 100.0)
    return VE(float(sigma_min), float(sigma_max)), Score(), 1.0


def _iddpm(options: Mapping[str, Any]) -> tuple[NoiseSchedule, Preconditioning, float]:
    """The discrete schedule of the table u of Karras et al. (2022, table 1, iDDPM).

    Entry M - 1 - t of the table is the noise level of step t.
    """
    steps = int(options.get("M", 1000))
    c1, c2 = float(options.get("C_1", 0.001)), float(options.get("C_2", 0.008))
    alpha_bar = np.sin(0.5 * np.pi * np.arange(steps + 1) / steps / (c2 + 1)) ** 2
    u = np.zeros(steps + 1)
    for j in range(steps, 0, -1):
        ratio = max(alpha_bar[j - 1] / alpha_bar[j], c1)
        u[j - 1] = np.sqrt((u[j] ** 2 + 1) / ratio - 1)
    alphas_cumprod = 1 / (1 + u[steps - 1 :: -1] ** 2)
    return Discrete(tuple(alphas_cumprod.tolist())), Epsilon(), 1.0


PRECONDITIONERS = {"EDMPrecond": _edm, "VPPrecond": _vp, "VEPrecond": _ve, "iDDPMPrecond": _iddpm}
"""Class of a preconditioner -> of its options: schedule, preconditioning, and scale of time."""

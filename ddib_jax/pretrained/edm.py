"""Checkpoints of NVlabs/edm, exported to safetensors: `SongUNet` and `DhariwalUNet` under any of
its four preconditioners.

Its pickles carry code and are never opened here; docs/checkpoints.md has the export, which runs
once beside their repository. The file's metadata hold, under `edm`, the class of the preconditioner
and its `init_kwargs` as JSON.
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
from ddib_jax.pretrained.torch_files import Renamed, SafetensorsFile
from ddib_jax.pretrained.torch_names import load_params
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
_OWN = {
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
"""Options that are not the network's."""
_PREFIX = "model."


def is_edm(path: Path) -> bool:
    """Whether a file is such an export."""
    return (
        path.is_file()
        and path.suffix == ".safetensors"
        and METADATA in SafetensorsFile(path).metadata
    )


def load_edm(path: str | Path) -> DiffusionModel:
    """The diffusion model of an export, float32; what it was augmented with in training is left at
    zero, as their sampler does.

    Raises ValueError for an unknown class or option and for weights that are not those that the
    options describe.
    """
    path = Path(path)
    file = SafetensorsFile(path)
    try:
        options = dict(json.loads(file.metadata[METADATA]))
        kind = options.pop("class")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} does not say which network of NVlabs/edm it holds; export it as"
            " docs/checkpoints.md says."
        ) from error
    if not isinstance(kind, str) or kind not in MEANINGS:
        raise ValueError(f"{path} holds a {kind}; known are {', '.join(MEANINGS)}.")
    name = options.get(
        "model_type",
        {"EDMPrecond": "DhariwalUNet", "iDDPMPrecond": "DhariwalUNet"}.get(kind, "SongUNet"),
    )
    if not isinstance(name, str) or name not in NETWORKS:
        raise ValueError(f"{path} holds a {name}; known are {', '.join(NETWORKS)}.")
    try:
        schedule, precondition, time_scale = MEANINGS[kind](options)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: the options of its {kind} cannot be understood ({error})."
        ) from error
    channels = options.get("img_channels", 3)
    inner = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in options.items()
        if key not in _OWN
    }
    inner = {
        "out_channels": channels * (2 if kind == "iDDPMPrecond" else 1),
        "time_scale": time_scale,
        **_DEFAULTS.get(name, {}),
        **inner,
    }
    try:
        network = NETWORKS[name](**inner)
    except TypeError as error:
        raise ValueError(f"{path}: {name} has an option that is not known ({error}).") from error
    shape = (network.img_resolution, network.img_resolution, channels)
    inputs = (
        jax.ShapeDtypeStruct((1, *shape), jnp.float32),
        jnp.zeros(1),
        example_condition(network),
    )
    weights = Renamed(
        file, {key.removeprefix(_PREFIX): key for key in file if key != "u"}
    )  # u is computed here
    unused = [
        key for key in weights if key.endswith("resample_filter") or key == "map_augment.weight"
    ]
    return DiffusionModel(
        load_params(network, inputs, weights, path, unused),
        precondition,
        network=network,
        schedule=schedule,
        data_shape=shape,
    )


def _edm(options: Mapping[str, Any]) -> tuple[NoiseSchedule, Preconditioning, float]:
    sigma_data = float(options.get("sigma_data", 0.5))
    return schedules.EDM(), preconditioning.EDM(sigma_data), 1.0


def _vp(options: Mapping[str, Any]) -> tuple[NoiseSchedule, Preconditioning, float]:
    first = float(options.get("beta_min", 0.1))
    return (
        LinearVP(first, first + float(options.get("beta_d", 19.9))),
        Epsilon(),
        float(options.get("M", 1000) - 1),
    )


def _ve(options: Mapping[str, Any]) -> tuple[NoiseSchedule, Preconditioning, float]:
    return (
        VE(float(options.get("sigma_min", 0.02)), float(options.get("sigma_max", 100.0))),
        Score(),
        1.0,
    )


def _iddpm(options: Mapping[str, Any]) -> tuple[NoiseSchedule, Preconditioning, float]:
    """The table u of Karras et al. (2022, table 1), whose entry M - 1 - t is the noise level of
    step t.
    """
    steps, least, offset = (
        int(options.get("M", 1000)),
        float(options.get("C_1", 0.001)),
        float(options.get("C_2", 0.008)),
    )
    bar = np.sin(0.5 * np.pi * np.arange(steps + 1) / steps / (offset + 1)) ** 2
    levels = np.zeros(steps + 1)
    for j in range(steps, 0, -1):
        levels[j - 1] = np.sqrt((levels[j] ** 2 + 1) / max(bar[j - 1] / bar[j], least) - 1)
    return Discrete(tuple((1 / (1 + levels[steps - 1 :: -1] ** 2)).tolist())), Epsilon(), 1.0


MEANINGS = {"EDMPrecond": _edm, "VPPrecond": _vp, "VEPrecond": _ve, "iDDPMPrecond": _iddpm}
"""Class of a preconditioner -> its schedule, preconditioning, and scale of time."""

"""Checkpoints of openai/guided-diffusion, improved-diffusion and DDIB: a state dict in a `.pt` (or
safetensors) file and the flags it was trained with.

The flags lie beside the weights in a JSON file, under the reference's names: `model.json` or
`flags.json` for `model.pt`, or `NAME.json` for `NAME.pt`. What is not there has the reference's
default; the checkpoints that openai published are known by their file names.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets import NoisyClassifier, UNet
from ddib_jax.preconditioning import Epsilon, Sample
from ddib_jax.pretrained.torch_files import open_weights
from ddib_jax.pretrained.torch_names import load_params, state_dict
from ddib_jax.schedules import Discrete
from ddib_jax.types import Params

DEFAULTS = {
    "image_size": 64,
    "num_channels": 128,
    "num_res_blocks": 2,
    "num_heads": 4,
    "num_heads_upsample": -1,
    "num_head_channels": -1,
    "attention_resolutions": "16,8",
    "channel_mult": "",
    "dropout": 0.0,
    "class_cond": False,
    "use_checkpoint": False,
    "use_scale_shift_norm": True,
    "resblock_updown": False,
    "use_fp16": False,
    "use_new_attention_order": False,
    "in_channels": 3,
    "learn_sigma": False,
    "diffusion_steps": 1000,
    "noise_schedule": "linear",
    "timestep_respacing": "",
    "use_kl": False,
    "predict_xstart": False,
    "rescale_timesteps": False,
    "rescale_learned_sigmas": False,
    "sigma_small": False,
}
"""`model_and_diffusion_defaults` of the reference."""
CLASSIFIER_DEFAULTS = {
    "image_size": 64,
    "classifier_use_fp16": False,
    "classifier_width": 128,
    "classifier_depth": 2,
    "classifier_attention_resolutions": "32,16,8",
    "classifier_use_scale_shift_norm": True,
    "classifier_resblock_updown": True,
    "classifier_pool": "attention",
    "out_channels": 1000,
}
"""`classifier_defaults` of the reference."""
_ADM = {
    "attention_resolutions": "32,16,8",
    "learn_sigma": True,
    "num_head_channels": 64,
    "resblock_updown": True,
}
PUBLISHED = {
    "64x64_diffusion.pt": _ADM
    | {
        "image_size": 64,
        "num_channels": 192,
        "num_res_blocks": 3,
        "class_cond": True,
        "noise_schedule": "cosine",
        "use_new_attention_order": True,
    },
    "128x128_diffusion.pt": _ADM
    | {
        "image_size": 128,
        "num_channels": 256,
        "num_head_channels": -1,
        "num_heads": 4,
        "class_cond": True,
    },
    "256x256_diffusion.pt": _ADM | {"image_size": 256, "num_channels": 256, "class_cond": True},
    "256x256_diffusion_uncond.pt": _ADM | {"image_size": 256, "num_channels": 256},
    "512x512_diffusion.pt": _ADM | {"image_size": 512, "num_channels": 256, "class_cond": True},
    **{
        f"lsun_{name}.pt": _ADM | {"image_size": 256, "num_channels": 256}
        for name in ("bedroom", "cat", "horse", "horse_nodropout")
    },
}
"""The flags of openai's published checkpoints, from the README of guided-diffusion."""
PUBLISHED_CLASSIFIERS = {
    f"{size}x{size}_classifier.pt": {"image_size": size, "classifier_depth": depth}
    for size, depth in ((64, 4), (128, 2), (256, 2), (512, 2))
}
_POSITIONS = ("qkv", "proj_out", "qkv_proj", "c_proj")


def load_guided_diffusion(
    path: str | Path, flags: Mapping[str, Any] | None = None
) -> DiffusionModel:
    """The diffusion model of a checkpoint, float32; `flags` in place of those beside it.

    Raises FileNotFoundError where weights or flags are missing, ValueError for a flag that is
    unknown, an option that is not supported, and weights that are not those that the flags
    describe.
    """
    path = Path(path)
    flags = _flags(path, flags, DEFAULTS, PUBLISHED)
    if flags["num_heads_upsample"] not in (-1, flags["num_heads"]):
        raise ValueError(
            f"{path}: num_heads_upsample = {flags['num_heads_upsample']} differs from num_heads;"
            " such networks are not supported."
        )
    weights, size = open_weights(path), flags["image_size"]
    classes = len(_tensor(weights, "label_emb.weight", path)) if flags["class_cond"] else None
    network = UNet(
        out_channels=flags["in_channels"],
        num_res_blocks=flags["num_res_blocks"],
        attention_resolutions=_resolutions(flags["attention_resolutions"]),
        use_scale_shift_norm=flags["use_scale_shift_norm"],
        resblock_updown=flags["resblock_updown"],
        num_classes=classes,
        learn_sigma=flags["learn_sigma"],
        time_scale=1000 / flags["diffusion_steps"] if flags["rescale_timesteps"] else 1.0,
        dropout=float(flags["dropout"]),
        **_heads(flags),
        **_widths(
            weights, flags["num_channels"], flags["channel_mult"], flags["num_res_blocks"], path
        ),
    )
    schedules = {"linear": Discrete.linear, "cosine": Discrete.cosine}
    if flags["noise_schedule"] not in schedules:
        raise ValueError(
            f"{path}: noise_schedule = {flags['noise_schedule']!r} is not known; known are"
            f" {', '.join(schedules)}."
        )
    inputs = (
        jax.ShapeDtypeStruct((1, size, size, flags["in_channels"]), jnp.float32),
        jnp.zeros(1),
        None if classes is None else jnp.zeros(1, jnp.int32),
    )
    params = load_params(network, inputs, weights, path)
    schedule = schedules[flags["noise_schedule"]](flags["diffusion_steps"])
    precondition = Sample() if flags["predict_xstart"] else Epsilon()
    return DiffusionModel(
        params,
        precondition,
        network=network,
        schedule=schedule,
        data_shape=(size, size, flags["in_channels"]),
    )


def load_noisy_classifier(
    path: str | Path, flags: Mapping[str, Any] | None = None
) -> tuple[NoisyClassifier, Params]:
    """The network and parameters of a classifier of noisy images; raises as `load_guided_diffusion`
    does.
    """
    path = Path(path)
    flags = _flags(path, flags, CLASSIFIER_DEFAULTS, PUBLISHED_CLASSIFIERS)
    weights, size = open_weights(path), flags["image_size"]
    network = NoisyClassifier(
        num_classes=flags["out_channels"],
        pool=flags["classifier_pool"],
        num_res_blocks=flags["classifier_depth"],
        attention_resolutions=_resolutions(flags["classifier_attention_resolutions"]),
        num_head_channels=64,
        use_scale_shift_norm=flags["classifier_use_scale_shift_norm"],
        resblock_updown=flags["classifier_resblock_updown"],
        **_widths(weights, flags["classifier_width"], "", flags["classifier_depth"], path),
    )
    channels = _tensor(weights, "input_blocks.0.0.weight", path).shape[1]
    inputs = (jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32), jnp.zeros(1))
    return network, load_params(network, inputs, weights, path)


def to_guided_diffusion(model: DiffusionModel) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The state dict and the flags of a model that guided-diffusion can hold; raises ValueError
    where it cannot.
    """
    network, schedule = model.network, model.schedule
    if (
        not isinstance(network, UNet)
        or network.patch_size != 1
        or network.time_scale not in (1.0, 1000 / _steps(schedule))
    ):
        raise ValueError(
            "guided-diffusion holds its own U-Net alone, without a patch stem and with time in"
            " steps."
        )
    if not isinstance(model.precondition, Epsilon | Sample):
        raise ValueError("guided-diffusion holds models that predict epsilon or the clean image.")
    known = (
        {"linear": Discrete.linear(_steps(schedule)), "cosine": Discrete.cosine(_steps(schedule))}
        if isinstance(schedule, Discrete)
        else {}
    )
    name = next((name for name, other in known.items() if other == schedule), None)
    if name is None:
        raise ValueError(
            "guided-diffusion has linear and cosine betas; this model has another noise schedule."
        )
    size, channels = model.data_shape[0], model.data_shape[-1]
    flags = {
        "image_size": size,
        "num_channels": network.model_channels,
        "num_res_blocks": network.num_res_blocks,
        "num_heads": network.num_heads,
        "num_head_channels": -1 if network.num_head_channels is None else network.num_head_channels,
        "attention_resolutions": ",".join(map(str, network.attention_resolutions)),
        "channel_mult": ",".join(f"{mult:g}" for mult in network.channel_mult),
        "dropout": network.dropout,
        "class_cond": network.num_classes is not None,
        "use_scale_shift_norm": network.use_scale_shift_norm,
        "resblock_updown": network.resblock_updown,
        "use_new_attention_order": network.use_new_attention_order,
        "in_channels": channels,
        "learn_sigma": network.learn_sigma,
        "diffusion_steps": _steps(schedule),
        "noise_schedule": name,
        "predict_xstart": isinstance(model.precondition, Sample),
        "rescale_timesteps": network.time_scale != 1.0,
    }
    return state_dict(model.params, _POSITIONS), flags


def _steps(schedule: Any) -> int:
    return len(schedule.alphas_cumprod) if isinstance(schedule, Discrete) else 1000


def _flags(
    path: Path,
    given: Mapping[str, Any] | None,
    defaults: dict[str, Any],
    published: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """The flags of a checkpoint: those given, those beside it, or those that it was
    published with.
    """
    where = "the given flags"
    if given is None:
        beside = [
            path.with_suffix(".json"),
            path.with_name(f"{path.stem}_flags.json"),
            path.with_name("flags.json"),
        ]
        found = next((file for file in beside if file.is_file()), None)
        if found is not None:
            where = str(found)
            try:
                given = json.loads(found.read_text())
            except ValueError as error:
                raise ValueError(f"{found} is not valid JSON ({error}).") from error
        elif path.name in published:
            given = published[path.name]
        else:
            raise FileNotFoundError(
                f"The flags of {path} are not beside it: write them, under guided-diffusion's"
                f" names, to {beside[0].name} or flags.json."
            )
    if not isinstance(given, Mapping):
        raise ValueError(f"{where} hold no flags: expected an object of names and values.")
    unknown = [name for name in given if name not in defaults]
    if unknown:
        raise ValueError(
            f"{where} have the unknown {', '.join(sorted(unknown))}; known are"
            f" {', '.join(defaults)}."
        )
    if given.get("diffusion_steps", 1000) != 1000 and "rescale_timesteps" not in given:
        raise ValueError(
            f"{where} have diffusion_steps other than 1000 and no rescale_timesteps, which"
            " guided-diffusion has off and improved-diffusion on; say which."
        )
    return {
        **defaults,
        **{name: _typed(where, name, value, defaults[name]) for name, value in given.items()},
    }


def _typed(where: str, name: str, value: Any, default: Any) -> Any:
    """A flag of the type of its default: JSON's own, or the words of a command line."""
    words = {"true": True, "false": False}
    if isinstance(default, bool):
        value = words.get(value.lower(), value) if isinstance(value, str) else value
        fits = isinstance(value, bool)
    elif isinstance(default, str):
        value = (
            ",".join(map(str, value))
            if isinstance(value, list)
            else str(value)
            if isinstance(value, int)
            else value
        )
        fits = isinstance(value, str)
    else:
        fits = (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and (isinstance(default, float) or int(value) == value)
        )
        least = -1 if default in (-1, 0.0) else 1
        fits = fits and value >= least
        value = type(default)(value) if fits else value
    if not fits:
        raise ValueError(f"{where}: {name} = {value!r} is not of the kind of {default!r}.")
    return value


def _tensor(weights: Mapping[str, np.ndarray], key: str, path: Path) -> np.ndarray:
    if key not in weights:
        raise ValueError(
            f"The weights of {path} are not those that its options describe: {key} is missing."
        )
    return weights[key]


def _heads(flags: Mapping[str, Any]) -> dict[str, Any]:
    width = flags["num_head_channels"]
    return {
        "num_heads": flags["num_heads"],
        "num_head_channels": None if width == -1 else width,
        "use_new_attention_order": flags["use_new_attention_order"],
    }


def _resolutions(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in str(text).split(",") if part)


def _widths(
    weights: Mapping[str, np.ndarray], channels: int, mult: str, repeats: int, path: Path
) -> dict[str, Any]:
    """The width of the network and of its levels: as the flags have them, or, where they leave them
    to the image size, as the weights do.
    """
    if mult:
        return {
            "model_channels": channels,
            "channel_mult": tuple(
                float(part) if "." in part else int(part) for part in mult.split(",")
            ),
        }
    widths, block = [], 1
    while f"input_blocks.{block}.0.in_layers.2.weight" in weights:
        widths.append(len(weights[f"input_blocks.{block}.0.in_layers.2.weight"]))
        block += repeats + 1
    if not widths:
        raise ValueError(
            f"The weights of {path} are not those of a U-Net of guided-diffusion:"
            " input_blocks.1.0.in_layers.2.weight is missing."
        )
    return {
        "model_channels": channels,
        "channel_mult": tuple(
            width / channels if width % channels else width // channels for width in widths
        ),
    }

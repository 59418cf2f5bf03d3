"""The flags of guided-diffusion's checkpoints: their defaults, their values, where they lie."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddib_jax.files import read_json

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
"""The flags of openai's published classifiers."""


def read_flags(
    path: Path,
    flags: Mapping[str, Any] | None,
    *,
    defaults: dict[str, Any],
    published: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """All the flags of a checkpoint: `flags`, or those beside it, or those it was published with.

    What they leave out has its default. Raises FileNotFoundError where there are none, ValueError
    for unknown ones and for values of another type than the default's.
    """
    flags, source = (flags, "the given flags") if flags is not None else _find(path, published)
    if not isinstance(flags, Mapping):
        raise ValueError(f"{source} hold no flags: expected an object of names and values.")
    unknown = [name for name in flags if name not in defaults]
    if unknown:
        raise ValueError(
            f"{source} have the unknown {', '.join(sorted(unknown))}; known are"
            f" {', '.join(defaults)}."
        )
    if flags.get("diffusion_steps", 1000) != 1000 and "rescale_timesteps" not in flags:
        raise ValueError(
            f"{source} have diffusion_steps other than 1000 and no rescale_timesteps, which"
            " guided-diffusion has off and improved-diffusion on; say which."
        )
    typed = {name: _typed(source, name, flags[name], defaults[name]) for name in flags}
    return {**defaults, **typed}


def resolutions(text: str) -> tuple[int, ...]:
    """The numbers in a flag of resolutions: `32,16,8` -> (32, 16, 8)."""
    return tuple(int(part) for part in str(text).split(",") if part)


def _find(path: Path, published: dict[str, dict[str, Any]]) -> tuple[Any, str]:
    """The flags beside a checkpoint, or of a published one by its name, and where they are from."""
    files = [
        path.with_suffix(".json"),
        path.with_name(f"{path.stem}_flags.json"),
        path.with_name("flags.json"),
    ]
    file = next((file for file in files if file.is_file()), None)
    if file is not None:
        return read_json(file, "the flags of a checkpoint"), str(file)
    if path.name in published:
        return published[path.name], "the given flags"
    raise FileNotFoundError(
        f"The flags of {path} are not beside it: write them, under guided-diffusion's names, to"
        f" {files[0].name} or flags.json."
    )


def _typed(source: str, name: str, value: Any, default: Any) -> Any:
    """A flag in the type of its default, from JSON's own types or the words of a command line."""
    if isinstance(default, bool):
        if isinstance(value, str):
            value = {"true": True, "false": False}.get(value.lower(), value)
        fits = isinstance(value, bool)
    elif isinstance(default, str):
        if isinstance(value, list):
            value = ",".join(map(str, value))
        elif isinstance(value, int):
            value = str(value)
        fits = isinstance(value, str)
    else:
        # -1 stands for "not set" where it is the default, 0.0 is no dropout; else numbers count.
        minimum = -1 if default in (-1, 0.0) else 1
        number = isinstance(value, int | float) and not isinstance(value, bool)
        whole = number and (isinstance(default, float) or int(value) == value)
        fits = whole and value >= minimum
        value = type(default)(value) if fits else value
    if not fits:
        raise ValueError(f"{source}: {name} = {value!r} is not of the kind of {default!r}.")
    return value

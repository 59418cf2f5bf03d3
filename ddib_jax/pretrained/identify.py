"""What a path holds that is no checkpoint, or not wholly: told in a sentence, whatever it is."""

import re
from pathlib import Path

from ddib_jax.pretrained.single_file import is_single_file
from ddib_jax.pretrained.torch_files import open_weights

_POINTER = b"version https://git-lfs"
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
_DESCRIPTIONS = ("model.json", "config.json", "model_index.json", "scheduler_config.json")
_READ = "model directories, folders of diffusers, and .pt, .pth, .ckpt or .safetensors files"

_OTHERS = {
    "a LoRA, changes to the weights of another model": ("lora_", ".lora"),
    "a model of Stable Diffusion's kind, over the codes of an autoencoder and told a text": (
        "first_stage_model.",
        "cond_stage_model.",
        "conditioner.embedders.",
        "attn2.to_k.weight",
        "double_blocks.",
    ),
    "an autoencoder, without the diffusion model of its codes": ("quant_conv.weight",),
}
"""What other files of weights are, by signs in the names of their tensors; the first that fits."""


def what_it_is(path: Path) -> str | None:
    """Why a path cannot be read as a checkpoint, and what to do; None where nothing is known.

    Only names, the first bytes of files and the names of their tensors are looked at.
    """
    return _folder(path) if path.is_dir() else _file(path)


def _folder(path: Path) -> str | None:
    inside = (path, path / "unet")
    for file in (file for folder in inside for file in sorted(folder.glob("*"))):
        if file.suffix in _WEIGHTS and _begins(file, _POINTER):
            return _pointer(file)
    if (path / "model.json").is_file():
        return None
    out = path.parent if (path / "configuration.json").is_file() else path
    if (out / "training" / "configuration.json").is_file():
        if out is not path and (out / "model.json").is_file():
            return f"{path} is where a training keeps its state; name {out}, which is the model."
        steps = [
            int(step.name) for step in (out / "training" / "steps").glob("*") if step.name.isdigit()
        ]
        if not steps:
            return f"{out} is a training without a checkpoint yet; the same command begins anew."
        return (
            f"{out} is a training that has not ended, whose last checkpoint is of step"
            f" {max(steps)}: the command that began it goes on from there, and with --stop-at"
            f" {max(steps)} it makes a model of that checkpoint."
        )
    generators = [name for name in ("ab", "ba") if (path / name / "model.json").is_file()]
    if generators:
        return f"{path} holds the generators {' and '.join(generators)}; name one of these folders."
    scheduler = ("scheduler/scheduler_config.json", "scheduler_config.json")
    is_unet = (path / "unet" / "config.json").is_file()
    if is_unet and not any((path / name).is_file() for name in scheduler):
        return (
            f"{path} is a checkpoint of a training of diffusers, without its noise schedule: copy"
            " the folder scheduler/ of the pipeline there, or name the finished pipeline."
        )
    return None


def _file(path: Path) -> str | None:
    if _begins(path, _POINTER):
        return _pointer(path)
    if path.name in _DESCRIPTIONS:
        return f"{path} describes a model; name the folder that holds it, {_pipeline(path)}."
    if path.suffix == ".pkl":
        return (
            f"{path} is a pickle, which may run any code and is not opened: export it as"
            " docs/start/pretrained-models.md says, as for the pickles of NVlabs/edm."
        )
    beside = [path.parent / name for name in ("config.json", "model.json")]
    if path.suffix in (".safetensors", ".bin") and any(file.is_file() for file in beside):
        return (
            f"{path} holds the weights alone of a model; name the folder that describes it,"
            f" {_pipeline(path)}."
        )
    if path.suffix == ".bin" or re.match("diffusion_pytorch_model", path.name):
        return (
            f"{path} holds the weights alone of a model of diffusers: put them beside their"
            " config.json and scheduler_config.json, and name that folder."
        )
    if path.suffix not in _WEIGHTS:
        return f"{path} is no checkpoint by its suffix; what is read are {_READ}."
    return _other_kind(path)


def _other_kind(path: Path) -> str | None:
    """Whether the names of a file's tensors are those of something else than a model of images."""
    if is_single_file(path):
        return None
    try:
        names = list(open_weights(path))
    except (OSError, ValueError):
        return None  # whoever loads it says what is wrong
    for kind, signs in _OTHERS.items():
        if any(sign in name for name in names for sign in signs):
            return f"{path} holds {kind}, which is not read; what is read are {_READ}."
    return None


def _pointer(path: Path) -> str:
    return (
        f"{path} is a pointer of git-lfs, not the file itself: fetch it by `git lfs pull` in its"
        " repository."
    )


def _pipeline(path: Path) -> Path:
    """The folder of a model that a file belongs to: that of a pipeline, where it is a part."""
    above = path.parent.parent
    return above if (above / "model_index.json").is_file() else path.parent


def _begins(path: Path, sign: bytes) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(sign)) == sign

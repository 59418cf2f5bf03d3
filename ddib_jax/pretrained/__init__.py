"""Checkpoints on disk, our own and those of other libraries -> DiffusionModel.

One file a format; all of them are strict: every weight is used, of the right shape and finite.
"""

import hashlib
from pathlib import Path
from typing import Any

from ddib_jax.diffusion import DiffusionModel
from ddib_jax.files import read_json
from ddib_jax.pretrained import hub
from ddib_jax.pretrained.diffusers_folder import load_diffusers, save_diffusers
from ddib_jax.pretrained.efficientnet import load_efficientnet
from ddib_jax.pretrained.formats import FORMATS, Format, format_of
from ddib_jax.pretrained.guided_diffusion import (
    load_guided_diffusion,
    load_noisy_classifier,
    to_guided_diffusion,
)
from ddib_jax.pretrained.native import describe, load_model, load_network, save_model, save_network

SHIPPED = Path(__file__).parent / "models"
"""The directory of the models that come with the package."""

CLASSES = "classes.json"
"""The file of class names beside a checkpoint of another format."""

_BLOCK = 2**20  # bytes hashed at a time: weights may be larger than memory


def find(model: str | Path) -> Path:
    """The path of a model: of a path itself, of a shipped model by its name, or of `hf:owner/name`.

    A path that exists comes before a shipped model of that name. Raises FileNotFoundError, with the
    names of the shipped models, where it is none of them, and as `hub.fetch` does.
    """
    if str(model).startswith(hub.PREFIX):
        return hub.fetch(str(model))
    if Path(model).exists():
        return Path(model)
    shipped = sorted(path.parent.name for path in SHIPPED.glob("*/model.json"))
    if str(model) in shipped:
        return SHIPPED / str(model)
    raise FileNotFoundError(
        f"There is no model '{model}': it is neither a path, nor hf:owner/name, nor a shipped model"
        f" ({', '.join(shipped) or 'none'})."
    )


def load(model: str | Path) -> DiffusionModel:
    """The diffusion model at a path, on the hub (`hf:owner/name`), or shipped ("five", "seven").

    The path is a model directory, a folder of diffusers, or a file of guided-diffusion or of EDM.
    Raises as `find` and the format's own loader do.
    """
    path = find(model)
    return format_of(path).load(path)


def fingerprint(model: str | Path) -> str:
    """Sixteen hexadecimal digits that tell one model's weights from another's.

    They are written beside latents, which decode by the model that encoded them alone.
    """
    path = find(model)
    digest = hashlib.sha256()
    for part in format_of(path).weights(path):
        with part.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()[:16]


def facts(model: str | Path) -> dict[str, Any]:
    """The contents of a model's `model.json` (classes, data, training); {} for another format."""
    path = find(model)
    return describe(path) if format_of(path) is FORMATS["ddib"] else {}


def class_names(model: str | Path) -> tuple[str, ...]:
    """The names of a model's classes, in the order of their labels; () where they have none.

    A checkpoint of another format has them in `classes.json`, a list of names, in its folder.
    Raises ValueError for a file of anything else.
    """
    path = find(model)
    file = (path if path.is_dir() else path.parent) / CLASSES
    if format_of(path) is FORMATS["ddib"] or not file.is_file():
        return tuple(facts(model).get("classes") or ())
    names = read_json(file, "a list of the names of classes")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{file} is not a list of the names of classes.")
    return tuple(names)


__all__ = [
    "CLASSES",
    "FORMATS",
    "SHIPPED",
    "Format",
    "class_names",
    "describe",
    "facts",
    "find",
    "fingerprint",
    "format_of",
    "load",
    "load_diffusers",
    "load_efficientnet",
    "load_guided_diffusion",
    "load_model",
    "load_network",
    "load_noisy_classifier",
    "save_diffusers",
    "save_model",
    "save_network",
    "to_guided_diffusion",
]

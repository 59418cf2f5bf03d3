"""Checkpoints on disk, of this house and of others -> DiffusionModel; one file a format, all of
them strict.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from ddib_jax.diffusion import DiffusionModel
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

CLASSES = "classes.json"


def find(model: str | Path) -> Path:
    """Where a model lies that is given by path, by the name of a shipped one, or as
    `hf:owner/name`.

    Raises FileNotFoundError, with the names of the shipped models, when it is none of them.
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
    """The diffusion model at a path (a model directory, a diffusers folder, a guided-diffusion
    file), on the hub, or shipped ("five", "seven").
    """
    path = find(model)
    return format_of(path).load(path)


def fingerprint(model: str | Path) -> str:
    """Sixteen hexadecimal digits that tell one model's weights from another's, for the latents that
    it makes.
    """
    path = find(model)
    digest = hashlib.sha256()
    for part in format_of(path).weights(path):
        with part.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()[:16]


def facts(model: str | Path) -> dict[str, Any]:
    """What `model.json` says of a model (classes, data, training); {} for a checkpoint of another
    format.
    """
    path = find(model)
    return describe(path) if format_of(path) is FORMATS["ddib"] else {}


def class_names(model: str | Path) -> tuple[str, ...]:
    """The names of a model's classes, in the order of their labels; () where they have none.

    A checkpoint of another format has them in `classes.json`, a list of names, in its folder.
    Raises ValueError for a file of anything else.
    """
    path = find(model)
    beside = (path if path.is_dir() else path.parent) / CLASSES
    if format_of(path) is FORMATS["ddib"] or not beside.is_file():
        return tuple(facts(model).get("classes") or ())
    try:
        names = json.loads(beside.read_text())
    except ValueError as error:
        raise ValueError(f"{beside} is not valid JSON ({error}).") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{beside} is not a list of the names of classes.")
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

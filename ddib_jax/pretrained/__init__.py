"""Checkpoints on disk -> DiffusionModel; one file a format."""

import hashlib
from pathlib import Path

from ddib_jax.diffusion import DiffusionModel
from ddib_jax.pretrained.native import describe, load_classifier, load_model, save_classifier, save_model

SHIPPED = Path(__file__).parent / "models"


def find(model: str | Path) -> Path:
    """The directory of a model given by path or by the name of a shipped one.

    Raises FileNotFoundError, with the names of the shipped models, when it is neither.
    """
    if Path(model).is_dir():
        return Path(model)
    shipped = sorted(path.parent.name for path in SHIPPED.glob("*/model.json"))
    if str(model) in shipped:
        return SHIPPED / str(model)
    raise FileNotFoundError(
        f"There is no model '{model}': it is neither a directory nor a shipped model ({', '.join(shipped) or 'none'})."
    )


def load(model: str | Path) -> DiffusionModel:
    """The diffusion model in a model directory, given by path or by the name of a shipped model ("five", "seven")."""
    return load_model(find(model))


def fingerprint(model: str | Path) -> str:
    """Sixteen hexadecimal digits that tell one model's weights from another's, for the latents that it makes."""
    with (find(model) / "weights.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


__all__ = ["SHIPPED", "describe", "find", "fingerprint", "load", "load_classifier", "load_model", "save_classifier", "save_model"]

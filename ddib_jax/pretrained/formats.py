"""The formats of checkpoints that are known: how each is recognised, and read."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ddib_jax.diffusion import DiffusionModel
from ddib_jax.pretrained.diffusers_folder import is_diffusers, load_diffusers, weights_of
from ddib_jax.pretrained.edm import is_edm, load_edm
from ddib_jax.pretrained.guided_diffusion import load_guided_diffusion
from ddib_jax.pretrained.native import load_model

SUFFIXES = (".pt", ".pth", ".safetensors")


class Format(NamedTuple):
    """A format of checkpoints: does a path hold one, its diffusion model, and its files
    of weights.
    """

    holds: Callable[[Path], bool]
    load: Callable[[Path], DiffusionModel]
    weights: Callable[[Path], list[Path]]


FORMATS: dict[str, Format] = {
    "ddib": Format(
        lambda path: (path / "model.json").is_file(),
        load_model,
        lambda path: [path / "weights.safetensors"],
    ),
    "diffusers": Format(is_diffusers, load_diffusers, weights_of),
    "edm": Format(is_edm, load_edm, lambda path: [path]),
    "guided-diffusion": Format(
        lambda path: path.is_file() and path.suffix in SUFFIXES,
        load_guided_diffusion,
        lambda path: [path],
    ),
}


def format_of(path: Path) -> Format:
    """The format of the checkpoint at a path; that of model directories, whose errors say what is
    missing, where none is recognised.
    """
    return next((known for known in FORMATS.values() if known.holds(path)), FORMATS["ddib"])

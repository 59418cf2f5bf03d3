"""The formats of checkpoints that are known: how each is recognised, and read."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ddib_jax.conditioning import Conditioner
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.pretrained.diffusers_files import weight_files
from ddib_jax.pretrained.diffusers_folder import is_diffusers, load_diffusers
from ddib_jax.pretrained.diffusers_pipeline import (
    is_pipeline,
    load_pipeline,
    pipeline_conditioner,
    pipeline_weights,
)
from ddib_jax.pretrained.edm import is_edm, load_edm
from ddib_jax.pretrained.guided_diffusion import load_guided_diffusion
from ddib_jax.pretrained.native import load_model, text_conditioner
from ddib_jax.pretrained.single_file import (
    is_single_file,
    load_single_file,
    single_file_conditioner,
)

SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")


class Format(NamedTuple):
    """A format of checkpoints."""

    holds: Callable[[Path], bool]
    """Whether a path is a checkpoint of this format."""
    load: Callable[[Path], DiffusionModel]
    """Its diffusion model."""
    weights: Callable[[Path], list[Path]]
    """Its files of weights."""
    conditioner: Callable[[Path, DiffusionModel, str], Conditioner | None] | None = None
    """What turns words into conditions, by path, model and the name for error sentences, where the
    checkpoint holds it and not the network alone says so.
    """
    at_size: Callable[..., DiffusionModel] | None = None
    """As `load`, for images of another size, `image_size`, where the model has no size of its own.
    """


# The first format that holds a path has it, so pipelines of latents come before other folders of
# diffusers. `edm` and `single-file` come before `guided-diffusion`: all may be safetensors files,
# and the first two can tell their own, by their metadata and by their names.
FORMATS: dict[str, Format] = {
    "ddib": Format(
        lambda path: (path / "model.json").is_file(),
        load_model,
        lambda path: [path / "weights.safetensors"],
        conditioner=text_conditioner,
    ),
    "diffusers-pipeline": Format(
        is_pipeline,
        load_pipeline,
        pipeline_weights,
        conditioner=pipeline_conditioner,
        at_size=load_pipeline,
    ),
    "diffusers": Format(is_diffusers, load_diffusers, weight_files),
    "edm": Format(is_edm, load_edm, lambda path: [path]),
    "single-file": Format(
        is_single_file,
        load_single_file,
        lambda path: [path],
        conditioner=single_file_conditioner,
        at_size=load_single_file,
    ),
    "guided-diffusion": Format(
        lambda path: path.is_file() and path.suffix in SUFFIXES,
        load_guided_diffusion,
        lambda path: [path],
    ),
}


def format_of(path: Path) -> Format:
    """The format of the checkpoint at a path.

    Where none is recognised, that of model directories: its errors say what is missing.
    """
    return next((format for format in FORMATS.values() if format.holds(path)), FORMATS["ddib"])

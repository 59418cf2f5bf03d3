"""`ddib convert`: a model of any known format in, one of another format out."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ddib_jax import pretrained
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.files import drafted
from ddib_jax.nets import example_condition
from ddib_jax.pretrained.torch_writer import save_state_dict


@dataclass(frozen=True)
class Convert:
    """Write a model in another format, its weights bit for bit."""

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    """A path (model directory, diffusers folder, guided-diffusion .pt), hf:owner/name, or a shipped
    model.
    """
    to: Literal["ddib", "diffusers", "guided-diffusion"]
    """A model directory of this package, a folder of diffusers, or a file of guided-diffusion."""
    out: Path
    """The folder to write: a model directory, a diffusers folder, or model.pt beside its
    flags.json; with the classes' names in classes.json.
    """

    def run(self) -> None:
        """Read and write."""
        model = pretrained.load(self.model)
        WRITERS[self.to](self.out, model, self.model)
        print(f"{self.model} lies in {self.out} as {self.to} has it.")


def _ddib(out: Path, model: DiffusionModel, name: str) -> None:
    facts = pretrained.facts(name)
    facts = {key: facts[key] for key in facts if key in ("data", "training")}
    if not facts:
        facts = {"data": {}, "training": {"converted_from": Path(name).name}}
    names = pretrained.class_names(name)
    if names and example_condition(model.network) is not None:
        facts = {"classes": list(names), **facts}
    pretrained.save_model(out, model, facts=facts)


def _diffusers(out: Path, model: DiffusionModel, name: str) -> None:
    pretrained.save_diffusers(out, model)
    _name_classes(out, name)


def _guided_diffusion(out: Path, model: DiffusionModel, name: str) -> None:
    state, flags = pretrained.to_guided_diffusion(model)
    with drafted(out) as draft:
        save_state_dict(draft / "model.pt", state)
        (draft / "flags.json").write_text(json.dumps(flags, indent=1) + "\n")
        _name_classes(draft, name)


def _name_classes(folder: Path, name: str) -> None:
    """Write the classes' names beside a format that has no place for them.

    Classes without names are an empty list, written over those of a model that was there.
    """
    names = json.dumps(pretrained.class_names(name), indent=1)
    (folder / pretrained.CLASSES).write_text(names + "\n")


WRITERS = {"ddib": _ddib, "diffusers": _diffusers, "guided-diffusion": _guided_diffusion}

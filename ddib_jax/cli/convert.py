"""`ddib convert`: a model of any known format in, one of another format out."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ddib_jax import pretrained
from ddib_jax.files import check_output, drafted
from ddib_jax.pretrained import Checkpoint
from ddib_jax.pretrained.torch_writer import save_state_dict

_WRITTEN = {
    "ddib": ("model.json",),
    "diffusers": ("unet", pretrained.CLASSES),
    "guided-diffusion": ("model.pt", "flags.json", pretrained.CLASSES),
}
"""What of each format a model that lies in its place already would lose."""


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

    weights: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Which weights to take of a file that holds several, such as ema; asked for where it does."""

    def run(self) -> None:
        """Read and write."""
        check_output(self.out)
        for name in _WRITTEN[self.to]:
            if (self.out / name).exists():
                raise FileExistsError(
                    f"{self.out} holds a model already ({name}); give another directory, or remove"
                    " it."
                )
        checkpoint = pretrained.open(self.model, weights=self.weights)
        if checkpoint.model().codec is not None:
            raise ValueError(
                f"'{self.model}' is a latent model, whose autoencoder no format written here holds;"
                " it is used as it is."
            )
        WRITERS[self.to](self.out, checkpoint)
        print(f"{self.model} lies in {self.out} as {self.to} has it.")


def _ddib(out: Path, checkpoint: Checkpoint) -> None:
    facts = {
        key: checkpoint.facts[key]
        for key in ("data", "training", "pixels")
        if key in checkpoint.facts
    }
    if not facts:
        facts = {"data": {}, "training": {"converted_from": Path(checkpoint.name).name}}
    model = checkpoint.model()
    if checkpoint.classes and model.network.condition_spec() is not None:
        facts = {"classes": list(checkpoint.classes), **facts}
    encoder = pretrained.load_text_encoder(checkpoint.path) if "text" in checkpoint.facts else None
    pretrained.save_model(out, model, facts=facts, encoder=encoder)


def _diffusers(out: Path, checkpoint: Checkpoint) -> None:
    pretrained.save_diffusers(out, checkpoint.model())
    _name_classes(out, checkpoint)


def _guided_diffusion(out: Path, checkpoint: Checkpoint) -> None:
    state, flags = pretrained.to_guided_diffusion(checkpoint.model())
    with drafted(out) as draft:
        save_state_dict(draft / "model.pt", state)
        (draft / "flags.json").write_text(json.dumps(flags, indent=1) + "\n")
        _name_classes(draft, checkpoint)


def _name_classes(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the classes' names beside a format that has no place for them; [] for none."""
    names = json.dumps(checkpoint.classes, indent=1)
    (folder / pretrained.CLASSES).write_text(names + "\n")


WRITERS = {"ddib": _ddib, "diffusers": _diffusers, "guided-diffusion": _guided_diffusion}

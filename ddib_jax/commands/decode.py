"""`ddib decode`: latents in, images out."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ddib_jax import pretrained, translation
from ddib_jax.commands.arguments import ModelName
from ddib_jax.commands.conditions import Condition, Conditioned
from ddib_jax.commands.crossing import Crossing, Flat
from ddib_jax.commands.latents import closing, read_latents
from ddib_jax.commands.results import Results, open_folder, unique_names
from ddib_jax.progress import progress
from ddib_jax.solvers import LatticeHeun


@dataclass(frozen=True)
class Decode:
    """Decode latents to images of a model's domain.

    With an auxiliary state the images come back exactly, by the options that encoded them.

    By lattice-heun they do so to the bit, and how many did is printed.
    """

    input: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="LATENTS")]
    """The .npz file that `ddib encode` wrote."""
    model: ModelName
    """The model of the domain to decode into: a model directory or a shipped model."""
    out: Path
    """Where the images go, one PNG each."""
    condition: Conditioned = dataclasses.field(default_factory=Condition)
    crossing: Flat = dataclasses.field(default_factory=Crossing)

    def run(self) -> None:
        """Read, decode, write."""
        open_folder(self.out)
        own, latents, model, aux = read_latents(self.input)
        names = unique_names(own)
        checkpoint = pretrained.open(self.model, image_size=self.condition.size)
        target = self.crossing.bridge(self.condition.model(checkpoint))
        if aux is not None and model != self.condition.mark(checkpoint):
            print(
                "The latents were encoded by another model, or under another condition: their"
                " auxiliary state is of no use here, and the latents alone are decoded."
            )
            aux = None
        options = {
            "batch_size": self.crossing.batch(target, len(latents)),
            "progress": progress("decoding"),
        }
        if aux is not None and isinstance(target.solver, LatticeHeun):
            end = translation.hand_on(target, aux, rising=False, **options)
            print(closing(target.solver, end.aux.value))
            images = end.y
        else:
            images = translation.decode(target, latents, aux=aux, **options)
        changed = {safe: name for safe, name in zip(names, own, strict=True) if safe != name}
        results = Results(self.out, names, changed)
        results.write(0, images)
        results.close()
        print(f"{len(names)} images lie in {self.out}.")

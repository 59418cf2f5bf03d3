"""`ddib encode`: images in, latents out."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ddib_jax import bridge, pretrained
from ddib_jax.commands.arguments import ColourName, Inputs, ModelName
from ddib_jax.commands.conditions import Condition, Conditioned
from ddib_jax.commands.crossing import Crossing, Flat, progress, read_inputs
from ddib_jax.commands.latents import LatentFile, write_latents
from ddib_jax.solvers import SOLVERS, is_reversible


@dataclass(frozen=True)
class Encode:
    """Encode images to latents, which whoever holds the other model can decode."""

    input: Inputs
    """Image files, folders of images, or a data set (five, digits:3 ...)."""
    model: ModelName
    """The model of the images' domain: a model directory or a shipped model."""
    out: Path
    """The .npz file to write: `latents` [n h w c] of unit variance, the images' `names`, and which
    `model` made them.
    """
    background: ColourName = "white"
    """What transparency is laid over: a colour by name or as #rrggbb."""
    split: Literal["train", "test"] = "test"
    """Which split of a named data set."""
    limit: int | None = None
    """Take only this many images, the first ones."""
    carry: bool = False
    """Also store what a reversible solver carries, twice the size: decoding by the same model then
    gives the images back exactly.
    """
    condition: Conditioned = dataclasses.field(default_factory=Condition)
    crossing: Flat = dataclasses.field(default_factory=Crossing)

    def run(self) -> None:
        """Read, encode, write."""
        checkpoint = pretrained.open(self.model)
        model = self.condition.model(checkpoint)
        source = self.crossing.bridge(model)
        names, images = read_inputs(
            self.input,
            model.data_shape,
            split=self.split,
            limit=self.limit,
            background=self.background,
        )
        if self.carry and not is_reversible(source.solver):
            names = ", ".join(name for name, solver in SOLVERS.items() if is_reversible(solver))
            raise ValueError(
                f"'{self.crossing.solver}' carries nothing; reversible solvers are {names}."
            )
        options = {
            "batch_size": self.crossing.batch(source, len(images)),
            "progress": progress("encoding"),
        }
        if self.carry:
            latents, carry = bridge.encode(source, images, return_carry=True, **options)
        else:
            latents, carry = bridge.encode(source, images, **options), None
        encoded = LatentFile(names, latents, self.condition.mark(checkpoint), carry)
        write_latents(self.out, encoded, self.crossing.solver)
        print(f"{len(names)} latents lie in {self.out}.")

"""`ddib encode`, `decode` and `sample`: one bridge from the command line."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from ddib_jax import bridge, pretrained
from ddib_jax.commands.conditions import Condition, class_labels
from ddib_jax.commands.crossing import (
    Crossing,
    Flat,
    Inputs,
    LatentFile,
    progress,
    read_inputs,
    read_latents,
    write_latents,
)
from ddib_jax.data.png import write_grid, write_images
from ddib_jax.files import drafted
from ddib_jax.solvers import SOLVERS, is_reversible


@dataclass(frozen=True)
class Encode:
    """Encode images to latents, which may travel to whoever holds the other model."""

    input: Inputs
    """Image files, folders of images, or a data set (five, digits:3 ...)."""
    model: str
    """The model of the images' domain: a model directory or a shipped model."""
    out: Path
    """The .npz file to write: `latents` [n h w c] of unit variance, the images' `names`, and which
    `model` made them.
    """
    background: str = "white"
    """What transparency is laid over: a colour by name or as #rrggbb."""
    split: Literal["train", "test"] = "test"
    """Which split of a named data set."""
    limit: int | None = None
    """Take only the first images."""
    carry: bool = False
    """Also store what a reversible solver carries, twice the size: decoding by the same model then
    gives the images back exactly.
    """
    condition: Annotated[Condition, tyro.conf.OmitArgPrefixes] = dataclasses.field(
        default_factory=Condition
    )
    crossing: Flat = dataclasses.field(default_factory=Crossing)

    def run(self) -> None:
        """Read, encode, write."""
        model = self.condition.model(self.model)
        here = self.crossing.bridge(model)
        names, images = read_inputs(
            self.input,
            model.data_shape,
            split=self.split,
            limit=self.limit,
            background=self.background,
        )
        if self.carry and not is_reversible(here.solver):
            known = ", ".join(name for name, solver in SOLVERS.items() if is_reversible(solver))
            raise ValueError(
                f"'{self.crossing.solver}' carries nothing; reversible solvers are {known}."
            )
        options = {
            "batch_size": self.crossing.batch(here, len(images)),
            "progress": progress("encoding"),
        }
        found = bridge.encode(here, images, return_carry=self.carry, **options)
        latents, carry = found if self.carry else (found, None)
        write_latents(
            self.out,
            LatentFile(names, latents, self.condition.mark(self.model), carry),
            self.crossing.solver,
        )
        print(f"{len(names)} latents lie in {self.out}.")


@dataclass(frozen=True)
class Decode:
    """Decode latents, of this or of another model's encoding, to images.

    Latents stored with a carry give their images back exactly, by the model, solver, steps and grid
    that encoded them.
    """

    input: tyro.conf.Positional[Path]
    """The .npz file that `ddib encode` wrote."""
    model: str
    """The model of the domain to decode into: a model directory or a shipped model."""
    out: Path
    """Where the images go, one PNG each."""
    condition: Annotated[Condition, tyro.conf.OmitArgPrefixes] = dataclasses.field(
        default_factory=Condition
    )
    crossing: Flat = dataclasses.field(default_factory=Crossing)

    def run(self) -> None:
        """Read, decode, write."""
        names, latents, model, carry = read_latents(self.input)
        there = self.crossing.bridge(self.condition.model(self.model))
        if carry is not None and model != self.condition.mark(self.model):
            print(
                "The latents were encoded by another model, or under another condition: what its"
                " solver carried cannot cross, and only the latents are decoded."
            )
            carry = None
        size = self.crossing.batch(there, len(latents))
        images = bridge.decode(
            there, latents, carry=carry, batch_size=size, progress=progress("decoding")
        )
        with drafted(self.out) as draft:
            write_images(draft, names, images)
        print(f"{len(names)} images lie in {self.out}.")


@dataclass(frozen=True)
class Sample:
    """Sample new images of a model's domain, by decoding Gaussian noise."""

    model: str
    """A model directory or a shipped model."""
    out: Path
    """Where the samples go, one PNG each, and sheet.png with all."""
    label: Annotated[str, tyro.conf.arg(name="class")] = "all"
    """Classes of a class-conditional model, parted by commas, in turn."""
    count: int = 64
    """How many images in all; several classes take turns."""
    seed: int = 0
    """Seed of the latents."""
    crossing: Flat = dataclasses.field(default_factory=Crossing)

    def run(self) -> None:
        """Draw noise, decode, write."""
        if self.count < 1:
            raise ValueError(f"At least one sample is needed, not {self.count}.")
        model = pretrained.load(self.model)
        noise = np.asarray(
            jax.random.normal(jax.random.key(self.seed), (self.count, *model.data_shape))
        )
        here, classes = self.crossing.bridge(model), class_labels(self.label, self.model, model)
        labels = None if classes is None else np.resize(classes, self.count)
        given = here if classes is None else here.replace(model=model.given(jnp.asarray(0)))
        size = self.crossing.batch(given, self.count)
        images = bridge.sample(
            here, noise, labels=labels, batch_size=size, progress=progress("sampling")
        )
        with drafted(self.out) as draft:
            write_images(draft, [f"sample-{i:05d}" for i in range(self.count)], images)
            write_grid(draft / "sheet.png", images)
        print(f"{self.count} samples lie in {self.out}.")

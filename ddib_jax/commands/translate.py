"""`ddib translate`, `encode`, `decode` and `sample`: crossing bridges from the command line."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np
import tyro

from ddib_jax import bridge, pretrained
from ddib_jax.commands.crossing import Crossing, Encoded, progress, read_inputs, read_latents, write_latents
from ddib_jax.data.png import write_grid, write_images
from ddib_jax.files import drafted
from ddib_jax.solvers import SOLVERS, is_reversible

Inputs = tyro.conf.Positional[list[str]]
Flat = Annotated[Crossing, tyro.conf.OmitArgPrefixes]


@dataclass(frozen=True)
class Translate:
    """Translate images of one domain into another."""

    input: Inputs
    """Image files, folders of images, or a data set (five, digits:3 ...)."""
    source: str
    """The model of the images' domain: a model directory or a shipped model."""
    target: str
    """The model of the domain to translate into."""
    out: Path
    """Where the translations go, one PNG an image, and sheet.png with each source above its translation."""
    split: Literal["train", "test"] = "test"
    limit: int | None = None
    """Take only the first images."""
    crossing: Flat = dataclasses.field(default_factory=Crossing)

    def run(self) -> None:
        """Read, encode, decode, write."""
        source, target = pretrained.load(self.source), pretrained.load(self.target)
        bridge.check_meeting(source, target)
        here, there = self.crossing.bridge(source), self.crossing.bridge(target)
        names, images = read_inputs(self.input, source.data_shape, split=self.split, limit=self.limit)
        size = self.crossing.batch_size
        latents = bridge.encode(here, images, batch_size=size, progress=progress("encoding"))
        translations = bridge.decode(there, latents, batch_size=size, progress=progress("decoding"))
        with drafted(self.out) as draft:
            write_images(draft, names, translations)
            columns = min(len(names), 16)
            rows = [part[i : i + columns] for i in range(0, min(len(names), 64), columns) for part in (images, translations)]
            write_grid(draft / "sheet.png", np.concatenate([_filled(row, columns) for row in rows]), columns)
        print(f"{len(names)} translations lie in {self.out}.")


@dataclass(frozen=True)
class Encode:
    """Encode images to latents, which may travel to whoever holds the other model."""

    input: Inputs
    """Image files, folders of images, or a data set (five, digits:3 ...)."""
    model: str
    """The model of the images' domain: a model directory or a shipped model."""
    out: Path
    """The .npz file to write: `latents` [n h w c] of unit variance, the images' `names`, and which `model` made them."""
    split: Literal["train", "test"] = "test"
    limit: int | None = None
    """Take only the first images."""
    carry: bool = False
    """Also store what a reversible solver carries, twice the size: decoding by the same model then gives the images back exactly."""
    crossing: Flat = dataclasses.field(default_factory=Crossing)

    def run(self) -> None:
        """Read, encode, write."""
        model = pretrained.load(self.model)
        names, images = read_inputs(self.input, model.data_shape, split=self.split, limit=self.limit)
        here = self.crossing.bridge(model)
        if self.carry and not is_reversible(here.solver):
            known = ", ".join(name for name, solver in SOLVERS.items() if is_reversible(solver))
            raise ValueError(f"'{self.crossing.solver}' carries nothing; reversible solvers are {known}.")
        options = {"batch_size": self.crossing.batch_size, "progress": progress("encoding")}
        found = bridge.encode(here, images, return_carry=self.carry, **options)
        latents, carry = found if self.carry else (found, None)
        write_latents(self.out, Encoded(names, latents, pretrained.fingerprint(self.model), carry), self.crossing.solver)
        print(f"{len(names)} latents lie in {self.out}.")


@dataclass(frozen=True)
class Decode:
    """Decode latents, of this or of another model's encoding, to images.

    Latents stored with a carry give their images back exactly, by the model, solver, steps and grid that encoded them.
    """

    input: tyro.conf.Positional[Path]
    """The .npz file that `ddib encode` wrote."""
    model: str
    """The model of the domain to decode into: a model directory or a shipped model."""
    out: Path
    """Where the images go, one PNG each."""
    crossing: Flat = dataclasses.field(default_factory=Crossing)

    def run(self) -> None:
        """Read, decode, write."""
        names, latents, model, carry = read_latents(self.input)
        there = self.crossing.bridge(pretrained.load(self.model))
        if carry is not None and model != pretrained.fingerprint(self.model):
            print("The latents were encoded by another model: what its solver carried cannot cross, and only the latents are decoded.")
            carry = None
        images = bridge.decode(there, latents, carry=carry, batch_size=self.crossing.batch_size, progress=progress("decoding"))
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
    count: int = 64
    seed: int = 0
    crossing: Flat = dataclasses.field(default_factory=Crossing)

    def run(self) -> None:
        """Draw noise, decode, write."""
        if self.count < 1:
            raise ValueError(f"At least one sample is needed, not {self.count}.")
        model = pretrained.load(self.model)
        noise = np.asarray(jax.random.normal(jax.random.key(self.seed), (self.count, *model.data_shape)))
        size = self.crossing.batch_size
        images = bridge.sample(self.crossing.bridge(model), noise, batch_size=size, progress=progress("sampling"))
        with drafted(self.out) as draft:
            write_images(draft, [f"sample-{i:05d}" for i in range(self.count)], images)
            write_grid(draft / "sheet.png", images)
        print(f"{self.count} samples lie in {self.out}.")


def _filled(row: np.ndarray, columns: int) -> np.ndarray:
    return np.concatenate([row, np.ones((columns - len(row), *row.shape[1:]), row.dtype)])

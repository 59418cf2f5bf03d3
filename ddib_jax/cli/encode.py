"""`ddib encode`: images in, latents out."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ddib_jax import pretrained, translation
from ddib_jax.cli.arguments import ColourName, DeclaredRange, FlatReading, Inputs, ModelName
from ddib_jax.cli.conditions import Condition, Conditioned
from ddib_jax.cli.crossing import Crossing, Flat, filled, told_once
from ddib_jax.cli.fitting import Fitted, Fitting
from ddib_jax.cli.pixels import scale_of
from ddib_jax.data.inputs import Reading, check_not_read, open_inputs
from ddib_jax.data.results import write_unreadable
from ddib_jax.files import check_output
from ddib_jax.options import OptionalCount
from ddib_jax.progress import progress
from ddib_jax.solvers import SOLVERS
from ddib_jax.translation.latent_files import LatentFile, write_latents


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
    """Which split of a data set, or of a folder that has splits."""
    limit: OptionalCount = None
    """Take only this many images, the first ones."""
    aux: bool = False
    """Also store the auxiliary state of a reversible solver, twice the size: decoding by the same
    model then gives the images back exactly.
    """
    declared: DeclaredRange = ()
    """Read files as they are, and take these values, in the files' own units, for black and white;
    for a model that does not say so itself: 0 65535, or a pair for each channel.
    """
    reading: FlatReading = dataclasses.field(default_factory=Reading)
    fitting: Fitted = dataclasses.field(default_factory=Fitting)
    condition: Conditioned = dataclasses.field(default_factory=Condition)
    crossing: Flat = dataclasses.field(default_factory=Crossing)

    def run(self) -> None:
        """Read, encode, write."""
        check_output(self.out, suffix=".npz", what="Latents")
        check_not_read(self.out, self.input)
        checkpoint = pretrained.open(self.model, image_size=self.condition.size)
        model = self.condition.model(checkpoint)
        source = self.crossing.bridge(model)
        if self.aux and source.solver.inverse is None:
            names = ", ".join(name for name, solver in SOLVERS.items() if solver.inverse)
            raise ValueError(
                f"'{self.crossing.solver}' has no auxiliary state; reversible solvers are {names}."
            )
        images = open_inputs(
            self.input,
            model.image_shape,
            split=self.split,
            limit=self.limit,
            background=self.background,
            reading=self.reading,
            scale=scale_of(checkpoint),
            declared=self.declared,
            fit=self.fitting.fit,
        )
        images.check_alike()
        source = self.fitting.for_pictures(source, images.take(0, 1).shape[1:3])
        size = min(self.crossing.batch(source, len(images)), len(images))
        told, latents, states, aux = set(), [], [], None
        # Batch by batch: the images are never all in memory as floats.
        for start in progress("encoding")(range(0, len(images), size)):
            part = images.take(start, start + size)
            with told_once(told):
                solution = translation.encode(source, filled(part, size), batch_size=size)
            latents.append(solution.y[: len(part)])
            if self.aux:
                aux = solution.aux
                states.append(aux.value[: len(part)])
        if aux is not None:
            aux = dataclasses.replace(aux, value=np.concatenate(states))
        mark = self.condition.mark(checkpoint)
        kept = images.to_arrays(overlap=self.fitting.share)
        encoded = LatentFile(images.names, np.concatenate(latents), mark, aux, kept)
        write_latents(self.out, encoded, self.crossing.solver)
        write_unreadable(self.out.with_suffix(".unreadable.txt"), images.unreadable)
        print(f"{len(images)} latents lie in {self.out}.")

"""`ddib sample`: noise in, images out."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from ddib_jax import pretrained, translation
from ddib_jax.commands.arguments import ModelName
from ddib_jax.commands.conditions import class_labels
from ddib_jax.commands.crossing import Crossing, Flat, progress
from ddib_jax.data.png import write_grid, write_images
from ddib_jax.files import drafted


@dataclass(frozen=True)
class Sample:
    """Sample images of a model's domain by decoding Gaussian noise."""

    model: ModelName
    """A model directory or a shipped model."""
    out: Path
    """Where the samples go, one PNG each, and sheet.png with all."""
    label: Annotated[str, tyro.conf.arg(name="class", metavar="CLASS[,CLASS ...]|all")] = "all"
    """Classes of a class-conditional model by name or number, separated by commas; the samples take
    them in turn.
    """
    count: int = 64
    """How many images in all."""
    seed: int = 0
    """Seed of the latents."""
    crossing: Flat = dataclasses.field(default_factory=Crossing)

    def run(self) -> None:
        """Draw noise, decode, write."""
        if self.count < 1:
            raise ValueError(f"At least one sample is needed, not {self.count}.")
        model = pretrained.load(self.model)
        key = jax.random.key(self.seed)
        noise = np.asarray(jax.random.normal(key, (self.count, *model.data_shape)))
        target, classes = self.crossing.bridge(model), class_labels(self.label, self.model, model)
        labels, measured = None, target
        if classes is not None:
            labels = np.resize(np.asarray(classes, np.int32), self.count)
            # A batch is measured with any label: how long an evaluation takes depends on none.
            measured = target.replace(model=model.given(jnp.asarray(0)))
        images = translation.sample(
            target,
            noise,
            cond=labels,
            batch_size=self.crossing.batch(measured, self.count),
            progress=progress("sampling"),
        )
        with drafted(self.out) as draft:
            write_images(draft, [f"sample-{i:05d}" for i in range(self.count)], images)
            write_grid(draft / "sheet.png", images)
        print(f"{self.count} samples lie in {self.out}.")

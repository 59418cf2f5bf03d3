"""`ddib distill`: a pair of models in, a network that translates in one evaluation out."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ddib_jax.bridge import DDIB
from ddib_jax.cli.arguments import SolverName
from ddib_jax.cli.crossing import Crossing, read_inputs
from ddib_jax.cli.models import Models
from ddib_jax.cli.pixels import source_scale, target_scale
from ddib_jax.data.scale import pixel_facts
from ddib_jax.distillation import Distillation, distill
from ddib_jax.options import Count, OptionalCount
from ddib_jax.progress import progress


@dataclass(frozen=True, kw_only=True)
class Distill(Distillation):
    """Train a network that translates in one evaluation, by the pairs of a DDIB.

    Killed and started again by the same command, it resumes.
    """

    data: Annotated[str, tyro.conf.arg(metavar="INPUT")]
    """Images of the source's domain: a data set or a folder; those of the target are not needed."""
    out: Path
    """The model directory to write; pairs, checkpoints, log and previews go to OUT/training."""
    split: Literal["train", "test"] = "train"
    """Which split of a data set, or of a folder that has splits."""
    limit: OptionalCount = None
    """Take only this many images, the first ones."""
    ode_steps: Count = 20
    """Steps of the ODE by which the pairs are made, each way."""
    solver: SolverName = "unipc-3"
    """Solver of that ODE."""
    models: Annotated[Models, tyro.conf.OmitArgPrefixes] = dataclasses.field(default_factory=Models)

    def run(self) -> None:
        """Make the pairs, train, with previews, and write the model directory."""
        source, target = self.models.both(Crossing(steps=self.ode_steps, solver=self.solver))
        _, images = read_inputs(
            [self.data],
            source.model.image_shape,
            split=self.split,
            limit=self.limit,
            scale=source_scale(self.models),
        )
        here, there = self.models.marks()
        told = {"data": self.data, "source": here, "target": there}
        told |= {"ode_steps": self.ode_steps, "solver": self.solver}
        pixels = pixel_facts(source_scale(self.models), target_scale(self.models))
        distill(
            DDIB(source, target),
            images,
            self,
            self.out,
            data=told,
            facts=pixels,
            progress=progress("pairs"),
        )

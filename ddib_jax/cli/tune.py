"""`ddib tune`: a pair of models in, a grid of few noise levels for their translations out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ddib_jax import pretrained
from ddib_jax.cli.arguments import ModelName
from ddib_jax.cli.crossing import check_images, read_inputs
from ddib_jax.files import check_output
from ddib_jax.options import Count, Positive, Whole
from ddib_jax.progress import progress
from ddib_jax.report import markdown_table
from ddib_jax.runs import Table
from ddib_jax.translation.tuning import tune

_HEADS = ("Grid and solver", "Error, chosen by", "Error, held out")


@dataclass(frozen=True)
class Tune:
    """Find the few noise levels, and the solver, that serve a pair of models best."""

    source: ModelName
    """The model of the images' domain."""
    target: ModelName
    """The model of the domain to translate into."""
    data: Annotated[str, tyro.conf.arg(metavar="INPUT")]
    """Images of the source's domain: a data set or a folder; every other one is held out."""
    out: Path
    """The .json file to write, which `--grid` takes."""
    steps: Count = 10
    """Steps each way."""
    solver: Annotated[str | None, tyro.conf.arg(metavar="SOLVER|none")] = None
    """The solver; unless given, the best of dpmpp-2m, unipc-2, unipc-3 and fitted, whose steps have
    weights of their own, fitted to these images."""
    count: Count = 48
    """Images to take, the first ones."""
    split: Literal["train", "test"] = "train"
    """Which split of a data set, or of a folder that has splits."""
    refinements: Whole = 60
    """Steps of gradient descent on the noise levels, and on fitted weights, through both legs."""
    rate: Positive = 0.03
    """Learning rate of that descent."""

    def run(self) -> None:
        """Read, search, write, and print the table of what was tried."""
        check_output(self.out, suffix=".json", what="Grids")
        source, target = (pretrained.open(name).model() for name in (self.source, self.target))
        check_images(source)
        _, images = read_inputs([self.data], source.image_shape, split=self.split, limit=self.count)
        tuned = tune(
            source,
            target,
            images,
            steps=self.steps,
            solver=self.solver,
            refinements=self.refinements,
            rate=self.rate,
            progress=progress("tuning"),
        )
        tuned.grid.write(self.out)
        print(markdown_table(Table(_HEADS, tuned.table), digits=3))
        found = tuned.grid.found
        held, default = found["error_held_out"], found["error_of_the_default_held_out"]
        if found["better_than_the_default"]:
            print(f"On images held out the error is {held:.3g}, and the default's {default:.3g}.")
        else:
            print(f"Nothing was better than the default ({default:.3g}), which is what is written.")
        print(f"The grid lies in {self.out}.")

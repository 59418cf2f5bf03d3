"""How pictures are made to fit a model of one size, as a group of options."""

from dataclasses import dataclass
from typing import Annotated, TypeVar

import tyro

from ddib_jax import translation
from ddib_jax.data.fitting import Fit
from ddib_jax.options import Portion
from ddib_jax.tiling import OVERLAP

Tree = TypeVar("Tree")


@dataclass(frozen=True)
class Fitting:
    """How pictures fit a model of one size."""

    fit: Fit = "crop"
    """How pictures of other sizes fit the model: crop takes the central part; pad the whole, shrunk
    if it is larger, in a mirrored border that results are without; resize stretches it there and
    back; tile leaves it as it is and averages the model's answers in overlapping windows at every
    noise level, so that a picture of any size has one ODE and no seams.
    """
    overlap: Portion = OVERLAP
    """How far windows overlap at least, as a share of their side; a half takes four evaluations of
    every pixel.
    """

    def for_pictures(self, tree: Tree, size: tuple[int, ...]) -> Tree:
        """A bridge or a method for pictures of a size, height and width; with tile in windows."""
        if self.fit != "tile":
            return tree
        return translation.tiled(tree, size[0], size[1], overlap=self.overlap)


Fitted = Annotated[Fitting, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="size")]
"""A `Fitting` as a group of options on the command line."""

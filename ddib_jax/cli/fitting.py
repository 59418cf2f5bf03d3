"""How pictures are made to fit a model of one size, as a group of options."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from ddib_jax import translation
from ddib_jax.data.fitting import Fit, Fits
from ddib_jax.options import Within
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
    overlap: Annotated[float | None, Within(0, 1, below=True)] = None
    """How far windows overlap at least, as a share of their side; a half, unless given, takes four
    evaluations of every pixel. Latents are decoded by that of their encoding.
    """

    @property
    def share(self) -> float:
        """The overlap of windows."""
        return OVERLAP if self.overlap is None else self.overlap

    def of_latents(self, kept: Fits | None, path: Path) -> "Fitting":
        """The fitting that the latents of a file were encoded by; without it, this one.

        Raises ValueError where another one is asked for.
        """
        if kept is None:
            if self.fit in ("pad", "resize"):
                raise ValueError(
                    f"Latents were fitted when they were encoded; leave out --fit {self.fit}."
                )
            return self
        if self.fit not in ("crop", kept.fit):
            raise ValueError(
                f"The latents in {path} were encoded with --fit {kept.fit}, which is used again;"
                f" leave --fit {self.fit} out."
            )
        if kept.overlap is not None and self.overlap not in (None, kept.overlap):
            raise ValueError(
                f"The latents in {path} were encoded with --overlap {kept.overlap:g}, and another"
                f" one is another ODE; leave --overlap {self.overlap:g} out."
            )
        return Fitting(kept.fit, kept.overlap)

    def for_pictures(self, tree: Tree, size: tuple[int, ...]) -> Tree:
        """A bridge or a method for pictures of a size, height and width; with tile in windows."""
        if self.fit != "tile":
            return tree
        return translation.tiled(tree, size[0], size[1], overlap=self.share)


Fitted = Annotated[Fitting, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="size")]
"""A `Fitting` as a group of options on the command line."""

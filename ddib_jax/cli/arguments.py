"""Kinds of options that several commands have, each with the word that the help shows for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import tyro

from ddib_jax.data.inputs import Reading
from ddib_jax.data.scale import check_range
from ddib_jax.options import Text, Within


@dataclass(frozen=True)
class Ends(Within):
    """What words must be that declare a range of values: pairs of numbers, or percentiles."""

    def fault(self, value: Sequence[str]) -> str:
        """What is wrong with the words; "" for nothing, and for none."""
        try:
            check_range(value or ("0", "1"))
        except ValueError:
            return f"is {' '.join(value)}; expected LOW HIGH, each a number or a percentile as p1"
        return ""


ModelName = Annotated[str, tyro.conf.arg(metavar="MODEL")]
"""A model by name or path, as `pretrained.open` takes it."""

DataName = Annotated[str, tyro.conf.arg(metavar="DATA")]
"""A data set by name, or a folder of images, as `data.load_dataset` takes it."""

OptionalClassName = Annotated[str | None, tyro.conf.arg(metavar="CLASS|none")]
"""A class of a model by name or number."""

SolverName = Annotated[str, tyro.conf.arg(metavar="SOLVER")]
"""A solver by name, as `solvers.get_solver` takes it."""

GridName = Annotated[str, tyro.conf.arg(metavar="GRID")]
"""A spacing of noise levels by name, as `grids.make_grid` takes it."""

ColourName = Annotated[str, tyro.conf.arg(metavar="COLOUR")]
"""A colour by name or as #rrggbb."""

# A list of no words is a list to tyro, which would call it the default; `read_inputs` refuses it.
Inputs = Annotated[
    list[str],
    tyro.conf.Positional,
    tyro.conf.arg(metavar="INPUT [INPUT ...]", help_behavior_hint="(required)"),
]
"""Image files, folders of images and data sets."""

ImageSize = Annotated[
    tuple[int, ...],
    Within(1, 2**16),
    tyro.conf.arg(metavar="HEIGHT [WIDTH]", help_behavior_hint="(default: the model's own)"),
]
"""Height and width of a latent model's images, or one number for both."""

_RANGE = partial(
    tyro.conf.arg, metavar="LOW HIGH ...", help_behavior_hint="(default: none, 8-bit RGB)"
)
DeclaredRange = Annotated[tuple[str, ...], Ends(), _RANGE(name="range")]
"""A range of values in the files' own units, as `data.scale.declared_scale` takes it."""
RangeOfA = Annotated[tuple[str, ...], Ends(), _RANGE(name="range-a")]
RangeOfB = Annotated[tuple[str, ...], Ends(), _RANGE(name="range-b")]

FlatReading = Annotated[Reading, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="files")]
"""How files are read, as a group of options."""

OptionalText = Annotated[str | None, Text, tyro.conf.arg(metavar="TEXT|none")]
"""A prompt, which may be ""."""

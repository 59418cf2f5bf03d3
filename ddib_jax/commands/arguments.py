"""Kinds of options that several commands have, each with the word that the help shows for it."""

from typing import Annotated

import tyro

from ddib_jax.options import Within

ModelName = Annotated[str, tyro.conf.arg(metavar="MODEL")]
"""A model by name or path, as `pretrained.open` takes it."""

OptionalModelName = Annotated[str | None, tyro.conf.arg(metavar="MODEL|none")]

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

Count = Annotated[int, Within(1)]
"""A whole number from 1."""
OptionalCount = Annotated[int | None, Within(1)]
Size = Annotated[int, Within(1, 2**16)]
"""Pixels of a side, channels, blocks: what memory grows with."""
OptionalSize = Annotated[int | None, Within(1, 2**16)]
Sizes = Annotated[tuple[int, ...], Within(1, 2**16)]
ImageSize = Annotated[
    tuple[int, ...],
    Within(1, 2**16),
    tyro.conf.arg(metavar="HEIGHT [WIDTH]", help_behavior_hint="(default: the model's own)"),
]
"""Height and width of a latent model's images, or one number for both."""
OptionalText = Annotated[str | None, tyro.conf.arg(metavar="TEXT|none")]
"""A prompt."""
Whole = Annotated[int, Within(0)]
"""A whole number from 0."""
OptionalWhole = Annotated[int | None, Within(0)]
Positive = Annotated[float, Within(0, 1e6, above=True)]
OptionalPositive = Annotated[float | None, Within(0, 1e6, above=True)]
NonNegative = Annotated[float, Within(0, 1e6)]
Signed = Annotated[float, Within(-1e6, 1e6)]
OptionalSigned = Annotated[float | None, Within(-1e6, 1e6)]
Portion = Annotated[float, Within(0, 1, below=True)]
"""A number from 0 to below 1."""
OptionalPortion = Annotated[float | None, Within(0, 1, above=True)]
"""A number above 0, up to 1."""

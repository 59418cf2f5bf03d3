"""Kinds of options that several commands have, each with the word that the help shows for it."""

from typing import Annotated

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from ddib_jax.data.inputs import Reading
from ddib_jax.data.scale import checked_end
from ddib_jax.options import Text, Within

RangeEnd = Annotated[
    str,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="LOW|HIGH",
        instance_from_str=lambda words: checked_end(words[0]),
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda value: [value],
    ),
]
"""An end of a range: a number, or a percentile as p1."""

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

DeclaredRange = Annotated[
    tuple[RangeEnd, ...],
    tyro.conf.arg(
        name="range", metavar="LOW HIGH ...", help_behavior_hint="(default: none, 8-bit RGB)"
    ),
]
"""A range of values in the files' own units, as `data.scale.declared_scale` takes it."""

FlatReading = Annotated[Reading, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="files")]
"""How files are read, as a group of options."""

OptionalText = Annotated[str | None, Text, tyro.conf.arg(metavar="TEXT|none")]
"""A prompt, which may be ""."""

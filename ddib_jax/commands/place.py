"""Where a training writes, and what every training says of its options."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddib_jax.commands.inputs import check_apart
from ddib_jax.files import check_output


def check_training_place(out: Path, data: Sequence[str], *, first: bool) -> None:
    """Raise ValueError or OSError where a training cannot write its model to the directory `out`.

    That is where it cannot be written, lies in or above a folder of the data, or holds a model that
    this training did not make. first: whether this is the first of several hosts.
    """
    check_apart(out, data)
    if first:
        check_output(out)
        if (out / "model.json").is_file() and not (out / "training").is_dir():
            raise ValueError(
                f"{out} holds a model, and no training that made it and could go on; name another"
                " directory, or remove this one."
            )


def defaults(command: Any) -> dict[str, Any]:
    """The defaults of a command's options, by name; those that must be given have none."""
    return {
        field.name: field.default
        for field in dataclasses.fields(command)
        if field.default is not dataclasses.MISSING
    }

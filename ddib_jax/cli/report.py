"""`ddib report`: the page of a run, made or made again from what lies on disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ddib_jax.report import write_report


@dataclass(frozen=True)
class Report:
    """Make the page of a run, or make it again, without JAX."""

    directory: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(metavar="DIR [DIR ...]", help_behavior_hint="(required)"),
    ]
    """Folders of results of `ddib translate`, `sweep` or `sample`, or directories of runs."""

    def run(self) -> None:
        """Write and name every page; ValueError where no directory is named."""
        if not self.directory:
            raise ValueError("Name the directory of a run, or a folder of results that holds one.")
        for directory in self.directory:
            print(f"The page is {write_report(directory)}.")

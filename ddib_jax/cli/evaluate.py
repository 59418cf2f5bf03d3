"""`ddib evaluate`: results beside references, every figure with its interval, and a page."""

import dataclasses
import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from ddib_jax import evaluation, pretrained, runs
from ddib_jax.cli.arguments import ColourName
from ddib_jax.data.inputs import check_apart
from ddib_jax.data.pairs import NamedPictures, by_name, open_pictures
from ddib_jax.data.pictures import MAX_PIXELS
from ddib_jax.evaluation import Classifier, Comparison
from ddib_jax.evaluation.record import RANKINGS, evaluation_record
from ddib_jax.files import check_output
from ddib_jax.options import Count, OptionalCount, Positive, Within, one_of
from ddib_jax.parallel import machine
from ddib_jax.progress import progress
from ddib_jax.report import text_table, write_report


@dataclass(frozen=True)
class Evaluate:
    """Score results beside references, each figure with its interval."""

    results: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RESULTS")]
    """A folder of results, or one picture."""
    reference: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="REFERENCE")]
    """A folder of pictures of the same names, as the results should be; with --unpaired any
    pictures of the domain, or a data set.
    """
    out: Path | None = None
    """The directory of the run and its page; runs/evaluation-RESULTS unless given."""
    unpaired: bool = False
    """Compare the sets alone: no picture of one is the partner of one of the other."""
    features: Path | None = None
    """EfficientNet-Lite0's weights (.pth, .safetensors, .npz), by whose features the sets are
    compared: Frechet and kernel distances, precision and recall.
    """
    data_range: Positive = 255.0
    """The width of the range of values that a picture's black to white stands for, in whose unit
    errors are stated: 255 for bytes, 1, 3000 for Hounsfield units from -1000 to 2000.
    """
    dice: Annotated[
        tuple[float, ...],
        Within(-1e6, 1e6),
        tyro.conf.arg(metavar="THRESHOLD ...", help_behavior_hint="(default: none)"),
    ] = ()
    """Also Dice's coefficient of the pixels whose mean is above each of these values, in the same
    unit.
    """
    rank_by: Annotated[str, one_of(RANKINGS)] = "mae"
    """Which figure of a pair says how bad it is."""
    limit: OptionalCount = None
    """Take only this many results, the first ones; unpaired, as many references."""
    background: ColourName = "white"
    """What transparency is laid over: a colour by name or as #rrggbb."""
    split: Literal["train", "test"] = "test"
    """Which split of a data set, or of a folder that has splits."""
    max_pixels: Count = MAX_PIXELS
    """Pixels of the largest picture that is read; larger ones are refused before they are decoded.
    """

    def run(self) -> None:
        """Read, measure, print, write."""
        started = datetime.datetime.now(datetime.UTC)
        directory = self.out or Path("runs") / f"evaluation-{Path(self.results).name}"
        check_output(directory)
        check_apart(directory, (self.results, self.reference))
        runs.check_directory(directory)
        network = None
        if self.features is not None:
            network = Classifier(*pretrained.load_efficientnet(self.features))
        results, references = self._pictures()
        found = self._compared(results, references, network)
        paired = "" if self.unpaired else " in pairs"
        summary = (
            f"{len(results)} results beside {len(references)} references{paired}; values from 0 to"
            f" {self.data_range:g}."
        )
        contents = evaluation_record(
            found,
            results,
            references,
            rank_by=self.rank_by,
            data_range=self.data_range,
            summary=summary,
        )
        config = {
            field.name: value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) not in (None, ())
        }
        run = runs.Run(
            name="evaluation",
            title=f"{Path(self.results).name} beside {Path(self.reference).name}",
            **runs.circumstances("ddib", started, machine()),
            config=config | {"features": str(self.features or "none")},
            **contents,
        )
        home = runs.write_run(directory, run)
        print(f"{summary}\n\n{text_table(run)}\n")
        print(f"Tables lie in {home / runs.TABLES}; the page is {write_report(home)}.")

    def _pictures(self) -> tuple[NamedPictures, NamedPictures]:
        """Both sets: of pairs those that have a partner, else all, up to the limit."""
        results, references = (
            open_pictures(
                word,
                split=self.split,
                background=self.background,
                max_pixels=self.max_pixels,
                limit=self.limit if self.unpaired else None,
            )
            for word in (self.results, self.reference)
        )
        if self.unpaired:
            return results, references
        results, references = by_name(results, references)
        first = range(len(results))[: self.limit]
        return results.chosen(first), references.chosen(first)

    def _compared(
        self, results: NamedPictures, references: NamedPictures, network: Classifier | None
    ) -> Comparison:
        features: tuple[np.ndarray, np.ndarray] | None = None
        if network is not None:
            features = (
                evaluation.network_features(network, results, progress=progress("results")),
                evaluation.network_features(network, references, progress=progress("references")),
            )
        return evaluation.compare(
            results,
            references,
            paired=not self.unpaired,
            data_range=self.data_range,
            thresholds=self.dice,
            features=features,
            names=results.names,
        )

"""`ddib evaluate`: results beside references, every figure with its interval, and a page."""

import dataclasses
import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from ddib_jax import evaluation, pretrained, runs
from ddib_jax.cli.arguments import ColourName, DeclaredRange
from ddib_jax.data.inputs import check_apart
from ddib_jax.data.pairs import NamedPictures, Sets, by_name, open_sets
from ddib_jax.data.pictures import MAX_PIXELS
from ddib_jax.data.units import Unit
from ddib_jax.evaluation import Classifier, Comparison, Perceptual
from ddib_jax.evaluation.record import RANKINGS, evaluation_record
from ddib_jax.files import check_output
from ddib_jax.options import Count, OptionalCount, OptionalPositive, Within, one_of
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
    lpips: Annotated[
        tuple[Path, ...],
        tyro.conf.arg(metavar="ALEXNET HEADS", help_behavior_hint="(default: none)"),
    ] = ()
    """Weights of LPIPS, by which pairs are compared as the eye does: torchvision's
    alexnet-owt-7be5be79.pth, and weights/v0.1/alex.pth of the package lpips.
    """
    declared: DeclaredRange = ()
    """Read files as they are, with all their channels and slices, and take these values, in the
    files' own units, for black and white: 0 65535, -1000 2000, or a pair for each channel. Unless
    given, files of 16 bits are read so by the range of their type, and pictures of 8 bits as RGB.
    """
    data_range: OptionalPositive = None
    """Of pictures of 8 bits the width of the range that black to white stands for, in whose unit
    errors are stated; 255 unless given. Of others it is that of --range.
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
    """Take only this many files of results, the first ones; unpaired, as many references."""
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
        network, perceptual = None, self._perceptual()
        if self.features is not None:
            network = Classifier(*pretrained.load_efficientnet(self.features))
        results, references, unit, warn = self._pictures()
        if unit is not None and self.data_range is not None:
            raise ValueError(
                "--data-range is of pictures of 8 bits, and these are in units of their own; say"
                " which values are black and white (--range LOW HIGH) instead."
            )
        unit = unit or Unit(0.0, self.data_range or 255.0)
        found = self._compared(results, references, unit, network, perceptual)
        warn()
        paired = "" if self.unpaired else " in pairs"
        summary = (
            f"{len(results)} results beside {len(references)} references{paired}; values from"
            f" {unit.low:g} to {unit.low + unit.width:g}."
        )
        contents = evaluation_record(
            found,
            results,
            references,
            rank_by=self.rank_by,
            data_range=unit.width,
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
            config=config
            | {
                "features": str(self.features or "none"),
                "lpips": " ".join(map(str, self.lpips)) or "none",
            },
            **contents,
        )
        home = runs.write_run(directory, run)
        print(f"{summary}\n\n{text_table(run)}\n")
        print(f"Tables lie in {home / runs.TABLES}; the page is {write_report(home)}.")

    def _perceptual(self) -> Perceptual | None:
        if not self.lpips:
            return None
        if len(self.lpips) != 2 or self.unpaired:
            raise ValueError(
                "LPIPS is of pairs, and of two files of weights; give --lpips ALEXNET HEADS, or"
                " leave it out."
            )
        return Perceptual(*pretrained.load_lpips(*self.lpips))

    def _pictures(self) -> Sets:
        """Both sets: of pairs those that have a partner, else all, up to the limit."""
        both = open_sets(
            self.results,
            self.reference,
            split=self.split,
            background=self.background,
            max_pixels=self.max_pixels,
            declared=self.declared,
        )
        results, references = both[:2]
        if self.unpaired:
            results, references = results.first(self.limit), references.first(self.limit)
        else:
            results, references = by_name(results, references)
            results = results.first(self.limit)
            references = references.chosen(range(len(results)))
        return both._replace(results=results, references=references)

    def _compared(
        self,
        results: NamedPictures,
        references: NamedPictures,
        unit: Unit,
        network: Classifier | None,
        perceptual: Perceptual | None,
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
            data_range=unit.width,
            low=unit.low,
            thresholds=self.dice,
            features=features,
            perceptual=perceptual,
            names=results.names,
            files=(results.files, references.files),
        )

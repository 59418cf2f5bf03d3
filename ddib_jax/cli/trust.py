"""`ddib translate --trust` and `--domain`: where a translation may not be trusted, and of what."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from ddib_jax.bridge import DDIB
from ddib_jax.cli.crossing import filled, read_inputs
from ddib_jax.cli.fitting import Fitting
from ddib_jax.data.png import write_images
from ddib_jax.diagnosis.trust import FALSE_ALARMS, Domain, deviations, domain_features, strange
from ddib_jax.files import drafted
from ddib_jax.options import Within
from ddib_jax.progress import progress
from ddib_jax.runs import TRUST, Table


@dataclass(frozen=True)
class Trusting:
    """What is said of how far a translation can be trusted."""

    trust: Annotated[int | None, Within(2, 1000)] = None
    """Also translate each image this many times, with noise that the model cannot see, other levels
    at which the bridges meet and other windows; OUT/trust/NAME.png is the deviation of each pixel,
    a byte of it half a byte of the picture.
    """
    domain: Annotated[
        tuple[str, ...],
        tyro.conf.arg(metavar="IMAGES ...", help_behavior_hint="(default: none)"),
    ] = ()
    """Images of the source's domain that it was not trained on, files, folders or a data set (of
    --split), by which it is said what does not look like them.
    """
    false_alarms: Annotated[float, Within(0, 1, above=True, below=True)] = FALSE_ALARMS
    """The share of images of the domain that may be called strange; the smaller, the more images it
    takes to say so.
    """


Trusted = Annotated[Trusting, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="trust")]
"""A `Trusting` as a group of options on the command line."""
_MOST = 2000
"""Images of the domain that are looked at."""


@dataclass
class Trust:
    """What is found of the images of a translation, batch by batch.

    size: images at once. seed: of the noise.
    """

    options: Trusting
    fitting: Fitting
    size: int
    seed: int
    domain: Domain | None = None
    _rows: list[tuple[str, float | None, float | None, float | None]] = field(default_factory=list)

    @classmethod
    def begin(
        cls, options: Trusting, fitting: Fitting, method: Any, *, split: str, size: int, seed: int
    ) -> "Trust | None":
        """Calibrate on the domain's images; None where nothing is asked for.

        Raises ValueError for a method that is no DDIB, for a domain in windows, and for too few
        images.
        """
        if options.trust is None and not options.domain:
            if options.false_alarms != FALSE_ALARMS:
                raise ValueError(
                    "There are no images by which false alarms could be counted; name some of the"
                    " source's domain (--domain), or leave --false-alarms out."
                )
            return None
        if not isinstance(method, DDIB):
            raise ValueError(
                "--trust and --domain look at the source's bridge, which this method has not; leave"
                " them out, or take --method ddib, without --either-contrast."
            )
        found = cls(options, fitting, size, seed)
        if options.domain:
            if fitting.fit == "tile":
                raise ValueError(
                    "--domain compares whole images of the model's own size; leave it out with"
                    " --fit tile."
                )
            _, images = read_inputs(
                options.domain, method.source.model.image_shape, split=split, limit=_MOST
            )
            features = found._features(method, images, number=1)
            found.domain = Domain.of(features, false_alarms=options.false_alarms)
        return found

    def of(
        self, method: Any, part: np.ndarray, indices: np.ndarray, names: list[str]
    ) -> np.ndarray | None:
        """The deviations [n h w 1] of a batch of images, None where they are not asked for."""
        count, maps, scores = len(part), None, np.full(len(part), np.nan)
        if self.options.trust is not None:
            maps = deviations(
                method,
                filled(part, self.size),
                self.options.trust,
                key=jax.random.key(self.seed),
                overlap=self.fitting.share,
                indices=filled(indices, self.size),
                batch_size=self.size,
            )[:count]
        if self.domain is not None:
            features = self._features(method, filled(part, self.size), number=2)[:count]
            scores = self.domain.score(features)
        for index, name in enumerate(names):
            mean, highest = None, None
            if maps is not None:
                mean, highest = float(maps[index].mean()), float(np.quantile(maps[index], 0.9))
            score = None if self.domain is None else float(scores[index])
            self._rows.append((name, mean, highest, score))
        return maps

    def write(self, out: Path, names: list[str], maps: list[np.ndarray]) -> None:
        """Write maps [h w 1] beside their results, in a folder that is not read as images."""
        with drafted(out / TRUST) as draft:
            write_images(draft, names, [2 * np.clip(each, 0, 1) - 1 for each in maps])

    def close(self) -> Table:
        """The table of all images; warns of those that are not of the domain."""
        if self.domain is not None:
            scores = np.asarray([row[3] for row in self._rows], np.float64)
            if words := strange(self.domain, scores, [row[0] for row in self._rows]):
                warnings.warn(words, stacklevel=2)
            caption = (
                f"Strange above {self.domain.threshold:.3g}, where"
                f" {100 * self.domain.false_alarms:g} in 100 images of the domain are; calibrated"
                f" on {self.domain.images}"
            )
        else:
            caption = "Deviations are of values from -1 to 1"
        limit = np.inf if self.domain is None else self.domain.threshold
        rows = [
            (*row, None if row[3] is None else ("yes" if row[3] > limit else "no"))
            for row in self._rows
        ]
        columns = ("image", "mean deviation", "highest decile", "score", "strange")
        return Table(columns, tuple(rows), caption)

    def _features(self, method: DDIB, images: np.ndarray, *, number: int) -> np.ndarray:
        key = jax.random.fold_in(jax.random.key(self.seed), number)
        return domain_features(
            method.source,
            images,
            key=key,
            batch_size=self.size,
            progress=progress("looking at the domain") if number == 1 else iter,
        )

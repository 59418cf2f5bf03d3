"""`ddib sweep`: images in, their translations under many coefficients of a perturbation out."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np
import tyro

from ddib_jax import distributed
from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.cli.arguments import DeclaredRange, FlatReading, Inputs
from ddib_jax.cli.crossing import Crossing, Flat, filled, told_once
from ddib_jax.cli.fitting import Fitted, Fitting
from ddib_jax.cli.hosts import Hosts, Joined
from ddib_jax.cli.methods import CouplingOptions, ReferenceOptions
from ddib_jax.cli.models import Models
from ddib_jax.cli.pixels import decoded_results, open_results, source_scale, target_scale
from ddib_jax.cli.recording import Recording, costs, from_to, measured
from ddib_jax.data.fitting import Fits
from ddib_jax.data.inputs import InputImages, Reading, check_apart, open_inputs
from ddib_jax.data.results import Results, open_folder, unique_names
from ddib_jax.diagnosis import filmed, sweep_record
from ddib_jax.distributed import Shard
from ddib_jax.files import drafted
from ddib_jax.options import OptionalCount, Whole, Within
from ddib_jax.perturbations import get_perturbation, parse_perturbation
from ddib_jax.progress import progress
from ddib_jax.report import contact_sheet
from ddib_jax.translation import translate_sweep
from ddib_jax.translation.batching import costlier
from ddib_jax.translation.latent_files import read_latents
from ddib_jax.types import Perturbation

_COLUMNS = 16
"""Images that the sheet shows in a row."""


@dataclass(frozen=True)
class Sweep:
    """Translate images with their latents perturbed, once for every coefficient."""

    input: Inputs
    """Image files, folders of images, a data set (five, digits:3 ...), or one .npz of latents that
    `ddib encode` wrote.
    """
    perturb: Annotated[str, tyro.conf.arg(metavar="NAME[=VALUE]")]
    """A perturbation (normalise, add-noise, keep-low ...); an unknown name gives the list. With
    =VALUE it has that coefficient throughout.
    """
    out: Path
    """Where the results go: NAME_COEFFICIENT.png, sheet.png with a row for each coefficient, and
    run/explorer.html with sliders over coefficients and images, one file that opens anywhere.
    """
    then: Annotated[
        tuple[str, ...],
        tyro.conf.arg(metavar="NAME[=VALUE] ...", help_behavior_hint="(default: no more)"),
    ] = ()
    """Perturbations that follow the first; those without =VALUE share its coefficients."""
    coefficients: Annotated[tuple[float, ...] | None, Within(-1e6, 1e6)] = None
    """Coefficients to translate under; unless given, those of the perturbation's own study."""
    split: Literal["train", "test"] = "test"
    """Which split of a data set, or of a folder that has splits."""
    limit: OptionalCount = None
    """Take only this many images, the first ones."""
    seed: Whole = 0
    """Seed of the noise that perturbations draw."""
    report: bool = False
    """Also make the page of the run at once: OUT/run/index.html."""
    declared: DeclaredRange = ()
    """Read files as they are, and take these values, in the files' own units, for black and white;
    for a source model that does not say so itself: 0 65535, or a pair for each channel.
    """
    film: bool = True
    """Solve a few images' ways once more, for the film and the way back on the page. Of one image
    that takes half as long again.
    """
    reading: FlatReading = dataclasses.field(default_factory=Reading)
    fitting: Fitted = dataclasses.field(default_factory=Fitting)
    models: Annotated[Models, tyro.conf.OmitArgPrefixes] = dataclasses.field(default_factory=Models)
    coupling: Annotated[CouplingOptions, tyro.conf.OmitArgPrefixes] = dataclasses.field(
        default_factory=CouplingOptions
    )
    look_at: Annotated[ReferenceOptions, tyro.conf.OmitArgPrefixes] = dataclasses.field(
        default_factory=ReferenceOptions
    )
    crossing: Flat = dataclasses.field(default_factory=Crossing)
    hosts: Joined = dataclasses.field(default_factory=Hosts)

    def run(self) -> None:
        """Read, encode once, perturb and decode, write."""
        shard = self.hosts.join()
        check_apart(self.out, self.input)
        if shard.index == 0:
            open_folder(self.out)
        recording = Recording(self.out, self)
        words = (self.perturb, *self.then)
        coefficients = self._coefficients(words)
        perturb = parse_perturbation(words, coefficients)
        bridges = self.models.both(self.crossing)
        images = self._read(bridges[0].model.image_shape, shard)
        encoded = isinstance(images, Latents)
        labels = _labels(coefficients)
        size = min(self.crossing.batch(costlier(*bridges), len(images)), len(images))
        results = self._results(images, bridges[1].model.image_shape, shard)
        told, rows, shape, methods = set(), {}, None, []
        for run in progress("sweeping")(images.runs(size)):
            start, part = run.start, images.take(run.start, run.stop)
            if part.shape[1:3] != shape:
                shape = (part.shape[1], part.shape[2])
                methods.append(self._method(bridges, images, shape, perturb))
            indices = shard.index + shard.count * np.arange(start, start + len(part))
            whole = filled(part, size)
            with told_once(told):
                result = translate_sweep(
                    methods[-1],
                    None if encoded else whole,
                    coefficients,
                    latents=whole if encoded else None,
                    key=jax.random.key(self.seed),
                    batch_size=size,
                    indices=filled(indices, size),
                )
            translations = dict(zip(labels, result.images[:, : len(part)], strict=True))
            for label, found in translations.items():
                results.write(start, images.restored(start, found), ending=f"_{label}")
            if start >= images.alike:  # page and sheet show what is of the first one's size
                continue
            recording.kept.add(
                **({} if encoded else {"source": part}),
                translation=result.images[:, : len(part)].swapaxes(0, 1),
                latents=_by_image(result.latents, len(part)),
            )
            if not rows:
                rows = {} if encoded else {"source": part[:_COLUMNS]}
                rows |= {label: found[:_COLUMNS] for label, found in translations.items()}
        results.close(unreadable=images.unreadable)
        if shard.index == 0:
            with drafted(self.out) as draft:
                contact_sheet(rows, draft / "sheet.png")
            few = None
            if self.film and not encoded:
                few = images.take(0, min(images.alike, filmed(len(images))))
            self._record(recording, methods[0], coefficients, images.names, few, hosts=shard.count)
        distributed.barrier("swept")
        print(f"{len(images)} images under {len(labels)} coefficients lie in {self.out}.")

    def _method(
        self,
        bridges: tuple[Bridge, Bridge],
        images: "InputImages | Latents",
        size: tuple[int, int],
        perturb: Perturbation,
    ) -> DDIB:
        """The DDIB of pictures of a size, height and width."""
        fitting = images.fitting if isinstance(images, Latents) else self.fitting
        coupling = self.coupling.coupling(bridges[0].model.data_shape)
        ddib = DDIB(*bridges, perturb=perturb, coupling=coupling, until=self.coupling.until)
        ddib = fitting.for_pictures(ddib, size)
        shape, scale = ddib.source.model.image_shape, source_scale(self.models)
        return dataclasses.replace(ddib, reference=self.look_at.image(shape, perturb, scale=scale))

    def _record(
        self,
        recording: Recording,
        ddib: DDIB,
        coefficients: Sequence[float | int],
        names: Sequence[str],
        few: np.ndarray | None,
        *,
        hosts: int,
    ) -> None:
        """Write the run: few are the first images [n h w c], of which there are films."""
        words = " and then ".join((self.perturb, *self.then))
        film_end = ddib.target if ddib.coupling is None and ddib.alike else None
        did = f"images translated under {len(coefficients)} coefficients of {words}"
        recording.write(
            "sweep",
            f"{from_to(self.models, 'DDIB')}: a sweep of {words}",
            sweep_record(
                recording.kept,
                names,
                coefficients,
                perturbation=words,
                summary=recording.summary(len(names), did, hosts=hosts),
                cost=[("Images", len(names)), ("Coefficients", len(coefficients)), *costs(ddib)],
                **({} if few is None else measured(ddib.source, film_end, few)),
            ),
            report=self.report,
        )

    def _coefficients(self, words: tuple[str, ...]) -> tuple[float | int, ...]:
        if self.coefficients is not None:
            if len(set(self.coefficients)) < max(1, len(self.coefficients)):
                raise ValueError("Give at least one coefficient, and none twice.")
            return self.coefficients
        varied = [word for word in words if "=" not in word]
        return get_perturbation(varied[0]).sweep if varied else (0.0,)

    def _read(self, shape: tuple[int, ...], shard: Shard) -> "InputImages | Latents":
        """The images or the latents of this host's shard."""
        path = self.input[0] if len(self.input) == 1 else ""
        if not path.endswith(".npz") or path.startswith("npz:"):
            return open_inputs(
                self.input,
                shape,
                split=self.split,
                limit=self.limit,
                reading=self.reading,
                fit=self.fitting.fit,
                index=shard.index,
                count=shard.count,
                scale=source_scale(self.models),
                declared=self.declared,
            )
        names, latents, model, _, more = read_latents(Path(path))
        if model != self.models.marks()[0]:
            raise ValueError(
                f"The latents in {path} were encoded by another model than"
                f" '{self.models.source or self.models.model}', or under another condition; give"
                " the source as it was when they were encoded."
            )
        count = len(names[: self.limit])
        if count < shard.count:
            raise ValueError(
                f"There are {count} latents for {shard.count} processes; start no more processes"
                " than there are latents."
            )
        own = slice(shard.index, self.limit, shard.count)
        fits = Fits.from_arrays(more, len(names), path)
        fitting = self.fitting.of_latents(fits, Path(path))
        kept = more if len(names[own]) == len(names) else {}
        fits = None if fits is None else fits.chosen(own)
        safe, where = unique_names(names)[own], (kept, Path(path))
        return Latents(safe, names[own], latents[own], where, fits, fitting)

    def _results(
        self, images: "InputImages | Latents", shape: tuple[int, ...], shard: Shard
    ) -> Results:
        """Where results of the shape [h w c] go."""
        if isinstance(images, Latents):
            scale = target_scale(self.models)
            return decoded_results(
                self.out, images.names, images.changed, shape=shape, kept=images.kept, scale=scale
            )
        return open_results(self.out, images, self.models, shape, part=shard.index)


class Latents:
    """Latents of a file, in the place of images: their names, safe ones and own, and arrays.

    kept: what the file keeps besides them, and the file. fits: how their images were fitted, None
    where the file does not say. fitting: what models of other sizes are fitted by.
    """

    unreadable: tuple[str, ...] = ()

    def __init__(
        self,
        names: list[str],
        own: list[str],
        latents: np.ndarray,
        kept: tuple[Mapping[str, Any], Path],
        fits: Fits | None,
        fitting: Fitting,
    ):
        self.names, self._latents, self.kept = names, latents, kept
        self._fits, self.fitting = fits, fitting
        self.changed = {safe: name for safe, name in zip(names, own, strict=True) if safe != name}

    def __len__(self) -> int:
        return len(self.names)

    @property
    def alike(self) -> int:
        """How many latents are of the first one's shape: all."""
        return len(self)

    def runs(self, size: int) -> list[range]:
        """All latents in parts of at most `size`."""
        starts = range(0, len(self), size)
        return [range(start, min(start + size, len(self))) for start in starts]

    def take(self, start: int, stop: int) -> np.ndarray:
        """The latents from `start` up to `stop`."""
        return self._latents[start:stop]

    def restored(self, start: int, results: np.ndarray) -> list[Any]:
        """The results of the latents from `start` on, as their images were before they fitted."""
        return list(results) if self._fits is None else self._fits.restored(start, results)


def _by_image(latents: np.ndarray | None, count: int) -> np.ndarray | None:
    """Of latents [k n ...], those of the first images, [count k ...]."""
    return None if latents is None else latents[:, :count].swapaxes(0, 1)


def _labels(coefficients: Sequence[float | int]) -> list[str]:
    """Coefficients as parts of files' names: in full where shorter ones would be alike."""
    short = [f"{coefficient:g}" for coefficient in coefficients]
    return [
        text if short.count(text) == 1 else repr(value)
        for text, value in zip(short, coefficients, strict=True)
    ]

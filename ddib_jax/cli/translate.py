"""`ddib translate`: images of one domain in, of another one out, by any method."""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np
import tyro

from ddib_jax import distributed, translation
from ddib_jax.bridge import DDIB
from ddib_jax.cli.arguments import ColourName, FlatReading, Inputs
from ddib_jax.cli.crossing import Crossing, Flat, filled, told_once
from ddib_jax.cli.hosts import Hosts, Joined
from ddib_jax.cli.methods import METHODS, DDIBOptions, MethodOptions, options_of
from ddib_jax.cli.models import Models
from ddib_jax.cli.prepared import Method, Prepared
from ddib_jax.cli.recording import (
    Recording,
    costs,
    crossed,
    from_to,
    nearest_training_images,
)
from ddib_jax.data.inputs import Reading, check_apart, open_inputs
from ddib_jax.data.png import write_grid
from ddib_jax.data.results import Results, open_folder, unique_names
from ddib_jax.diagnosis import filmed, translation_record
from ddib_jax.distributed import Shard
from ddib_jax.files import drafted
from ddib_jax.options import OptionalCount, Whole
from ddib_jax.progress import progress
from ddib_jax.solvers import LatticeHeun
from ddib_jax.translation.animation import MOST_IMAGES, write_path
from ddib_jax.translation.batching import costlier
from ddib_jax.translation.latent_files import PairFile, closing, read_pairs, write_pairs
from ddib_jax.translation.lattice import states
from ddib_jax.translation.paths import check_path

_ROWS, _COLUMNS = 4, 16
"""Of pairs of rows, and of images a row, that the sheet shows at most."""


def _grouped(options: type) -> Any:
    """The options of methods as a part of the command's own."""
    return Annotated[options, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Translate:
    """Translate images of one domain into another."""

    input: Inputs
    """Image files, folders of images, or a data set (five, digits:3 ...); with --aux also the pairs
    that an earlier translation kept.
    """
    out: Path
    """Where the translations go, one PNG an image, and sheet.png with each source above its
    translation; several hosts share the folder.
    """
    method: Annotated[str, tyro.conf.arg(metavar="|".join(METHODS))] = "ddib"
    """How to translate; `--method NAME --help` shows that method's own options."""
    seed: Whole = 0
    """Seed of the noise that methods and perturbations draw."""
    trajectory: Literal["gif", "webp"] | None = None
    """Also write path.gif or path.webp, an animation from image to latent to translation."""
    background: ColourName = "white"
    """What transparency is laid over: a colour by name or as #rrggbb."""
    aux: bool = False
    """Keep the pairs of states of a lattice (--solver lattice-heun) in OUT/pairs.npz. As the input
    of a translation back, source and target changed over, they give the images to the bit.
    """
    split: Literal["train", "test"] = "test"
    """Which split of a data set, or of a folder that has splits."""
    limit: OptionalCount = None
    """Take only this many images, the first ones."""
    report: bool = False
    """Also make the page of the run at once: OUT/run/index.html, with each image before and after.
    """
    film: bool = True
    """Solve a few images' ways once more, for the film and the way back on the page. Of one image
    that takes half as long again.
    """
    reading: FlatReading = dataclasses.field(default_factory=Reading)
    models: Annotated[Models, tyro.conf.OmitArgPrefixes] = dataclasses.field(default_factory=Models)
    options: _grouped(MethodOptions) = dataclasses.field(  # pyright: ignore[reportInvalidTypeForm]
        default_factory=MethodOptions  # made of the registry at run time
    )
    crossing: Flat = dataclasses.field(default_factory=Crossing)
    hosts: Joined = dataclasses.field(default_factory=Hosts)

    @classmethod
    def for_help(cls, words: Sequence[str]) -> type:
        """This command with the options of the method alone that a command line names."""
        named = dict(itertools.pairwise(words)).get("--method")
        joined = [word.partition("=")[2] for word in words if word.startswith("--method=")]
        method = next((name for name in (named, *joined) if name in METHODS), cls.method)
        options = options_of([method])
        return dataclasses.make_dataclass(
            cls.__name__,
            [("options", _grouped(options), dataclasses.field(default_factory=options))],
            bases=(cls,),
            frozen=True,
            namespace={"__doc__": cls.__doc__},
        )

    def run(self) -> None:
        """Read, translate, write."""
        shard = self.hosts.join()
        options = self._chosen()
        check_apart(self.out, self.input)
        if shard.index == 0:
            open_folder(self.out)
        recording = Recording(self.out, self)
        if self.aux:
            return self._keep_pairs(options, shard, recording)
        prepared = options.prepare(self.models, self.crossing)
        film = prepared.film if self.trajectory else None
        if self.trajectory and film is None:
            raise ValueError(
                f"{options.title} with these options has no single way from image to latent to"
                " translation that a film could show; leave the trajectory out."
            )
        for bridge in film or ():
            check_path(bridge)
        images = open_inputs(
            self.input,
            prepared.shape,
            split=self.split,
            limit=self.limit,
            background=self.background,
            reading=self.reading,
            index=shard.index,
            count=shard.count,
        )
        results = Results(self.out, images.names, images.changed, part=shard.index)
        size = min(self.crossing.batch(prepared.bridge, len(images)), len(images))
        told, shown = set(), []
        # Batch by batch, each written as it comes: a translation that is stopped keeps what it has.
        for start in progress("translating")(range(0, len(images), size)):
            part = images.take(start, start + size)
            indices = shard.index + shard.count * np.arange(start, start + len(part))
            with told_once(told):
                found, latents = translation.translate_with_latents(
                    prepared.translator,
                    filled(part, size),
                    key=jax.random.key(self.seed),
                    indices=filled(indices, size),
                    batch_size=size,
                )
            translations = found[: len(part)]
            latents = None if latents is None else latents[: len(part)]
            recording.kept.add(source=part, translation=translations, latents=latents)
            results.write(start, translations)
            if start < _ROWS * _COLUMNS:
                shown.append((part, translations))
        results.close(unreadable=images.unreadable)
        if shard.index == 0:
            with drafted(self.out) as draft:
                _write_sheet(draft / "sheet.png", *map(np.concatenate, zip(*shown, strict=True)))
                if film is not None:
                    path = draft / f"path.{self.trajectory}"
                    write_path(path, *film, images.take(0, min(len(images), MOST_IMAGES)))
            few = images.take(0, filmed(len(images)))
            self._record(recording, options, prepared, images.names, few, hosts=shard.count)
        distributed.barrier("translated")
        print(f"{len(images)} translations lie in {self.out}.")

    def _record(
        self,
        recording: Recording,
        options: Method,
        prepared: Prepared,
        names: Sequence[str],
        few: np.ndarray,
        *,
        hosts: int,
    ) -> None:
        """Write the run: few are the first images [n h w c], of which there are films."""
        name = (
            None
            if self.method in ("cyclegan", "student")
            else self.models.target or self.models.model
        )
        target = None if name is None else self.models.opened(name)
        recording.write(
            "translation",
            from_to(self.models, options.title),
            translation_record(
                recording.kept,
                names,
                summary=recording.summary(len(names), "translations", hosts=hosts),
                cost=[("Images", len(names)), *costs(prepared.translator)],
                nearest=nearest_training_images(target, recording.kept.floats("translation")),
                **(crossed(prepared, few) if self.film else {}),
            ),
            groups=[options],
            report=self.report,
        )

    def _keep_pairs(self, options: Method, shard: Shard, recording: Recording) -> None:
        """As `run`, on a lattice: from images or pairs, whose ways can be undone to the bit."""
        plain = options == DDIBOptions()
        if not plain or self.trajectory or shard.count > 1:
            raise ValueError(
                "--aux keeps the pairs of a plain DDIB in one process; leave out other methods,"
                " perturbations, couplings, the trajectory and further processes."
            )
        source, target = self.models.both(self.crossing)
        if not isinstance(source.solver, LatticeHeun):
            raise ValueError(
                f"'{self.crossing.solver}' is no lattice, whose pairs could be kept; take --solver"
                " lattice-heun."
            )
        (here, there), path = self.models.marks(), Path(self.input[0] if self.input else "")
        sized = lambda count: {
            "batch_size": self.crossing.batch(costlier(source, target), count),
            "progress": progress("translating"),
        }
        if path.suffix == ".npz" and len(self.input) == 1:
            names, model, origin, aux = read_pairs(path)
            if model != here:
                raise ValueError(
                    f"The pairs in {path} lie at another model, or under another class or guidance,"
                    f" than the source '{self.models.source or self.models.model}'; the target of"
                    " the translation that kept them is the source of the way back."
                )
            names = names[: self.limit]
            aux = dataclasses.replace(aux, value=np.asarray(aux.value)[: self.limit])
            data = states(source, aux, rising=False)
            images = translation.to_images(source.model, data)
            up = translation.hand_on(source, aux, rising=True, **sized(len(names)))
        else:
            opened = open_inputs(
                self.input,
                source.model.image_shape,
                split=self.split,
                limit=self.limit,
                background=self.background,
                reading=self.reading,
            )
            names, images = opened.names, opened.take(0, len(opened))
            origin = here
            up = translation.encode(source, images, **sized(len(names)))
        down = translation.hand_on(target, up.aux, rising=False, **sized(len(names)))
        safe = unique_names(names)
        changed = {new: name for new, name in zip(safe, names, strict=True) if new != name}
        results = Results(self.out, safe, changed)
        results.write(0, down.y)
        results.close()
        with drafted(self.out) as draft:
            _write_sheet(draft / "sheet.png", images, down.y)
            pairs = PairFile(names, there, origin, down.aux)
            write_pairs(draft / "pairs.npz", pairs, self.crossing.solver)
        print(f"{len(names)} translations and their pairs lie in {self.out}.")
        recording.kept.add(source=images, translation=down.y, latents=up.y)
        prepared = Prepared(images.shape[1:], DDIB(source, target), source, film=(source, target))
        self._record(
            recording, options, prepared, names, images[: filmed(len(images))], hosts=shard.count
        )
        if origin == there:
            print(closing(source.solver, down.aux.value))

    def _chosen(self) -> Method:
        """The options of the method; ValueError for an unknown one, and for another's options."""
        if self.method not in METHODS:
            raise ValueError(f"Unknown method '{self.method}'; known are {', '.join(METHODS)}.")
        for name in METHODS:
            given = getattr(self.options, name.replace("-", "_"))
            for option in _changed(given):
                if name != self.method:
                    raise ValueError(
                        f"--{option} is an option of {given.title}; leave it out, or say"
                        f" --method {name}."
                    )
        chosen: Method = getattr(self.options, self.method.replace("-", "_"))
        useless = [option for option in _changed(self.models) if option not in chosen.takes]
        if self.method in ("cyclegan", "student"):  # which integrate no ODE
            useless += [option for option in _changed(self.crossing) if option != "batch_size"]
        elif self.method != "ddib" and self.crossing.switch is not None:
            useless += ["switch"]
        if useless:
            raise ValueError(
                f"{chosen.title} has no use for --{useless[0].replace('_', '-')}; leave it out, or"
                " choose another --method."
            )
        return chosen


def _changed(options: Any) -> list[str]:
    """The options of a group that are not their defaults."""
    return [
        field.name
        for field in dataclasses.fields(options)
        if getattr(options, field.name) != field.default
    ]


def _write_sheet(path: Path, images: np.ndarray, translations: np.ndarray) -> None:
    """Write rows of images [n h w c], each above a row of its translations [n h w c]."""
    columns = min(len(images), _COLUMNS)
    rows = []
    for start in range(0, min(len(images), _ROWS * _COLUMNS), columns):
        for part in (images, translations):
            rows.append(_filled(part[start : start + columns], columns))
    write_grid(path, np.concatenate(rows), columns=columns)


def _filled(row: np.ndarray, columns: int) -> np.ndarray:
    """The row [n h w c] with white images behind it, `columns` in all."""
    return np.concatenate([row, np.ones((columns - len(row), *row.shape[1:]), row.dtype)])

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
from ddib_jax.cli.arguments import ColourName, DeclaredRange, FlatReading, Inputs
from ddib_jax.cli.crossing import Crossing, Flat, filled, told_once
from ddib_jax.cli.fitting import Fitted, Fitting
from ddib_jax.cli.hosts import Hosts, Joined
from ddib_jax.cli.methods import METHODS, MethodOptions, options_of
from ddib_jax.cli.models import Models
from ddib_jax.cli.pairs import keep_pairs
from ddib_jax.cli.pixels import open_results, source_scale
from ddib_jax.cli.prepared import Method, Prepared
from ddib_jax.cli.recording import (
    Recording,
    costs,
    crossed,
    from_to,
    nearest_training_images,
)
from ddib_jax.cli.trust import Trust, Trusted, Trusting
from ddib_jax.data.inputs import Reading, check_apart, open_inputs
from ddib_jax.data.png import ON_SHEET, write_sheet
from ddib_jax.data.results import open_folder
from ddib_jax.diagnosis import filmed, translation_record
from ddib_jax.files import drafted
from ddib_jax.options import OptionalCount, Whole
from ddib_jax.progress import progress
from ddib_jax.runs import Table
from ddib_jax.translation.animation import MOST_IMAGES, write_path
from ddib_jax.translation.paths import check_path


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
    """Where the translations go, one PNG an image (or files as the sources' own, where a range is
    declared), and sheet.png with each source above its translation; several hosts share the folder.
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
    trusting: Trusted = dataclasses.field(default_factory=Trusting)
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
            return keep_pairs(self, options, shard, recording)
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
            fit=self.fitting.fit,
            index=shard.index,
            count=shard.count,
            scale=source_scale(self.models),
            declared=self.declared,
        )
        results = open_results(
            self.out, images, self.models, prepared.result_shape, part=shard.index
        )
        size = min(self.crossing.batch(prepared.bridge, len(images)), len(images))
        trust = Trust.begin(
            self.trusting,
            self.fitting,
            prepared.translator,
            split=self.split,
            size=size,
            seed=self.seed,
        )
        told, shown = set(), []
        # Batch by batch, each written as it comes: a translation that is stopped keeps what it has.
        for run in progress("translating")(images.runs(size)):
            start, part = run.start, images.take(run.start, run.stop)
            method = self.fitting.for_pictures(prepared.translator, part.shape[1:3])
            indices = shard.index + shard.count * np.arange(start, start + len(part))
            with told_once(told):
                found, latents = translation.translate_with_latents(
                    method,
                    filled(part, size),
                    key=jax.random.key(self.seed),
                    indices=filled(indices, size),
                    batch_size=size,
                )
                maps = trust and trust.of(method, part, indices, images.names[start : run.stop])
            translations = found[: len(part)]
            latents = None if latents is None else latents[: len(part)]
            results.write(start, images.restored(start, translations))
            if trust and maps is not None:
                own = images.names[start : run.stop]
                trust.write(self.out, own, images.restored(start, maps))
            if start >= images.alike:  # page and sheet show what is of the first one's size
                continue
            more = {} if maps is None else {"trust": 2 * maps - 1}
            recording.kept.add(source=part, translation=translations, latents=latents, **more)
            if start < ON_SHEET:
                shown.append((part, translations))
        results.close(unreadable=images.unreadable)
        if shard.index == 0:
            with drafted(self.out) as draft:
                write_sheet(draft / "sheet.png", *map(np.concatenate, zip(*shown, strict=True)))
                if film is not None:
                    path = draft / f"path.{self.trajectory}"
                    film = self.fitting.for_pictures(film, shown[0][0].shape[1:3])
                    write_path(path, *film, images.take(0, min(images.alike, MOST_IMAGES)))
            few = images.take(0, min(images.alike, filmed(len(images))))
            prepared = self.fitting.for_pictures(prepared, few.shape[1:3])
            tables = {} if trust is None else {"trust": trust.close()}
            hosts = shard.count
            self.record(recording, options, prepared, images.names, few, hosts=hosts, **tables)
        distributed.barrier("translated")
        print(f"{len(images)} translations lie in {self.out}.")

    def record(
        self,
        recording: Recording,
        options: Method,
        prepared: Prepared,
        names: Sequence[str],
        few: np.ndarray,
        *,
        hosts: int,
        **tables: Table,
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
                tables=tables,
                **(crossed(prepared, few) if self.film else {}),
            ),
            groups=[options],
            report=self.report,
        )

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

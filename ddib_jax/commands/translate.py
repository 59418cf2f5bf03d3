"""`ddib translate`: images of one domain in, of another one out, by any method."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np
import tyro

from ddib_jax import distributed, translation
from ddib_jax.commands.animation import MOST_IMAGES, write_path
from ddib_jax.commands.arguments import ColourName, Inputs
from ddib_jax.commands.crossing import Crossing, Flat, read_inputs
from ddib_jax.commands.distributed import Hosts, Joined
from ddib_jax.commands.methods import METHODS, Method, MethodOptions, Models
from ddib_jax.data.png import write_grid, write_images
from ddib_jax.files import drafted
from ddib_jax.progress import progress

_ROWS, _COLUMNS = 4, 16
"""Of pairs of rows, and of images a row, that the sheet shows at most."""


@dataclass(frozen=True)
class Translate:
    """Translate images of one domain into another."""

    input: Inputs
    """Image files, folders of images, or a data set (five, digits:3 ...)."""
    out: Path
    """Where the translations go, one PNG an image, and sheet.png with each source above its
    translation; several hosts share the folder.
    """
    method: Annotated[str, tyro.conf.arg(metavar="|".join(METHODS))] = "ddib"
    """How to translate; each method has options of its own, below."""
    seed: int = 0
    """Seed of the noise that methods and perturbations draw."""
    trajectory: Literal["gif", "webp"] | None = None
    """Also write path.gif or path.webp, an animation from image to latent to translation."""
    background: ColourName = "white"
    """What transparency is laid over: a colour by name or as #rrggbb."""
    split: Literal["train", "test"] = "test"
    """Which split of a named data set."""
    limit: int | None = None
    """Take only this many images, the first ones."""
    models: Annotated[Models, tyro.conf.OmitArgPrefixes] = dataclasses.field(default_factory=Models)
    options: Annotated[
        MethodOptions,  # pyright: ignore[reportInvalidTypeForm] made of the registry at run time
        tyro.conf.OmitArgPrefixes,
        tyro.conf.arg(name=""),
    ] = dataclasses.field(default_factory=MethodOptions)
    crossing: Flat = dataclasses.field(default_factory=Crossing)
    hosts: Joined = dataclasses.field(default_factory=Hosts)

    def run(self) -> None:
        """Read, translate, write."""
        shard = self.hosts.join()
        options = self._chosen()
        prepared = options.prepare(self.models, self.crossing)
        film = prepared.film if self.trajectory else None
        if self.trajectory and film is None:
            raise ValueError(
                f"{options.title} with these options has no single way from image to latent to"
                " translation that a film could show; leave the trajectory out."
            )
        names, images = read_inputs(
            self.input,
            prepared.shape,
            split=self.split,
            limit=self.limit,
            background=self.background,
            shard=shard,
        )
        translations = translation.translate(
            prepared.translator,
            images,
            key=jax.random.key(self.seed),
            indices=shard.index + shard.count * np.arange(len(images)),
            batch_size=self.crossing.batch(prepared.bridge, len(images)),
            progress=progress("translating"),
        )
        with drafted(self.out) as draft:
            write_images(draft, names, translations)
            if shard.index == 0:
                _write_sheet(draft / "sheet.png", images, translations)
            if film is not None and shard.index == 0:
                path = draft / f"path.{self.trajectory}"
                write_path(path, *film, images[:MOST_IMAGES])
        distributed.barrier("translated")
        print(f"{len(names)} translations lie in {self.out}.")

    def _chosen(self) -> Method:
        """The options of the method; ValueError for an unknown one, and for another's options."""
        if self.method not in METHODS:
            raise ValueError(f"Unknown method '{self.method}'; known are {', '.join(METHODS)}.")
        for name in METHODS:
            given = getattr(self.options, name)
            for field in dataclasses.fields(given):
                if name != self.method and getattr(given, field.name) != field.default:
                    raise ValueError(
                        f"--{field.name} is an option of {given.title}; leave it out, or say"
                        f" --method {name}."
                    )
        return getattr(self.options, self.method)


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

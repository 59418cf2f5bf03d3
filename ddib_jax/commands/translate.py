"""`ddib translate`: images of one domain in, of another one out, by any method."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from ddib_jax import baselines, bridge, distributed, pretrained
from ddib_jax.bridge import DDIB, Bridge, Tie
from ddib_jax.commands.animation import MOST_IMAGES, write_path
from ddib_jax.commands.arguments import ColourName, Inputs, OptionalClassName, OptionalModelName
from ddib_jax.commands.conditions import Condition
from ddib_jax.commands.crossing import Crossing, Flat, progress, read_inputs
from ddib_jax.commands.distributed import Hosts, Joined
from ddib_jax.data.png import write_grid, write_images
from ddib_jax.files import drafted

_ROWS, _COLUMNS = 4, 16
"""Of pairs of rows, and of images a row, that the sheet shows at most."""


class _Result(NamedTuple):
    """Names, images and translations [n h w c] of this host, and the two bridges of ddib."""

    names: list[str]
    images: np.ndarray
    translations: np.ndarray
    bridges: tuple[Bridge, Bridge] | None = None


@dataclass(frozen=True)
class Translate:
    """Translate images of one domain into another."""

    input: Inputs
    """Image files, folders of images, or a data set (five, digits:3 ...)."""
    out: Path
    """Where the translations go, one PNG an image, and sheet.png with each source above its
    translation; several hosts share the folder.
    """
    source: OptionalModelName = None
    """The model of the images' domain: a path (model directory, diffusers folder, guided-diffusion
    .pt), hf:owner/name, or a shipped model.
    """
    target: OptionalModelName = None
    """The model of the domain to translate into."""
    model: OptionalModelName = None
    """One class-conditional model in place of both, with a class to encode and one to decode."""
    source_class: OptionalClassName = None
    """The class of the images, by name or number, where the source model has classes."""
    target_class: OptionalClassName = None
    """The class to translate into, where the target model has classes."""
    source_guidance: float | None = None
    """Scale of the guidance towards the source class while encoding; guide both alike if a cycle is
    to close.
    """
    target_guidance: float | None = None
    """Scale of the guidance towards the target class while decoding."""
    source_classifier: Path | None = None
    """A classifier of noisy images that guides encoding (guided-diffusion's .pt with its flags
    beside it).
    """
    target_classifier: Path | None = None
    """A classifier of noisy images that guides decoding."""
    method: Literal["ddib", "sdedit", "ilvr", "cyclegan"] = "ddib"
    """SDEdit and ILVR take the target model alone; CycleGAN takes, as --model, a generator that
    `ddib train-cyclegan` wrote (OUT/ab or OUT/ba).
    """
    noise: float = 1.0
    """The noise level (sigma) that SDEdit starts from: the higher, the more of the target and the
    less of the source.
    """
    factor: int | None = None
    """How many times ILVR shrinks the source before it holds the translation to it, 4 unless given:
    the higher, the less of the source.
    """
    tie: int | None = None
    """Hold this many of the lowest frequencies each way to those of the image, all the way down: 1
    keeps its mean colour, 2 or 3 broad shades too.
    """
    release: float | None = None
    """The noise level at which the tie lets go: the higher, the better the target clears the haze
    that the source's shades leave, and the less of them stays.
    """
    trajectory: Literal["gif", "webp"] | None = None
    """Also write path.gif or path.webp, an animation from image to latent to translation."""
    background: ColourName = "white"
    """What transparency is laid over: a colour by name or as #rrggbb."""
    split: Literal["train", "test"] = "test"
    """Which split of a named data set."""
    limit: int | None = None
    """Take only this many images, the first ones."""
    crossing: Flat = dataclasses.field(default_factory=Crossing)
    hosts: Joined = dataclasses.field(default_factory=Hosts)

    def run(self) -> None:
        """Read, translate, write."""
        shard = self.hosts.join()
        self._check()
        methods = {
            "ddib": self._ddib,
            "sdedit": self._sdedit,
            "ilvr": self._ilvr,
            "cyclegan": self._cyclegan,
        }
        result = methods[self.method]()
        with drafted(self.out) as draft:
            write_images(draft, result.names, result.translations)
            if shard.index == 0:
                _write_sheet(draft / "sheet.png", result)
            if self.trajectory and shard.index == 0:
                path = draft / f"path.{self.trajectory}"
                write_path(path, *result.bridges, result.images[:MOST_IMAGES])
        distributed.barrier("translated")
        print(f"{len(result.names)} translations lie in {self.out}.")

    def _ddib(self) -> _Result:
        source_name, target_name = self._model_names()
        source = pretrained.open(source_name)
        target = source if target_name == source_name else pretrained.open(target_name)
        source_model = self._source_condition().model(source)
        target_model = self._target_condition().model(target)
        bridge.check_meeting(source_model, target_model)
        bridge.warn_of_guidance(source_model, target_model)
        source, target = self.crossing.bridge(source_model), self.crossing.bridge(target_model)
        tie = None if self.tie is None else Tie(self.tie, self.release)
        ddib = DDIB(source, target, tie=tie)
        ddib.check_tie()
        names, images = self._read(source_model.data_shape)
        size = self.crossing.batch(source, len(images))
        latents = bridge.encode(source, images, batch_size=size, progress=progress("encoding"))
        options = {"batch_size": size, "progress": progress("decoding")}
        if tie is None:
            translations = bridge.decode(target, latents, **options)
        else:
            translations = bridge.decode_tied(ddib, latents, **options)
        return _Result(names, images, translations, (source, target))

    def _sdedit(self) -> _Result:
        def method(target: Bridge) -> baselines.SDEdit:
            low, high = target.model.schedule.sigma_range
            if not low < self.noise <= high:
                raise ValueError(
                    f"The noise level {self.noise:g} is outside of what the model knows, {low:g} to"
                    f" {high:g}."
                )
            return baselines.SDEdit(target, jnp.asarray(self.noise))

        return self._by_target_alone("SDEdit", method)

    def _ilvr(self) -> _Result:
        def method(target: Bridge) -> baselines.ILVR:
            height, width, _ = target.model.data_shape
            factor = 4 if self.factor is None else self.factor
            if not 1 <= factor <= min(height, width):
                raise ValueError(
                    f"The factor {factor} does not shrink images of {height} x {width}; give 1 or"
                    " more, and no more than that."
                )
            return baselines.ILVR(target, factor)

        return self._by_target_alone("ILVR", method)

    def _by_target_alone(self, name: str, method_of: Callable[[Bridge], Any]) -> _Result:
        """The result of a method that has the target's bridge and noise alone."""
        model_name = self.target or self.model
        self._check_single(name, model_name, "the target model")
        model = self._target_condition().model(pretrained.open(model_name))
        target = self.crossing.bridge(model)
        method = method_of(target)
        names, images = self._read(model.data_shape)
        shard = distributed.shard()
        translations = baselines.translate(
            method,
            images,
            indices=shard.index + shard.count * np.arange(len(images)),
            batch_size=self.crossing.batch(target, len(images)),
            progress=progress("denoising"),
        )
        return _Result(names, images, translations)

    def _cyclegan(self) -> _Result:
        self._check_single("CycleGAN", self.model, "a generator as --model")
        checkpoint = pretrained.open(self.model)
        params, network = pretrained.load_network(checkpoint.path, "generator")
        names, images = self._read(tuple(checkpoint.facts["image_shape"]))
        size = 64 if self.crossing.batch_size == "auto" else self.crossing.batch_size
        translations = baselines.translate(
            baselines.CycleGAN(params, network=network),
            images,
            batch_size=size,
            progress=progress("translating"),
        )
        return _Result(names, images, translations)

    def _source_condition(self) -> Condition:
        return Condition(self.source_class, self.source_guidance, self.source_classifier)

    def _target_condition(self) -> Condition:
        return Condition(self.target_class, self.target_guidance, self.target_classifier)

    def _check(self) -> None:
        """Raise ValueError for options that do not go together."""
        if self.tie is not None and (self.method != "ddib" or self.trajectory):
            raise ValueError(
                "Tied are the two bridges of ddib, and no film shows them at once; leave the tie"
                " out, or the other method and the trajectory."
            )
        if self.release is not None and self.tie is None:
            raise ValueError(
                "There is no tie to release; name the frequencies to tie (--tie), or leave"
                " --release out."
            )
        if self.factor is not None and self.method != "ilvr":
            raise ValueError("ILVR alone has a factor; leave it out, or say --method ilvr.")

    def _check_single(self, method: str, model: str | None, needed: str) -> None:
        """Raise ValueError where a method of one model has none, or is to show a trajectory."""
        if model is None:
            raise ValueError(f"{method} needs {needed}.")
        if self.trajectory:
            raise ValueError(
                f"{method} has no way from image to latent to film; leave the trajectory out."
            )

    def _read(self, shape: tuple[int, ...]) -> tuple[list[str], np.ndarray]:
        return read_inputs(
            self.input,
            shape,
            split=self.split,
            limit=self.limit,
            background=self.background,
            shard=distributed.shard(),
        )

    def _model_names(self) -> tuple[str, str]:
        """The names of the source and the target model; ValueError where one is missing."""
        if (self.model is None) == (self.source is None and self.target is None):
            raise ValueError(
                "Name a source and a target model, or one class-conditional model for both."
            )
        source, target = self.source or self.model, self.target or self.model
        if source is None or target is None:
            raise ValueError(f"Name the {'source' if source is None else 'target'} model too.")
        return source, target


def _write_sheet(path: Path, result: _Result) -> None:
    """Write rows of images, each above a row of its translations."""
    columns = min(len(result.names), _COLUMNS)
    rows = []
    for start in range(0, min(len(result.names), _ROWS * _COLUMNS), columns):
        for images in (result.images, result.translations):
            rows.append(_filled(images[start : start + columns], columns))
    write_grid(path, np.concatenate(rows), columns=columns)


def _filled(row: np.ndarray, columns: int) -> np.ndarray:
    """The row [n h w c] with white images behind it, `columns` in all."""
    return np.concatenate([row, np.ones((columns - len(row), *row.shape[1:]), row.dtype)])

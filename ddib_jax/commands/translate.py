"""`ddib translate`: from one domain into another, by any method."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from ddib_jax import baselines, bridge, distributed, pretrained
from ddib_jax.bridge import DDIB, Bridge, Tie
from ddib_jax.commands.conditions import Condition
from ddib_jax.commands.crossing import Crossing, Flat, Inputs, progress, read_inputs
from ddib_jax.commands.distributed import Hosts, Joined
from ddib_jax.commands.film import FILMED, write_path
from ddib_jax.data.png import write_grid, write_images
from ddib_jax.files import drafted


@dataclass(frozen=True)
class Translate:
    """Translate images of one domain into another."""

    input: Inputs
    """Image files, folders of images, or a data set (five, digits:3 ...)."""
    out: Path
    """Where the translations go, one PNG an image, and sheet.png with each source above its
    translation; several hosts share the folder.
    """
    source: str | None = None
    """The model of the images' domain: a path (model directory, diffusers folder, guided-diffusion
    .pt), hf:owner/name, or a shipped model.
    """
    target: str | None = None
    """The model of the domain to translate into."""
    model: str | None = None
    """One class-conditional model in place of both, with a class for each leg."""
    source_class: str | None = None
    """The class of the images, by name or number, where the source model has classes."""
    target_class: str | None = None
    """The class to translate into, where the target model has classes."""
    source_guidance: float | None = None
    """Scale of the guidance towards the class, one for each leg; guide both alike if a cycle is to
    close.
    """
    target_guidance: float | None = None
    """Scale of the guidance of decoding."""
    source_classifier: Path | None = None
    """A classifier of noisy images that guides the leg (guided-diffusion's .pt with its flags
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
    """How many times ILVR shrinks the source before it holds the translation to it (4 unless
    given): the higher, the less of the source.
    """
    tie: int | None = None
    """Hold so many of the lowest frequencies each way to those of the image, all the way down: 1
    keeps its mean colour, 2 or 3 broad shades too.
    """
    release: float | None = None
    """The noise level at which the tie lets go: the higher, the better the target clears the haze
    that the source's shades leave, and the less of them stays.
    """
    trajectory: Literal["gif", "webp"] | None = None
    """Also write path.gif or path.webp: image, latent and translation, and all that lies between.
    """
    background: str = "white"
    """What transparency is laid over: a colour by name or as #rrggbb."""
    split: Literal["train", "test"] = "test"
    """Which split of a named data set."""
    limit: int | None = None
    """Take only the first images."""
    crossing: Flat = dataclasses.field(default_factory=Crossing)
    hosts: Joined = dataclasses.field(default_factory=Hosts)

    def run(self) -> None:
        """Read, translate, write."""
        shard = self.hosts.join()
        self._check()
        names, images, translations, legs = {
            "ddib": self._ddib,
            "sdedit": self._sdedit,
            "ilvr": self._ilvr,
            "cyclegan": self._cyclegan,
        }[self.method]()
        with drafted(self.out) as draft:
            write_images(draft, names, translations)
            if shard.index == 0:
                columns = min(len(names), 16)
                rows = [
                    part[i : i + columns]
                    for i in range(0, min(len(names), 64), columns)
                    for part in (images, translations)
                ]
                write_grid(
                    draft / "sheet.png",
                    np.concatenate([_filled(row, columns) for row in rows]),
                    columns,
                )
            if self.trajectory and shard.index == 0:
                write_path(draft / f"path.{self.trajectory}", *legs, images[:FILMED])
        distributed.barrier("translated")
        print(f"{len(names)} translations lie in {self.out}.")

    def _ddib(self):
        """Names, images, translations and the two bridges."""
        conditions = (
            Condition(self.source_class, self.source_guidance, self.source_classifier),
            Condition(self.target_class, self.target_guidance, self.target_classifier),
        )
        source, target = (
            condition.model(name) for condition, name in zip(conditions, self._names(), strict=True)
        )
        bridge.check_meeting(source, target)
        bridge.warn_of_guidance(source, target)
        here, there = self.crossing.bridge(source), self.crossing.bridge(target)
        tied = DDIB(here, there, tie=None if self.tie is None else Tie(self.tie, self.release))
        tied.check_tie()
        names, images = self._read(source.data_shape)
        size = self.crossing.batch(here, len(images))
        latents = bridge.encode(here, images, batch_size=size, progress=progress("encoding"))
        options = {"batch_size": size, "progress": progress("decoding")}
        translations = (
            bridge.decode(there, latents, **options)
            if self.tie is None
            else bridge.decode_tied(tied, latents, **options)
        )
        return names, images, translations, (here, there)

    def _sdedit(self):
        def method(there: Bridge) -> baselines.SDEdit:
            low, high = there.model.schedule.sigma_range
            if not low < self.noise <= high:
                raise ValueError(
                    f"The noise level {self.noise:g} is outside of what the model knows, {low:g} to"
                    f" {high:g}."
                )
            return baselines.SDEdit(there, jnp.asarray(self.noise))

        return self._from_noise("SDEdit", method)

    def _ilvr(self):
        def method(there: Bridge) -> baselines.ILVR:
            factor = 4 if self.factor is None else self.factor
            if not 1 <= factor <= min(there.model.data_shape[:2]):
                raise ValueError(
                    f"The factor {factor} does not shrink images of {there.model.data_shape[0]} x"
                    f" {there.model.data_shape[1]}; give 1 or more, and no more than that."
                )
            return baselines.ILVR(there, factor)

        return self._from_noise("ILVR", method)

    def _from_noise(self, name: str, method: Callable[[Bridge], Any]):
        """Names, images and translations of a method that has the target's bridge and noise."""
        self._alone(name, self.target or self.model, "the target model")
        target = Condition(self.target_class, self.target_guidance, self.target_classifier).model(
            self.target or self.model
        )
        there = self.crossing.bridge(target)
        made = method(there)
        names, images = self._read(target.data_shape)
        size = self.crossing.batch(there, len(images))
        shard = distributed.shard()
        indices = shard.index + shard.count * np.arange(len(images))
        return (
            names,
            images,
            baselines.translate(
                made, images, indices=indices, batch_size=size, progress=progress("denoising")
            ),
            (),
        )

    def _cyclegan(self):
        self._alone("CycleGAN", self.model, "a generator as --model")
        place = pretrained.find(self.model)
        params, network = pretrained.load_network(place, "generator")
        names, images = self._read(tuple(pretrained.describe(place)["image_shape"]))
        size = 64 if self.crossing.batch_size == "auto" else self.crossing.batch_size
        method = baselines.CycleGAN(params, network=network)
        return (
            names,
            images,
            baselines.translate(method, images, batch_size=size, progress=progress("translating")),
            (),
        )

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

    def _alone(self, method: str, given: str | None, needed: str) -> None:
        """Raise ValueError where a method of one model is given none, or asked for what only a
        bridge has.
        """
        if given is None:
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

    def _names(self) -> tuple[str, str]:
        """The names of both models."""
        if (self.model is None) == (self.source is None and self.target is None):
            raise ValueError(
                "Name a source and a target model, or one class-conditional model for both."
            )
        source, target = self.source or self.model, self.target or self.model
        if source is None or target is None:
            raise ValueError(f"Name the {'source' if source is None else 'target'} model too.")
        return source, target


def _filled(row: np.ndarray, columns: int) -> np.ndarray:
    return np.concatenate([row, np.ones((columns - len(row), *row.shape[1:]), row.dtype)])

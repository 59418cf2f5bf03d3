"""`ddib translate`, `encode`, `decode` and `sample`: crossing bridges from the command line."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from ddib_jax import baselines, bridge, hosts, pretrained
from ddib_jax.commands.conditions import Condition, class_labels
from ddib_jax.commands.crossing import Crossing, Encoded, progress, read_inputs, read_latents, write_latents
from ddib_jax.commands.film import FILMED, write_path
from ddib_jax.commands.hosts import Hosts, Joined
from ddib_jax.data.png import write_grid, write_images
from ddib_jax.files import drafted
from ddib_jax.solvers import SOLVERS, is_reversible

Inputs = tyro.conf.Positional[list[str]]
Flat = Annotated[Crossing, tyro.conf.OmitArgPrefixes]


@dataclass(frozen=True)
class Translate:
    """Translate images of one domain into another."""

    input: Inputs
    """Image files, folders of images, or a data set (five, digits:3 ...)."""
    out: Path
    """Where the translations go, one PNG an image, and sheet.png with each source above its translation; several hosts share the folder."""
    source: str | None = None
    """The model of the images' domain: a path (model directory, diffusers folder, guided-diffusion .pt), hf:owner/name, or a shipped model."""
    target: str | None = None
    """The model of the domain to translate into."""
    model: str | None = None
    """One class-conditional model in place of both, with a class for each leg."""
    source_class: str | None = None
    """The class of the images, by name or number, where the source model has classes."""
    target_class: str | None = None
    source_guidance: float | None = None
    """Scale of the guidance towards the class, one for each leg; guide both alike if a cycle is to close."""
    target_guidance: float | None = None
    source_classifier: Path | None = None
    """A classifier of noisy images that guides the leg (guided-diffusion's .pt with its flags beside it)."""
    target_classifier: Path | None = None
    method: Literal["ddib", "sdedit", "cyclegan"] = "ddib"
    """SDEdit takes the target model alone; CycleGAN takes, as --model, a generator that `ddib train-cyclegan` wrote (OUT/ab or OUT/ba)."""
    noise: float = 1.0
    """The noise level (sigma) that SDEdit starts from: the higher, the more of the target and the less of the source."""
    trajectory: Literal["gif", "webp"] | None = None
    """Also write path.gif or path.webp: image, latent and translation, and all that lies between."""
    background: str = "white"
    """What transparency is laid over: a colour by name or as #rrggbb."""
    split: Literal["train", "test"] = "test"
    limit: int | None = None
    """Take only the first images."""
    crossing: Flat = dataclasses.field(default_factory=Crossing)
    hosts: Joined = dataclasses.field(default_factory=Hosts)

    def run(self) -> None:
        """Read, translate, write."""
        share = self.hosts.join()
        names, images, translations, legs = {"ddib": self._ddib, "sdedit": self._sdedit, "cyclegan": self._cyclegan}[self.method]()
        with drafted(self.out) as draft:
            write_images(draft, names, translations)
            if share.index == 0:
                columns = min(len(names), 16)
                rows = [part[i : i + columns] for i in range(0, min(len(names), 64), columns) for part in (images, translations)]
                write_grid(draft / "sheet.png", np.concatenate([_filled(row, columns) for row in rows]), columns)
            if self.trajectory and share.index == 0:
                write_path(draft / f"path.{self.trajectory}", *legs, images[:FILMED])
        hosts.barrier("translated")
        print(f"{len(names)} translations lie in {self.out}.")

    def _ddib(self):
        """Names, images, translations and the two bridges."""
        conditions = (
            Condition(self.source_class, self.source_guidance, self.source_classifier),
            Condition(self.target_class, self.target_guidance, self.target_classifier),
        )
        source, target = (condition.model(name) for condition, name in zip(conditions, self._names(), strict=True))
        bridge.check_meeting(source, target)
        bridge.warn_of_guidance(source, target)
        here, there = self.crossing.bridge(source), self.crossing.bridge(target)
        names, images = self._read(source.data_shape)
        size = self.crossing.batch(here, len(images))
        latents = bridge.encode(here, images, batch_size=size, progress=progress("encoding"))
        return names, images, bridge.decode(there, latents, batch_size=size, progress=progress("decoding")), (here, there)

    def _sdedit(self):
        self._alone("SDEdit", self.target or self.model, "the target model")
        target = Condition(self.target_class, self.target_guidance, self.target_classifier).model(self.target or self.model)
        low, high = target.schedule.sigma_range
        if not low < self.noise <= high:
            raise ValueError(f"The noise level {self.noise:g} is outside of what the model knows, {low:g} to {high:g}.")
        there = self.crossing.bridge(target)
        names, images = self._read(target.data_shape)
        size = self.crossing.batch(there, len(images))
        method = baselines.SDEdit(there, jnp.asarray(self.noise))
        share = hosts.share()
        places = share.index + share.count * np.arange(len(images))
        return names, images, baselines.translate(method, images, places=places, batch_size=size, progress=progress("denoising")), ()

    def _cyclegan(self):
        self._alone("CycleGAN", self.model, "a generator as --model")
        place = pretrained.find(self.model)
        network, params = pretrained.load_network(place, "generator")
        names, images = self._read(tuple(pretrained.describe(place)["image_shape"]))
        size = 64 if self.crossing.batch_size == "auto" else self.crossing.batch_size
        method = baselines.CycleGAN(params, network=network)
        return names, images, baselines.translate(method, images, batch_size=size, progress=progress("translating")), ()

    def _alone(self, method: str, given: str | None, needed: str) -> None:
        """Raise ValueError where a method of one model is given none, or asked for what only a bridge has."""
        if given is None:
            raise ValueError(f"{method} needs {needed}.")
        if self.trajectory:
            raise ValueError(f"{method} has no way from image to latent to film; leave the trajectory out.")

    def _read(self, shape: tuple[int, ...]) -> tuple[list[str], np.ndarray]:
        return read_inputs(self.input, shape, split=self.split, limit=self.limit, background=self.background, share=hosts.share())

    def _names(self) -> tuple[str, str]:
        """The names of both models."""
        if (self.model is None) == (self.source is None and self.target is None):
            raise ValueError("Name a source and a target model, or one class-conditional model for both.")
        source, target = self.source or self.model, self.target or self.model
        if source is None or target is None:
            raise ValueError(f"Name the {'source' if source is None else 'target'} model too.")
        return source, target


@dataclass(frozen=True)
class Encode:
    """Encode images to latents, which may travel to whoever holds the other model."""

    input: Inputs
    """Image files, folders of images, or a data set (five, digits:3 ...)."""
    model: str
    """The model of the images' domain: a model directory or a shipped model."""
    out: Path
    """The .npz file to write: `latents` [n h w c] of unit variance, the images' `names`, and which `model` made them."""
    background: str = "white"
    """What transparency is laid over: a colour by name or as #rrggbb."""
    split: Literal["train", "test"] = "test"
    limit: int | None = None
    """Take only the first images."""
    carry: bool = False
    """Also store what a reversible solver carries, twice the size: decoding by the same model then gives the images back exactly."""
    condition: Annotated[Condition, tyro.conf.OmitArgPrefixes] = dataclasses.field(default_factory=Condition)
    crossing: Flat = dataclasses.field(default_factory=Crossing)

    def run(self) -> None:
        """Read, encode, write."""
        model = self.condition.model(self.model)
        here = self.crossing.bridge(model)
        names, images = read_inputs(self.input, model.data_shape, split=self.split, limit=self.limit, background=self.background)
        if self.carry and not is_reversible(here.solver):
            known = ", ".join(name for name, solver in SOLVERS.items() if is_reversible(solver))
            raise ValueError(f"'{self.crossing.solver}' carries nothing; reversible solvers are {known}.")
        options = {"batch_size": self.crossing.batch(here, len(images)), "progress": progress("encoding")}
        found = bridge.encode(here, images, return_carry=self.carry, **options)
        latents, carry = found if self.carry else (found, None)
        write_latents(self.out, Encoded(names, latents, self.condition.mark(self.model), carry), self.crossing.solver)
        print(f"{len(names)} latents lie in {self.out}.")


@dataclass(frozen=True)
class Decode:
    """Decode latents, of this or of another model's encoding, to images.

    Latents stored with a carry give their images back exactly, by the model, solver, steps and grid that encoded them.
    """

    input: tyro.conf.Positional[Path]
    """The .npz file that `ddib encode` wrote."""
    model: str
    """The model of the domain to decode into: a model directory or a shipped model."""
    out: Path
    """Where the images go, one PNG each."""
    condition: Annotated[Condition, tyro.conf.OmitArgPrefixes] = dataclasses.field(default_factory=Condition)
    crossing: Flat = dataclasses.field(default_factory=Crossing)

    def run(self) -> None:
        """Read, decode, write."""
        names, latents, model, carry = read_latents(self.input)
        there = self.crossing.bridge(self.condition.model(self.model))
        if carry is not None and model != self.condition.mark(self.model):
            print("The latents were encoded by another model, or under another condition: what its solver carried cannot cross, and only the latents are decoded.")
            carry = None
        size = self.crossing.batch(there, len(latents))
        images = bridge.decode(there, latents, carry=carry, batch_size=size, progress=progress("decoding"))
        with drafted(self.out) as draft:
            write_images(draft, names, images)
        print(f"{len(names)} images lie in {self.out}.")


@dataclass(frozen=True)
class Sample:
    """Sample new images of a model's domain, by decoding Gaussian noise."""

    model: str
    """A model directory or a shipped model."""
    out: Path
    """Where the samples go, one PNG each, and sheet.png with all."""
    label: Annotated[str, tyro.conf.arg(name="class")] = "all"
    """Classes of a class-conditional model, parted by commas, in turn."""
    count: int = 64
    seed: int = 0
    crossing: Flat = dataclasses.field(default_factory=Crossing)

    def run(self) -> None:
        """Draw noise, decode, write."""
        if self.count < 1:
            raise ValueError(f"At least one sample is needed, not {self.count}.")
        model = pretrained.load(self.model)
        noise = np.asarray(jax.random.normal(jax.random.key(self.seed), (self.count, *model.data_shape)))
        here, classes = self.crossing.bridge(model), class_labels(self.label, self.model, model)
        labels = None if classes is None else np.resize(classes, self.count)
        given = here if classes is None else here.replace(model=model.given(jnp.asarray(0)))
        size = self.crossing.batch(given, self.count)
        images = bridge.sample(here, noise, labels=labels, batch_size=size, progress=progress("sampling"))
        with drafted(self.out) as draft:
            write_images(draft, [f"sample-{i:05d}" for i in range(self.count)], images)
            write_grid(draft / "sheet.png", images)
        print(f"{self.count} samples lie in {self.out}.")


def _filled(row: np.ndarray, columns: int) -> np.ndarray:
    return np.concatenate([row, np.ones((columns - len(row), *row.shape[1:]), row.dtype)])

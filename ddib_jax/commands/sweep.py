"""`ddib sweep`: images in, their translations under many coefficients of a perturbation out."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np
import tyro

from ddib_jax import distributed, pretrained
from ddib_jax.bridge import DDIB, check_meeting
from ddib_jax.commands.arguments import Inputs, ModelName, OptionalClassName
from ddib_jax.commands.conditions import Condition
from ddib_jax.commands.crossing import Crossing, Flat, read_inputs
from ddib_jax.commands.distributed import Hosts, Joined
from ddib_jax.commands.latents import read_latents
from ddib_jax.commands.methods import CouplingOptions, ReferenceOptions
from ddib_jax.data.png import write_images
from ddib_jax.distributed import Shard
from ddib_jax.files import drafted
from ddib_jax.perturbations import get_perturbation, parse_perturbation
from ddib_jax.pretrained import Checkpoint
from ddib_jax.progress import progress
from ddib_jax.report import contact_sheet
from ddib_jax.translation import translate_sweep

_COLUMNS = 16
"""Images that the sheet shows in a row."""


@dataclass(frozen=True)
class Sweep:
    """Translate images with their latents perturbed, once for every coefficient."""

    input: Inputs
    """Image files, folders of images, a data set (five, digits:3 ...), or one .npz of latents that
    `ddib encode` wrote.
    """
    source: ModelName
    """The model of the images' domain; the target's own to perturb within one domain."""
    target: ModelName
    """The model of the domain to translate into."""
    perturb: Annotated[str, tyro.conf.arg(metavar="NAME[=VALUE]")]
    """A perturbation (normalise, add-noise, keep-low ...); an unknown name gives the list. With
    =VALUE it has that coefficient throughout.
    """
    out: Path
    """Where the results go: NAME_COEFFICIENT.png, and sheet.png with a row for each coefficient."""
    source_class: OptionalClassName = None
    """The class of the images, by name or number, where the source model has classes."""
    target_class: OptionalClassName = None
    """The class to translate into, where the target model has classes."""
    then: Annotated[
        tuple[str, ...],
        tyro.conf.arg(metavar="NAME[=VALUE] ...", help_behavior_hint="(default: no more)"),
    ] = ()
    """Perturbations that follow the first; those without =VALUE share its coefficients."""
    coefficients: tuple[float, ...] | None = None
    """Coefficients to translate under; unless given, those of the perturbation's own study."""
    split: Literal["train", "test"] = "test"
    """Which split of a named data set."""
    limit: int | None = None
    """Take only this many images, the first ones."""
    seed: int = 0
    """Seed of the noise that perturbations draw."""
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
        words = (self.perturb, *self.then)
        coefficients = self._coefficients(words)
        perturb = parse_perturbation(words, coefficients)
        encoder = pretrained.open(self.source)
        decoder = encoder if self.target == self.source else pretrained.open(self.target)
        source = Condition(self.source_class).model(encoder)
        target = Condition(self.target_class).model(decoder)
        check_meeting(source, target)
        names, arrays, encoded = self._read(encoder, source.image_shape, shard)
        ddib = DDIB(
            self.crossing.bridge(source),
            self.crossing.bridge(target),
            perturb=perturb,
            coupling=self.coupling.coupling(source.data_shape),
            until=self.coupling.until,
            reference=self.look_at.image(source.image_shape),
        )
        result = translate_sweep(
            ddib,
            None if encoded else arrays,
            coefficients,
            latents=arrays if encoded else None,
            key=jax.random.key(self.seed),
            batch_size=self.crossing.batch(ddib.source, len(names)),
            progress=progress("sweeping"),
            indices=shard.index + shard.count * np.arange(len(names)),
        )
        labels = [f"{coefficient:g}" for coefficient in coefficients]
        translations = dict(zip(labels, result.images, strict=True))
        rows = {} if encoded else {"source": arrays[:_COLUMNS]}
        rows |= {label: part[:_COLUMNS] for label, part in translations.items()}
        with drafted(self.out) as draft:
            for label, part in translations.items():
                write_images(draft, [f"{name}_{label}" for name in names], part)
            if shard.index == 0:
                contact_sheet(rows, draft / "sheet.png")
        distributed.barrier("swept")
        print(f"{len(names)} images under {len(labels)} coefficients lie in {self.out}.")

    def _coefficients(self, words: tuple[str, ...]) -> tuple[float | int, ...]:
        if self.coefficients is not None:
            if len(set(self.coefficients)) < max(1, len(self.coefficients)):
                raise ValueError("Give at least one coefficient, and none twice.")
            return self.coefficients
        varied = [word for word in words if "=" not in word]
        return get_perturbation(varied[0]).sweep if varied else (0.0,)

    def _read(
        self, checkpoint: Checkpoint, shape: tuple[int, ...], shard: Shard
    ) -> tuple[list[str], np.ndarray, bool]:
        """Names, and images or latents of this host's shard, and whether they are latents."""
        path = self.input[0] if len(self.input) == 1 else ""
        if not path.endswith(".npz") or path.startswith("npz:"):
            names, images = read_inputs(
                self.input, shape, split=self.split, limit=self.limit, shard=shard
            )
            return names, images, False
        names, latents, model, _ = read_latents(Path(path))
        if model != Condition(self.source_class).mark(checkpoint):
            raise ValueError(
                f"The latents in {path} were encoded by another model than"
                f" '{self.source}'; name that one as --source."
            )
        count = len(names[: self.limit])
        if count < shard.count:
            raise ValueError(
                f"There are {count} latents for {shard.count} processes; start no more processes"
                " than there are latents."
            )
        own = slice(shard.index, self.limit, shard.count)
        return names[own], latents[own], True

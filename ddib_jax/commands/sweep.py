"""`ddib sweep`: the same images under many coefficients of a perturbation of their latents."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from ddib_jax import bridge, distributed
from ddib_jax.bridge import DDIB, Tie
from ddib_jax.commands.conditions import Condition
from ddib_jax.commands.crossing import Crossing, Flat, Inputs, progress, read_inputs, read_latents
from ddib_jax.commands.distributed import Hosts, Joined
from ddib_jax.data.png import write_images
from ddib_jax.distributed import Shard
from ddib_jax.files import drafted
from ddib_jax.perturbations import get_perturbation, needs, parse_perturbation
from ddib_jax.report import contact_sheet
from ddib_jax.translation import translate_sweep

SHOWN = 16


@dataclass(frozen=True)
class Sweep:
    """Translate images with their latents perturbed, once for every coefficient."""

    input: Inputs
    """Image files, folders of images, a data set (five, digits:3 ...), or one .npz of latents that
    `ddib encode` wrote.
    """
    source: str
    """The model of the images' domain; the same as the target for the single-model way."""
    target: str
    """The model of the domain to translate into."""
    perturb: str
    """A perturbation (normalise, add-noise, keep-low ...); an unknown name gives the list.
    NAME=VALUE holds one at a value.
    """
    out: Path
    """Where the results go: NAME_COEFFICIENT.png, and sheet.png with a row for each coefficient."""
    source_class: str | None = None
    """The class of the images, by name or number, where the source model has classes."""
    target_class: str | None = None
    """The class to translate into, where the target model has classes."""
    tie: int | None = None
    """Hold so many of the lowest frequencies each way to those of the image, all the way down."""
    release: float | None = None
    """The noise level at which the tie lets go: the higher, the better the target clears the haze
    that the source's shades leave, and the less of them stays.
    """
    then: tuple[str, ...] = ()
    """Perturbations to follow; those without =VALUE share the coefficients."""
    coefficients: tuple[float, ...] | None = None
    """Default: those that the study tries."""
    split: Literal["train", "test"] = "test"
    """Which split of a named data set."""
    limit: int | None = None
    """Take only the first images."""
    seed: int = 0
    """Of the fixed noise."""
    crossing: Flat = dataclasses.field(default_factory=Crossing)
    hosts: Joined = dataclasses.field(default_factory=Hosts)

    def run(self) -> None:
        """Read, encode once, perturb and decode, write."""
        shard = self.hosts.join()
        if self.release is not None and self.tie is None:
            raise ValueError(
                "There is no tie to release; name the frequencies to tie (--tie), or leave"
                " --release out."
            )
        words = (self.perturb, *self.then)
        coefficients = self._coefficients(words)
        perturb = parse_perturbation(words, coefficients)
        source, target = (
            Condition(self.source_class).model(self.source),
            Condition(self.target_class).model(self.target),
        )
        bridge.check_meeting(source, target)
        if shard.count > 1 and "other" in needs(perturb):
            raise ValueError(
                "This perturbation looks at an image's neighbour, which another process may have;"
                " sweep it on one."
            )
        ddib = DDIB(
            self.crossing.bridge(source),
            self.crossing.bridge(target),
            perturb=perturb,
            tie=None if self.tie is None else Tie(self.tie, self.release),
        )
        ddib.check_tie()
        names, images, latents = self._read(source.data_shape, shard)
        swept = translate_sweep(
            ddib,
            images,
            coefficients,
            latents=latents,
            key=jax.random.key(self.seed),
            batch_size=self.crossing.batch(ddib.source, len(names)),
            progress=progress("sweeping"),
            indices=shard.index + shard.count * np.arange(len(names)),
        )
        labels = [f"{coefficient:g}" for coefficient in coefficients]
        rows = {} if images is None else {"source": images[:SHOWN]}
        rows |= {label: part[:SHOWN] for label, part in zip(labels, swept.images, strict=True)}
        with drafted(self.out) as draft:
            for label, translations in zip(labels, swept.images, strict=True):
                write_images(draft, [f"{name}_{label}" for name in names], translations)
            if shard.index == 0:
                contact_sheet(rows, draft / "sheet.png")
        distributed.barrier("swept")
        print(f"{len(names)} images under {len(labels)} coefficients lie in {self.out}.")

    def _coefficients(self, words: tuple[str, ...]) -> tuple[float | int, ...]:
        if self.coefficients is not None:
            if len(set(self.coefficients)) < max(1, len(self.coefficients)):
                raise ValueError("Give at least one coefficient, and none twice.")
            return self.coefficients
        swept = [word for word in words if "=" not in word]
        return get_perturbation(swept[0]).sweep if swept else (0.0,)

    def _read(
        self, shape: tuple[int, ...], shard: Shard
    ) -> tuple[list[str], np.ndarray | None, np.ndarray | None]:
        if (
            len(self.input) != 1
            or not self.input[0].endswith(".npz")
            or self.input[0].startswith("npz:")
        ):
            return (
                *read_inputs(self.input, shape, split=self.split, limit=self.limit, shard=shard),
                None,
            )
        names, latents, model, _ = read_latents(Path(self.input[0]))
        if model != Condition(self.source_class).mark(self.source):
            raise ValueError(
                f"The latents in {self.input[0]} were encoded by another model than"
                f" '{self.source}'; name that one as --source."
            )
        if len(names[: self.limit]) < shard.count:
            raise ValueError(
                f"There are {len(names[: self.limit])} latents for {shard.count} processes; start"
                " no more processes than there are latents."
            )
        mine = slice(shard.index, self.limit, shard.count)
        return names[mine], None, latents[mine]

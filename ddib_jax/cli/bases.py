"""`ddib bases`: semantic bases of a concept, for FreeControl."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import tyro

from ddib_jax import pretrained
from ddib_jax.cli.arguments import ModelName
from ddib_jax.cli.conditions import Condition, Conditioned
from ddib_jax.cli.crossing import Crossing, Flat
from ddib_jax.data.png import write_grid
from ddib_jax.editing import false_colours, save_bases, semantic_bases
from ddib_jax.editing.bases import KNOTS
from ddib_jax.files import check_output, drafted_file
from ddib_jax.options import Count, OptionalCount, Whole
from ddib_jax.progress import progress

_SHOWN = 4
"""Seeds that the picture shows."""


@dataclass(frozen=True)
class MakeBases:
    """Make semantic bases of a concept, by which FreeControl reads structure.

    Beside them OUT.png shows the first seeds and, below, the first three directions as colours.

    Levels of noise fall from row to row; parts of a picture that mean the same look alike.
    """

    model: ModelName
    """The model that pictures will be controlled of: a path, hf:owner/name, or a shipped model."""
    out: Path
    """The file to write (.npz)."""
    seeds: Count = 20
    """Images that are sampled of the concept; one will do, more help with limbs."""
    layers: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="LAYER ...", help_behavior_hint="(default: none)")
    ] = ()
    """What structure is read from, by the names of the network's sites (`DiffusionModel.sites`); by
    default the keys of self-attention in the decoder's first block of 16 positions a side or more.
    """
    components: OptionalCount = None
    """Directions kept of each layer; by default one in 20 channels, and 8 at least."""
    knots: Count = KNOTS
    """Noise levels that have bases of their own."""
    inverted: bool = False
    """Read the features while the samples are encoded again, as the paper says, and not while they
    are sampled, as its code does.
    """
    seed: Whole = 0
    """Seed of the images."""
    condition: Conditioned = dataclasses.field(default_factory=Condition)
    crossing: Flat = dataclasses.field(default_factory=Crossing)

    def run(self) -> None:
        """Sample, take sums of the features, write their principal directions."""
        if self.out.suffix != ".npz":
            raise ValueError(f"Bases are written as .npz; name {self.out}.npz, for example.")
        check_output(self.out.parent)
        checkpoint = pretrained.open(self.model, image_size=self.condition.size)
        if self.crossing.switch is not None:
            raise ValueError("Bases are read at all noise levels; leave --switch out.")
        bridge = self.crossing.bridge(self.condition.model(checkpoint))
        shape = (self.seeds, *bridge.model.data_shape)
        latents = jax.random.normal(jax.random.key(self.seed), shape)
        bases = semantic_bases(
            bridge,
            latents,
            sites=self.layers or None,
            components=self.components,
            knots=self.knots,
            inverted=self.inverted,
            batch_size=self.crossing.batch(bridge, self.seeds),
            progress=progress("sampling"),
        )
        told = self.condition.prompt or self.condition.label or ""
        save_bases(self.out, bases, model=checkpoint.fingerprint, prompt=told)
        for site, explained in zip(bases.sites, bases.explained, strict=True):
            share = float(explained.sum(axis=-1).mean())
            print(f"{site}: {explained.shape[-1]} directions hold {share:.0%} of the variance.")
        picture = self.out.with_suffix(".png")
        seen = false_colours(bridge, latents[:_SHOWN], bases, inverted=self.inverted)
        with drafted_file(picture) as draft:
            write_grid(draft, seen.reshape(-1, *seen.shape[2:]), columns=seen.shape[1])
        print(f"Bases for {len(bases.levels)} noise levels lie in {self.out}.")
        print(f"{picture} shows seeds, and below what bases see of them, in false colours.")

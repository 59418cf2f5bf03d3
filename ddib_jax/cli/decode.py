"""`ddib decode`: latents in, images out."""

import dataclasses
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro

from ddib_jax import pretrained, translation
from ddib_jax.bridge import check_shape
from ddib_jax.cli.arguments import ModelName
from ddib_jax.cli.conditions import Condition, Conditioned
from ddib_jax.cli.crossing import Crossing, Flat, filled
from ddib_jax.cli.fitting import Fitted, Fitting
from ddib_jax.cli.pixels import decoded_results, scale_of
from ddib_jax.data.fitting import Fits
from ddib_jax.data.results import open_folder, unique_names
from ddib_jax.progress import progress
from ddib_jax.solvers import LatticeHeun
from ddib_jax.translation.latent_files import closing, read_latents


@dataclass(frozen=True)
class Decode:
    """Decode latents to images of a model's domain.

    With an auxiliary state the images come back exactly, by the options that encoded them.

    By lattice-heun they do so to the bit, and how many did is printed.
    """

    input: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="LATENTS")]
    """The .npz file that `ddib encode` wrote."""
    model: ModelName
    """The model of the domain to decode into: a model directory or a shipped model."""
    out: Path
    """Where the images go: one PNG each, or files as those that were encoded where the model was
    trained with a --range.
    """
    condition: Conditioned = dataclasses.field(default_factory=Condition)
    fitting: Fitted = dataclasses.field(default_factory=Fitting)
    crossing: Flat = dataclasses.field(default_factory=Crossing)

    def run(self) -> None:
        """Read, decode, write."""
        open_folder(self.out)
        encoded = read_latents(self.input)
        own, latents, model, aux = encoded[:4]
        names = unique_names(own)
        checkpoint = pretrained.open(self.model, image_size=self.condition.size)
        target = self.crossing.bridge(self.condition.model(checkpoint))
        fits = Fits.from_arrays(encoded.more, len(names), self.input)
        fitting = self.fitting.of_latents(fits, self.input)
        target = fitting.for_pictures(target, latents.shape[1:3])
        check_shape(target.model, latents, "latents")
        if aux is not None and model != self.condition.mark(checkpoint):
            print(
                "The latents were encoded by another model, or under another condition: their"
                " auxiliary state is of no use here, and the latents alone are decoded."
            )
            aux = None
        changed = {safe: name for safe, name in zip(names, own, strict=True) if safe != name}
        results = decoded_results(
            self.out,
            names,
            changed,
            shape=target.model.image_shape,
            kept=(encoded.more, self.input),
            scale=scale_of(checkpoint),
        )
        size = min(self.crossing.batch(target, len(latents)), len(latents))
        lattice, pairs = None, []
        if aux is not None and isinstance(target.solver, LatticeHeun):
            lattice = target.solver
            # The pairs' own batch, which their bits may depend on.
            size = (aux.batch or size) * jax.local_device_count()
        # Batch by batch, each written as it comes: what is stopped keeps what it has.
        for start in progress("decoding")(range(0, len(latents), size)):
            part = filled(latents[start : start + size], size)
            count = min(size, len(latents) - start)
            own_aux = aux
            if aux is not None:
                value = filled(np.asarray(aux.value)[start : start + size], size)
                own_aux = replace(aux, value=value)
            if own_aux is not None and lattice is not None:
                end = translation.hand_on(target, own_aux, rising=False, batch_size=size)
                pairs.append(end.aux.value[:count])
                images = end.y
            else:
                images = translation.decode(target, part, aux=own_aux, batch_size=size)
            images = images[:count]
            results.write(start, images if fits is None else fits.restored(start, images))
        results.close()
        if lattice is not None:
            print(closing(lattice, np.concatenate(pairs)))
        print(f"{len(names)} images lie in {self.out}.")

"""`ddib translate --aux`: translations on a lattice, whose pairs are kept."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ddib_jax import translation
from ddib_jax.bridge import DDIB
from ddib_jax.cli.methods import DDIBOptions
from ddib_jax.cli.pixels import decoded_results, source_scale, target_scale
from ddib_jax.cli.prepared import Method, Prepared
from ddib_jax.cli.recording import Recording
from ddib_jax.data.fitting import Fits
from ddib_jax.data.inputs import open_inputs
from ddib_jax.data.png import write_sheet
from ddib_jax.data.results import unique_names
from ddib_jax.diagnosis import filmed
from ddib_jax.distributed import Shard
from ddib_jax.files import drafted
from ddib_jax.progress import progress
from ddib_jax.solvers import LatticeHeun
from ddib_jax.translation.batching import costlier
from ddib_jax.translation.latent_files import PairFile, closing, read_pairs, write_pairs
from ddib_jax.translation.lattice import states


def keep_pairs(command: Any, options: Method, shard: Shard, recording: Recording) -> None:
    """As `Translate.run` of a command, on a lattice: from images or pairs, undone to the bit.

    Raises ValueError for other methods and options than a plain DDIB's.
    """
    plain = options == DDIBOptions()
    if not plain or command.trajectory or shard.count > 1:
        raise ValueError(
            "--aux keeps the pairs of a plain DDIB in one process; leave out other methods,"
            " perturbations, couplings, the trajectory and further processes."
        )
    source, target = command.models.both(command.crossing)
    if command.fitting.fit in ("pad", "resize"):
        raise ValueError(
            f"--aux gives back what the model was given, to the bit, and no picture that was"
            f" fitted by --fit {command.fitting.fit}; take crop or tile."
        )
    if source.model.data_shape != target.model.data_shape:
        raise ValueError(
            "--aux hands pairs of states on from model to model, and these two have unlike"
            " numbers of channels; leave it out."
        )
    if not isinstance(source.solver, LatticeHeun):
        raise ValueError(
            f"'{command.crossing.solver}' is no lattice, whose pairs could be kept; take --solver"
            " lattice-heun."
        )
    (here, there), path = command.models.marks(), Path(command.input[0] if command.input else "")
    sized = lambda count: {
        "batch_size": command.crossing.batch(costlier(source, target), count),
        "progress": progress("translating"),
    }
    if path.suffix == ".npz" and len(command.input) == 1:
        names, model, origin, aux, more = read_pairs(path)
        if model != here:
            raise ValueError(
                f"The pairs in {path} lie at another model, or under another class or guidance,"
                f" than the source '{command.models.source or command.models.model}'; the target of"
                " the translation that kept them is the source of the way back."
            )
        fits = Fits.from_arrays(more, len(names), path)
        fitting = command.fitting.of_latents(fits, path)
        if command.limit is not None:
            names, more = names[: command.limit], {}
            if fits is not None:
                more = fits.chosen(slice(command.limit)).to_arrays()
        aux = dataclasses.replace(aux, value=np.asarray(aux.value)[: command.limit])
        size = np.asarray(aux.value).shape[2:4]
        source, target = (fitting.for_pictures(each, size) for each in (source, target))
        data = states(source, aux, rising=False)
        images = translation.to_images(source.model, data)
        up = translation.hand_on(source, aux, rising=True, **sized(len(names)))
    else:
        opened = open_inputs(
            command.input,
            source.model.image_shape,
            split=command.split,
            limit=command.limit,
            background=command.background,
            reading=command.reading,
            fit=command.fitting.fit,
            scale=source_scale(command.models),
            declared=command.declared,
        )
        names, images = opened.names, opened.take(0, len(opened))
        size = images.shape[1:3]
        source, target = (command.fitting.for_pictures(each, size) for each in (source, target))
        origin, more = here, opened.to_arrays(overlap=command.fitting.share)
        up = translation.encode(source, images, **sized(len(names)))
    down = translation.hand_on(target, up.aux, rising=False, **sized(len(names)))
    safe = unique_names(names)
    changed = {new: name for new, name in zip(safe, names, strict=True) if new != name}
    results = decoded_results(
        command.out,
        safe,
        changed,
        shape=target.model.image_shape,
        kept=(more, path),
        scale=target_scale(command.models),
    )
    results.write(0, down.y)
    results.close()
    with drafted(command.out) as draft:
        write_sheet(draft / "sheet.png", images, down.y)
        pairs = PairFile(names, there, origin, down.aux, more)
        write_pairs(draft / "pairs.npz", pairs, command.crossing.solver)
    print(f"{len(names)} translations and their pairs lie in {command.out}.")
    recording.kept.add(source=images, translation=down.y, latents=up.y)
    prepared = Prepared(images.shape[1:], DDIB(source, target), source, film=(source, target))
    command.record(
        recording, options, prepared, names, images[: filmed(len(images))], hosts=shard.count
    )
    if origin == there:
        print(closing(source.solver, down.aux.value))

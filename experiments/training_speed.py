"""How fast is a training, and what holds it up: the loop, the loader or the devices?

    python experiments/training_speed.py            # a few minutes on two CPU cores

The step is that of `ddib train` with a small network on the bundled fives. Three loops take turns:
a plain one that makes each batch when it needs it and waits for each loss; `fit`, which prefetches
batches to the devices and waits for nothing; and `fit` with several steps a call (lax.scan). The
loader's images a second, from memory and from JPEGs on disk, stand beside the
step's. For weak scaling the batch grows with 1, 2, 4 and 8 virtual devices, each count in a process
of its own. It writes `runs/training_speed/`.
"""

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from ddib_jax import parallel, preconditioning
from ddib_jax.data import Pictures, in_workers, load_dataset
from ddib_jax.data.folder import read_image
from ddib_jax.data.pictures import View
from ddib_jax.options import cli
from ddib_jax.report import markdown_table
from ddib_jax.runs import Run, Table
from ddib_jax.trainer import Batches, Recipe
from ddib_jax.training import TrainingLog, TrainState, fit, read_log, train_steps
from ddib_jax.weightings import Unweighted
from study import RUNS, Study

SMALL = {"model_channels": 32, "channel_mult": (1, 2), "attention_resolutions": (), "patch_size": 4}


@dataclass(frozen=True)
class Config:
    """Time the loop, the loader and the devices."""

    steps: int = 24
    """Timed steps of each loop."""
    steps_per_call: int = 8
    batch_size: int = 16
    rounds: int = 3
    """Turns of each loop; the median counts."""
    devices: tuple[int, ...] = (1, 2, 4, 8)
    """Virtual devices of the weak scaling; none for none."""
    pictures: int = 256
    """JPEGs of 128 pixels that the loader reads at 64."""
    weak: bool = False
    """Print the images a second of these devices, and nothing else."""
    out: Path = RUNS / "training_speed"


def learner(batch_size: int) -> tuple:
    """A state before training, the batches, and what a step needs."""
    recipe = Recipe(batch_size=batch_size, **SMALL)
    source = load_dataset("five")
    model = recipe.untrained(source.image_shape, preconditioning.EDM(0.38), None)
    tx = recipe.tx()
    state = jax.tree.map(np.asarray, TrainState.create(model.params, tx))
    options = {
        "grad_fn": recipe.grad_fn(model, Unweighted(), 0),
        "tx": tx,
        "shared": (model.precondition, None),
    }
    return state, Batches(source, batch_size, 0), options


def plain(state: TrainState, batches: Callable, options: dict, steps: int) -> float:
    """Make a batch, take a step, read the loss; steps a second."""
    update = _updates(options["grad_fn"], options["tx"])
    state = parallel.replicate(state)
    for step in range(2 * steps):
        if step == steps:  # the first half compiles
            clock = time.perf_counter()
        batch = parallel.to_devices(jax.tree.map(lambda leaf: leaf[None], batches(step)))
        state, metrics = update(jax.random.key(0), state, batch, options["shared"])
        float(parallel.unreplicate(metrics)["loss"][0])
    return steps / (time.perf_counter() - clock)


def fitted(
    state: TrainState, batches: Callable, options: dict, steps: int, steps_per_call: int
) -> float:
    """The loop of `ddib train`; steps a second."""
    with tempfile.TemporaryDirectory() as folder:
        log = TrainingLog(Path(folder), start=0, steps=2 * steps, quiet=True)
        fit(
            jax.random.key(0),
            state,
            map(batches, range(2 * steps)),
            steps=2 * steps,
            steps_per_call=steps_per_call,
            callbacks=[log.every(steps)],
            **options,
        )
        log.close()
        return read_log(log.path)[-1]["steps_per_second"]


@functools.cache
def _updates(grad_fn: Callable, tx) -> Callable:
    return parallel.data_parallel(
        functools.partial(
            train_steps, grad_fn=grad_fn, tx=tx, ema_decay=0.999, axis_name=parallel.BATCH_AXIS
        )
    )


def loops(config: Config) -> Table:
    """Images a second of the three loops, taking turns."""
    state, batches, options = learner(config.batch_size)
    several = f"{config.steps_per_call} steps a call, prefetched"
    ways = {
        "plain loop": plain,
        "prefetched": functools.partial(fitted, steps_per_call=1),
        several: functools.partial(fitted, steps_per_call=config.steps_per_call),
    }
    rounds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(config.rounds):
        for name, run in ways.items():
            rounds[name].append(config.batch_size * run(state, batches, options, config.steps))
    rates = {name: float(np.median(values)) for name, values in rounds.items()}
    return Table(
        ("loop", "images a second", "of the plain loop's"),
        tuple((name, rate, rate / rates["plain loop"]) for name, rate in rates.items()),
    )


def loader(config: Config) -> Table:
    """Images a second of the loader."""
    rows = []
    fives = Batches(load_dataset("five"), config.batch_size, 0)
    rows.append(("fives, coloured in memory", _rate(map(fives, range(200)), config.batch_size)))
    with tempfile.TemporaryDirectory() as folder:
        noise = np.random.default_rng(0)
        for index in range(config.pictures):
            small = noise.integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(small).resize((128, 128)).save(Path(folder) / f"{index:05d}.jpg")
        for name, memory, workers in (
            ("JPEGs kept in memory", 2**31, 0),
            ("JPEGs from disk, threads", 0, 0),
            ("JPEGs from disk, 2 worker processes", 0, 2),
        ):
            source = Pictures(sorted(Path(folder).iterdir()), View(64), read_image, memory=memory)
            batches = Batches(source, config.batch_size, 0, flip=True)
            stream = in_workers(batches, 0, 60, workers) if workers else map(batches, range(60))
            next(stream)  # the workers have started
            rows.append((name, _rate(stream, config.batch_size)))
    return Table(("loader", "images a second"), tuple(rows))


def _rate(batches, size: int) -> float:
    clock, count = time.perf_counter(), 0
    for _ in batches:
        count += size
    return count / (time.perf_counter() - clock)


def weak(config: Config) -> float:
    """Images a second of the devices of this process."""
    count = jax.local_device_count()
    state, batches, options = learner(config.batch_size * count)
    update, state = _updates(options["grad_fn"], options["tx"]), parallel.replicate(state)
    batch = parallel.to_devices(jax.tree.map(lambda leaf: leaf[None], batches(0)))
    rates = []
    for _ in range(2 + config.rounds):
        clock = time.perf_counter()
        state, metrics = update(jax.random.key(0), state, batch, options["shared"])
        jax.block_until_ready(metrics)
        rates.append(config.batch_size * count / (time.perf_counter() - clock))
    return float(np.median(rates[2:]))


def scaling(config: Config) -> Table:
    """Weak scaling over virtual devices, which share the cores that there are."""
    rows = []
    for count in config.devices:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
        command = [
            sys.executable,
            __file__,
            "--weak",
            "--batch-size",
            str(config.batch_size),
            "--rounds",
            str(config.rounds),
        ]
        done = subprocess.run(
            command,
            env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            check=True,
        )
        rows.append((count, config.batch_size * count, json.loads(done.stdout.splitlines()[-1])))
    return Table(
        ("virtual devices", "batch", "images a second"),
        tuple(rows),
        f"{os.cpu_count()} CPU cores hold them all",
    )


def main(config: Config) -> Path | None:
    """Run the study; returns the path of its page."""
    if config.weak:
        print(json.dumps(weak(config)))
        return None
    study = Study("training_speed", "How fast is a training?", config)
    tables = {"Loops": loops(config), "Loader": loader(config)}
    if config.devices:
        tables["Weak scaling"] = scaling(config)
    return study.publish(shown=in_words, tables=tables)


def in_words(run: Run) -> str:
    """The tables under their titles."""
    return "\n".join(
        f"{title}\n\n{markdown_table(table, digits=3)}" for title, table in run.tables.items()
    )


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

"""Training on crops of a picture that is larger than memory should be asked for.

    python experiments/large_pictures.py

Makes a TIFF of 20,000 x 20,000 pixels in tiles, packed, in a temporary folder, and a PNG of 1,024 x
1,024 from the same textures. On crops of each (`data.crop_folder`, what `ddib train --crop window`
reads), in a process of its own, it trains a small network, and prints how many crops a second are
read and trained on, and the peak of memory: how much of it was needed to read, above what the
process held before, and in all.
"""

import json
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import tifffile
from PIL import Image

import ddib_jax
from ddib_jax import runs
from ddib_jax.data import Crops, batch_at, crop_folder
from ddib_jax.options import cli
from ddib_jax.report import markdown_table
from ddib_jax.training.log import read_log
from load_cost import memory
from study import RUNS, Study

TILE = 256
KINDS = 257
"""Tiles of the large picture that differ."""
SMALL = 1024


@dataclass(frozen=True)
class Config:
    """Options of the study."""

    out: Path = RUNS / "large_pictures"
    side: int = 20_000
    """Side of the large picture, in pixels."""
    crop: int = 64
    """Side of the crops."""
    steps: int = 60
    batch_size: int = 16
    seed: int = 0
    measure: Path | None = None
    """Train on the pictures of this folder and print what it took, in JSON; the study calls itself
    so.
    """


def textures(rng: np.random.Generator) -> np.ndarray:
    """Smooth random colours [SMALL SMALL 3], bytes."""
    values = np.zeros((SMALL, SMALL, 3))
    for period in (8, 32, 128):
        coarse = rng.normal(size=(SMALL // period, SMALL // period, 3)).repeat(period, 0)
        fine = coarse.repeat(period, 1)
        for axis in (0, 1):  # a mean over the period smooths its steps
            sums = np.cumsum(np.concatenate([fine, fine], axis), axis)
            fine = np.take(sums, np.arange(period, SMALL + period), axis)
            fine = (fine - np.take(sums, np.arange(SMALL), axis)) / period
        values += fine
    return np.clip(128 + 30 * values, 0, 255).astype(np.uint8)


def tiles(side: int, texture: np.ndarray, rng: np.random.Generator) -> Iterator[bytes]:
    """The tiles of a picture, row by row, packed: in turn `KINDS` parts of the textures, shaded."""
    packed = []
    for _ in range(KINDS):
        y, x = rng.integers(0, SMALL - TILE, 2)
        shade = rng.integers(0, 128, 3).astype(np.uint8)
        packed.append(zlib.compress((texture[y : y + TILE, x : x + TILE] // 2 + shade).tobytes()))
    for number in range((-(-side // TILE)) ** 2):
        yield packed[number % KINDS]


def make(folder: Path, config: Config) -> dict[str, Path]:
    """A folder with each picture."""
    rng = np.random.default_rng(config.seed)
    texture, start = textures(rng), time.perf_counter()
    places = {"large": folder / "large", "small": folder / "small"}
    for place in places.values():
        place.mkdir()
    path = places["large"] / "picture.tif"
    tifffile.imwrite(
        path,
        tiles(config.side, texture, rng),
        shape=(config.side, config.side, 3),
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric="rgb",
        compression="zlib",
    )
    Image.fromarray(texture).save(places["small"] / "picture.png")
    print(
        f"{config.side} x {config.side} pixels: {3 * config.side**2 / 1e9:.2f} GB, packed"
        f" {path.stat().st_size / 1e9:.2f} GB, made in {time.perf_counter() - start:.0f} s",
        flush=True,
    )
    return places


def measured(config: Config, folder: Path) -> dict[str, Any]:
    """What reading and training took."""
    jnp.zeros(1).block_until_ready()
    before = memory("VmRSS")
    source: Crops = crop_folder(folder, image_size=config.crop)
    draw = lambda step: batch_at(source, step, batch_size=config.batch_size, seed=config.seed)
    draw(0)
    start = time.perf_counter()
    for step in range(config.steps):
        draw(step)
    reading = config.steps * config.batch_size / (time.perf_counter() - start)
    to_read = memory("VmHWM") - before
    training = ddib_jax.Training(
        steps=config.steps,
        batch_size=config.batch_size,
        preconditioning="epsilon",
        channel_mult=(1, 2),
        attention_resolutions=(),
        reference=0,
        warmup=10,
        log_every=10,
        preview_every=config.steps,
    )
    with tempfile.TemporaryDirectory() as out:
        ddib_jax.train(source, training, Path(out) / "model", name=folder.name)
        lines = read_log(Path(out) / "model" / "training" / "log.jsonl")[1:]
    seconds, done = sum(line["seconds"] for line in lines), lines[-1]["step"] - 10
    return {
        "crops": len(source),
        "read": reading,
        "trained": done * config.batch_size / seconds,
        "to_read": to_read / 1e6,
        "peak": memory("VmHWM") / 1e6,
    }


def main(config: Config) -> None:
    """Make, measure, write a run and its page."""
    if config.measure:
        print(json.dumps(measured(config, config.measure)))
        return
    study = Study("large_pictures", "Training on crops of a large picture", config)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, place in make(Path(folder), config).items():
            options = [f"--{key}={getattr(config, key)}" for key in ("crop", "steps", "seed")]
            options += [f"--batch-size={config.batch_size}", f"--measure={place}"]
            command = [sys.executable, __file__, *options]
            process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(process.stdout.splitlines()[-1])
            side = config.side if name == "large" else SMALL
            rows.append(
                (
                    f"{side} x {side}, {'TIFF in tiles' if name == 'large' else 'PNG in memory'}",
                    found["crops"],
                    round(found["read"]),
                    round(found["trained"], 1),
                    round(found["to_read"]),
                    round(found["peak"]),
                )
            )
    columns = (
        "picture",
        "crops that tile it",
        "read a second",
        "trained on a second",
        "MB to read",
        "MB in all",
    )
    study.publish(
        shown=lambda run: markdown_table(run.tables["costs"]),
        leave_out=("out", "measure"),
        tables={"costs": runs.Table(columns, tuple(rows), f"Crops of {config.crop} pixels")},
    )


if __name__ == "__main__":
    main(cli(Config))

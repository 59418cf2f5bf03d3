"""A large picture through a model of small ones: seams, and the way back.

    python experiments/tiling.py

A mosaic of coloured sevens of 384 x 512 pixels goes up the ODE of the shipped 32 x 32 model of
sevens and down that of fives, in overlapping windows whose denoisers are averaged at every noise
level (`tiling.Tiling`), and once more in windows that do not overlap, each of them translated by
itself. Seam energy is the mean squared difference of neighbouring pixels across the borders of
windows, over that elsewhere: 1 where no border can be seen. The digits of the mosaic are laid at
random, so that its own ratio is 1.

Then the way back by the same model: its largest error by an explicit solver, and by a lattice the
number of values that were lost.
"""

import argparse
import datetime
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

import ddib_jax
from ddib_jax import DDIB, Bridge, get_solver, runs, translation
from ddib_jax.data.png import to_bytes
from ddib_jax.parallel import machine
from ddib_jax.report import write_report

BLACK = -1.0
_SIDE = 32


@dataclass(frozen=True)
class Config:
    """Options of the study."""

    out: Path = Path("runs/tiling")
    height: int = 384
    width: int = 512
    steps: int = 40
    inverted_steps: int = 300
    """Steps of the explicit way back."""
    inverted_size: tuple[int, int] = (384, 512)
    seed: int = 0


def mosaic(
    digits: Float[np.ndarray, "n k k c"], size: tuple[int, int], *, seed: int
) -> Float[np.ndarray, "h w c"]:
    """Digits laid at random places over a dark ground, the brighter of two where they meet."""
    rng = np.random.default_rng(seed)
    canvas = np.full((size[0] + 2 * _SIDE, size[1] + 2 * _SIDE, 3), BLACK, np.float32)
    for digit in digits:
        y, x = rng.integers(0, (size[0] + _SIDE, size[1] + _SIDE))
        part = canvas[y : y + _SIDE, x : x + _SIDE]
        np.maximum(part, digit, out=part)
    return canvas[_SIDE:-_SIDE, _SIDE:-_SIDE]


def seam_ratio(image: Float[np.ndarray, "h w c"], period: int) -> float:
    """The mean squared step across borders every `period` pixels, over the mean elsewhere."""
    across, elsewhere = [], []
    for axis in (0, 1):
        steps = np.square(np.diff(image, axis=axis)).mean(axis=(1 - axis, 2))
        border = np.arange(1, image.shape[axis]) % period == 0
        across.append(steps[border])
        elsewhere.append(steps[~border])
    return float(np.concatenate(across).mean() / np.concatenate(elsewhere).mean())


def jump_ratio(image: Float[np.ndarray, "h w c"], period: int) -> float:
    """As `seam_ratio`, of second differences: how far a step departs from those beside it."""
    across, elsewhere = [], []
    for axis in (0, 1):
        steps = np.diff(image, axis=axis)
        middle, before, after = (
            np.take(steps, np.arange(start, steps.shape[axis] - 2 + start), axis=axis)
            for start in (1, 0, 2)
        )
        jumps = np.square(middle - (before + after) / 2).mean(axis=(1 - axis, 2))
        border = np.arange(2, 2 + len(jumps)) % period == 0
        across.append(jumps[border])
        elsewhere.append(jumps[~border])
    return float(np.concatenate(across).mean() / np.concatenate(elsewhere).mean())


def main(config: Config) -> None:
    """Translate, measure, invert, write a run and its page."""
    started = datetime.datetime.now(datetime.UTC)
    size = (config.height, config.width)
    sevens = ddib_jax.load_dataset("seven", split="test").take(range(256))
    picture = mosaic(sevens, size, seed=config.seed)[None]
    source, target = (
        Bridge.over(ddib_jax.load(name), steps=config.steps) for name in ("seven", "five")
    )
    rows, arrays = [], {"picture": to_bytes(picture)}
    # of windows half of which overlap, borders lie every 16 pixels
    for name, overlap, period in (("averaged", 0.5, 16), ("apart", 0.0, 32)):
        method = translation.tiled(DDIB(source, target), *size, overlap=overlap)
        start = time.perf_counter()
        found = ddib_jax.translate(method, picture)
        seconds = time.perf_counter() - start
        arrays[name] = to_bytes(found)
        steps, jumps = seam_ratio(found[0], period), jump_ratio(found[0], period)
        own = seam_ratio(picture[0], period), jump_ratio(picture[0], period)
        rows.append((f"windows {name}", steps, jumps, *own, round(seconds)))
        print(
            f"windows {name}: seam energy {steps:.3f} (second differences {jumps:.3f}), of the"
            f" source at the same places {own[0]:.3f} ({own[1]:.3f}); {seconds:.0f} s",
            flush=True,
        )
    small = mosaic(sevens, config.inverted_size, seed=config.seed + 1)[None]
    inverted = [_explicit(source, small, config), _lattice(source, small)]
    run = runs.Run(
        name="tiling",
        title="A large picture through a model of small ones",
        **runs.circumstances("experiments/tiling.py", started, machine()),
        config=runs.settings(config),
        tables={
            "seams": runs.Table(
                ("", "seam energy", "second differences", "source's", "source's second", "s"),
                tuple(rows),
                "Mean squared step across the borders of windows over that elsewhere",
            ),
            "way back": runs.Table(("", "value"), tuple(inverted)),
        },
        arrays=arrays,
    )
    print(f"The page is {write_report(runs.write_run(config.out, run))}.")


def _explicit(source: Bridge, picture: np.ndarray, config: Config) -> tuple[str, float]:
    bridge = Bridge.over(source.model, steps=config.inverted_steps, solver=get_solver("dpmpp-3m"))
    bridge = translation.tiled(bridge, *config.inverted_size)
    back = ddib_jax.decode(bridge, ddib_jax.encode(bridge, picture).y)
    error = float(np.linalg.norm(back - picture) / np.linalg.norm(picture))
    print(f"relative error of encode -> decode, dpmpp-3m: {error:.2e}", flush=True)
    return "relative error of encode -> decode, dpmpp-3m", error


def _lattice(source: Bridge, picture: np.ndarray) -> tuple[str, float]:
    bridge = Bridge.over(source.model, steps=20, solver=get_solver("lattice-heun"))
    bridge = translation.tiled(bridge, *picture.shape[1:3])
    up = ddib_jax.encode(bridge, picture)
    down = translation.hand_on(bridge, up.aux, rising=False)
    lattice = bridge.solver
    pairs = np.asarray(down.aux.value)
    start = np.asarray(lattice.pair(picture, bridge.sigmas[0]))
    lost = int((pairs != start).sum())
    print(f"values of {start.size} that a lattice lost: {lost}", flush=True)
    return f"values of {start.size} that a lattice lost", lost


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.parse_args()
    main(Config())

"""An image in the palette of another: DDIB beside the classical maps between two clouds of colours.

    python experiments/colour_transfer.py
    python experiments/colour_transfer.py --photos coffee mine.jpg --likes china painting.jpg

The study of Su et al. (2023, section 4.3), whose code was never released. For every pair, 2,000
pixels are moved by each method: how far each lies from each optimal-transport solver's result, and
how near its palette comes to other pixels of the target. Writes `runs/colour_transfer/` with the
pictures side by side. A palette is learnt once (a minute on a CPU core) and kept by `ddib colours`.
Needs the extra `studies`, and scikit-learn for two of the photographs.
"""

import importlib
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ddib_jax import parallel, runs
from ddib_jax.data import PixelCloud, to_pixels, to_points
from ddib_jax.options import cli
from ddib_jax.palettes import palette_model, translate_points
from ddib_jax.report import markdown_table
from ddib_jax.runs import MetricRow
from ddib_jax.transport import MAPS, assignment, extended, wasserstein
from study import RUNS, Study

SAMPLES = {
    "china": ("sklearn.datasets", "images/china.jpg"),
    "flower": ("sklearn.datasets", "images/flower.jpg"),
    "astronaut": ("skimage.data", "astronaut.png"),
    "coffee": ("skimage.data", "coffee.png"),
    "chelsea": ("skimage.data", "chelsea.png"),
    "rocket": ("skimage.data", "rocket.jpg"),
}
"""The sample photographs of two libraries: package and file."""
MEASURED = ("earth-mover", "sinkhorn", "monge", "reinhard")
"""The solvers that every result is held beside, as the paper's table does."""
SHOWN = 192
"""Side of the pictures on the page."""


@dataclass(frozen=True)
class Config:
    """Recolour every photo like its counterpart, by every method."""

    photos: tuple[str, ...] = ("china", "coffee", "astronaut", "flower", "chelsea", "rocket")
    """Images that keep their shapes: paths, or names of sample photographs."""
    likes: tuple[str, ...] = ("coffee", "china", "flower", "chelsea", "rocket", "astronaut")
    """For each, the image whose palette it takes."""
    space: str = "lab"
    """The colour space that all methods work in, lab or rgb."""
    count: int = 2000
    """Pixels of each image that are moved and compared."""
    training_steps: int = 600
    models: Path | None = None
    """Where models of palettes are kept; the cache of `ddib colours` unless given."""
    out: Path = RUNS / "colour_transfer"


@dataclass(frozen=True)
class Palette:
    """An image's pixels, samples of its colours, and a small square of it to look at."""

    path: Path
    samples: tuple[np.ndarray, ...]
    square: np.ndarray

    @classmethod
    def of(cls, name: str, config: Config) -> "Palette":
        """The palette of an image, three samples of it drawn from one seed."""
        path = _located(name)
        cloud = PixelCloud(path, space=config.space)
        chosen = np.random.default_rng(13).permutation(len(cloud))[: 3 * config.count]
        if len(chosen) < 3 * config.count:
            raise ValueError(
                f"{path} has {len(cloud)} pixels, too few for three samples of {config.count}."
            )
        height, width = cloud.size
        side = min(cloud.size)
        corner = ((width - side) // 2, (height - side) // 2)
        image = Image.fromarray(cloud.pixels.reshape(height, width, 3))
        centre = image.crop((*corner, corner[0] + side, corner[1] + side))
        square = np.asarray(centre.resize((SHOWN, SHOWN), Image.Resampling.LANCZOS))
        return cls(path, tuple(cloud.take(part) for part in np.split(chosen, 3)), square)


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    study = Study("colour_transfer", "One image in the colours of another", config)
    if len(config.photos) != len(config.likes):
        raise ValueError(
            f"Every photo wants one image to be like; there are {len(config.photos)} and"
            f" {len(config.likes)}."
        )
    palettes = {
        name: Palette.of(name, config) for name in dict.fromkeys((*config.photos, *config.likes))
    }
    models = {
        name: palette_model(palette.path, config.space, config.training_steps, models=config.models)
        for name, palette in palettes.items()
    }
    rows, pictures = [], {name: [] for name in ("photo", "like", "ddib", *MAPS)}
    for pair in zip(config.photos, config.likes, strict=True):
        source, target = (palettes[name] for name in pair)
        own = tuple(models[name] for name in pair)
        moved, seconds, squares = _moved(source, target, own, config.space)
        rows += _measured(f"{pair[0]} → {pair[1]}", moved, seconds, source, target, config.space)
        for name, square in {"photo": source.square, "like": target.square, **squares}.items():
            pictures[name].append(square)
    methods = _means(rows)
    ours = next(row for row in methods if row[0] == "ddib")
    return study.publish(
        shown=lambda run: markdown_table(run.tables["Methods"], digits=3),
        metrics=(
            MetricRow(
                "to_earth_mover",
                "DDIB to the earth mover's result, mean squared error",
                ours[1],
                better="lower",
                target=0.0337,
                n=len(config.photos),
            ),
            MetricRow(
                "palette",
                "DDIB's palette to the target's, W2",
                ours[-3],
                better="lower",
                n=len(config.photos),
            ),
        ),
        tables={
            "Methods": runs.Table(
                ("method", *COLUMNS), tuple(methods), CAPTION.format(count=config.count)
            ),
            "Pairs": runs.Table(("pair", "method", *COLUMNS), tuple(rows), "The same by pair"),
        },
        texts={"summary": SUMMARY},
        arrays={name: np.stack(squares) for name, squares in pictures.items()},
    )


SUMMARY = (
    "Two clouds of colours, a small diffusion model each, trained apart; the bridge between them"
    " recolours one image like the other. Beside it the classical maps, which need both clouds at"
    " once."
)
COLUMNS = (
    *(f"MSE to {name}" for name in MEASURED),
    "MSE to earth-mover, RGB",
    "W2 to target",
    "W2 floor",
    "seconds",
)
CAPTION = (
    "Means over the pairs, {count} pixels each. MSE is the mean over pixels and coordinates, in the"
    " colour space in which the methods work (about [-1, 1]) and in RGB of [-1, 1]; that of the"
    " earth mover's own row is to the earth mover with another sample of the target: what chance"
    " makes. W2 is the distance of the moved pixels to a sample of the target that no method saw;"
    " its floor that of two samples of the target. Seconds are for these pixels and a square of 192"
    " x 192."
)


def _located(name: str) -> Path:
    """A sample photograph's file, or the path as it is."""
    if name not in SAMPLES:
        return Path(name)
    package, file = SAMPLES[name]
    try:
        return Path(importlib.import_module(package).__path__[0], file)
    except ImportError as error:
        raise ImportError(
            f"The photograph '{name}' comes with {package.split('.')[0]}, which is not installed;"
            " install it or name other images."
        ) from error


def _moved(source: Palette, target: Palette, models, space: str):
    """By method: the source's sample moved, the seconds that took, and the square recoloured."""
    sample, example = source.samples[0], target.samples[0]
    square = to_points(source.square.reshape(-1, 3), space)
    moved, seconds, squares = {}, {}, {}
    for name in ("ddib", *MAPS):
        clock = time.perf_counter()
        if name == "ddib":
            both = translate_points(*models, np.concatenate([sample, square]))
        elif name in ("earth-mover", "sinkhorn"):  # maps of a sample, extended to the other pixels
            points = MAPS[name](sample, example)
            both = np.concatenate([points, extended(square, sample, points)])
        else:
            both = np.concatenate([MAPS[name](sample, example), MAPS[name](square, example)])
        seconds[name] = time.perf_counter() - clock
        moved[name] = both[: len(sample)]
        squares[name] = to_pixels(both[len(sample) :], space).reshape(source.square.shape)
    return moved, seconds, squares


def _measured(
    words: str, moved, seconds, source: Palette, target: Palette, space: str
) -> list[tuple]:
    """One row a method, and one for the pixels as they were."""
    chance, unseen = target.samples[1:]
    again = chance[assignment(source.samples[0], chance)[0]]
    floor = wasserstein(target.samples[0], unseen)
    rows = []
    for name, points in {"as it was": source.samples[0], **moved}.items():
        # The earth mover is held beside itself with another sample: what chance makes.
        others = {other: moved[other] for other in MEASURED}
        if name == "earth-mover":
            others[name] = again
        elif name in MEASURED:
            others[name] = None
        errors = [
            None if other is None else float(np.mean((points - other) ** 2))
            for other in others.values()
        ]
        rgb = float(np.mean((_rgb(points, space) - _rgb(others["earth-mover"], space)) ** 2))
        rows.append(
            (words, name, *errors, rgb, wasserstein(points, unseen), floor, seconds.get(name))
        )
    return rows


def _rgb(points: np.ndarray, space: str) -> np.ndarray:
    return to_pixels(points, space) / 127.5 - 1


def _means(rows: list[tuple]) -> list[tuple]:
    """The rows of all pairs as one a method."""
    methods = dict.fromkeys(row[1] for row in rows)
    columns = {
        name: list(zip(*(row[2:] for row in rows if row[1] == name), strict=True))
        for name in methods
    }
    return [
        (name, *(None if None in values else float(np.mean(values)) for values in own))
        for name, own in columns.items()
    ]


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

"""One class-conditional model, a hundred translations: every digit into every digit.

    python experiments/digit_matrix.py --data-dir folder/of/mnist

The model `digits` knows ten classes; each is a domain, and encoding under one class and decoding
under another is a DDIB; each digit should keep its colour. Writes `runs/digit_matrix/`: an image of
every pair of classes, the proportion that a classifier calls the target, and the hue error. Needs
MNIST's four IDX files, for only fives and sevens are bundled.
"""

from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np

import ddib_jax
from ddib_jax import parallel, pretrained, runs
from ddib_jax.data.png import to_bytes
from ddib_jax.evaluation import classify
from ddib_jax.guidance import ClassifierFreeGuidance
from ddib_jax.metrics import relative_rmse
from ddib_jax.metrics.digits import hue_error
from ddib_jax.options import cli
from ddib_jax.progress import progress
from ddib_jax.report import markdown_table
from ddib_jax.runs import MetricRow
from ddib_jax.solvers import get_solver
from study import RUNS, Study, load_classifier

DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Config:
    """Translate test digits of every class into every class."""

    model: str = "digits"
    data_dir: Path | None = None
    """Where MNIST's IDX files are, if the environment variable DDIB_DATA does not say."""
    count: int = 32
    """Test images of each class."""
    guidance: float | None = None
    """Scale of classifier-free guidance, each way."""
    steps: int = 20
    solver: str = "heun"
    grid: str = "log-uniform"
    batch_size: int = 64
    out: Path = RUNS / "digit_matrix"


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    study = Study("digit_matrix", "Ten digits, one model, a hundred translations", config)
    checkpoint = pretrained.open(config.model)
    model = checkpoint.model()
    if config.guidance is not None:
        null = jnp.asarray(checkpoint.conditioner.null)
        model = model.guided(ClassifierFreeGuidance(null, jnp.asarray(config.guidance)))
    digits = ddib_jax.load_dataset("digits", split="test", directory=config.data_dir)
    indices = np.concatenate(
        [np.flatnonzero(digits.labels == label)[: config.count] for label in range(len(DIGITS))]
    )
    source, labels = digits.take(indices), digits.labels[indices].astype(np.int32)
    here = ddib_jax.Bridge.over(
        model, steps=config.steps, grid=config.grid, solver=get_solver(config.solver)
    )
    options = lambda words: {"batch_size": config.batch_size, "progress": progress(words)}
    latents = ddib_jax.encode(here, source, cond=labels, **options("encoding")).y
    back = ddib_jax.decode(here, latents, cond=labels, **options("decoding to the same"))
    classifier = load_classifier()
    proportions, hues, examples = np.zeros((10, 10)), np.zeros((10, 10)), []
    for target in range(len(DIGITS)):
        translation = ddib_jax.decode(
            here, latents, cond=np.full_like(labels, target), **options(f"decoding to {target}")
        )
        called = classify(classifier, translation)[0].argmax(axis=1)
        errors = hue_error(source, translation)
        for label in range(len(DIGITS)):
            own = labels == label
            proportions[label, target] = np.mean(called[own] == target)
            hues[label, target] = np.nanmedian(errors[own])
        examples.append(_firsts(translation, labels))
    unlike = ~np.eye(len(DIGITS), dtype=bool)
    heads = ("source", *(f"to {digit}" for digit in DIGITS))
    return study.publish(
        shown=lambda run: "\n".join(map(markdown_table, (*run.tables.values(), run))),
        metrics=(
            MetricRow(
                "called_target",
                "Called the target, mean over pairs of unlike digits",
                float(proportions[unlike].mean()),
                unit="proportion",
                better="higher",
                n=90,
            ),
            MetricRow(
                "called_target_worst",
                "Called the target, worst pair",
                float(proportions[unlike].min()),
                unit="proportion",
                better="higher",
                n=90,
            ),
            MetricRow(
                "hue_error",
                "Hue error, mean of the pairs' medians",
                float(np.nanmean(hues[unlike])),
                unit="°",
                better="lower",
                n=90,
            ),
            MetricRow(
                "reconstruction_error",
                "Encode → decode under one class, relative RMSE",
                float(relative_rmse(back, source).mean()),
                better="lower",
                n=len(source),
            ),
        ),
        tables={
            "Called the target, %": runs.Table(
                heads, _rows(100 * proportions), f"{config.count} test images of each class"
            ),
            "Hue error, degrees": runs.Table(heads, _rows(hues), "Median over the images"),
        },
        texts={"summary": SUMMARY},
        arrays={
            "source": to_bytes(_firsts(source, labels)),
            **{
                f"to {digit}": to_bytes(images)
                for digit, images in zip(DIGITS, examples, strict=True)
            },
        },
    )


SUMMARY = (
    "One class-conditional model of coloured digits. Each test digit is encoded under its own class"
    " and decoded under every one; a translation should be the other digit in the same colour."
)


def _firsts(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The first image of each class."""
    return np.stack([images[labels == label][0] for label in range(len(DIGITS))])


def _rows(values: np.ndarray) -> tuple[tuple, ...]:
    return tuple(
        (digit, *(round(float(value)) if np.isfinite(value) else None for value in row))
        for digit, row in zip(DIGITS, values, strict=True)
    )


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

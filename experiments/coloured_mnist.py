"""The founding study: held-out coloured fives into sevens that keep their colour.

    python experiments/coloured_mnist.py            # 64 test fives, a few minutes on two CPU cores
    python experiments/coloured_mnist.py --full     # all 892
    python experiments/coloured_mnist.py --split train --count 256 --blur 0.3

By the like of the last the settings were chosen. It encodes the fives with the five-model, decodes
the latents with the seven-model (the plain translation) and with the five-model (the
reconstruction), and takes the translation back (the cycle). It translates the fives three more
ways: blurred a little before they are encoded, with the low frequencies of the two bridges coupled,
and both. Figures, metrics and one page go to `runs/coloured_mnist/`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

import ddib_jax
from ddib_jax import parallel, runs
from ddib_jax.bridge import GRID, SOLVER, STEPS, check_meeting, parse_coupling
from ddib_jax.data.png import to_bytes
from ddib_jax.evaluation import Classifier, classify, evaluate
from ddib_jax.metrics import INVERSION, LATENTS, digits
from ddib_jax.options import cli
from ddib_jax.perturbations import parse_perturbation
from ddib_jax.progress import progress
from ddib_jax.solvers import get_solver
from pages.coloured_mnist import IMAGES, WAYS
from study import RUNS, Study, load_classifier

TARGETS = {
    "called_target": 0.99,
    "hue_error": 8.0,
    "frechet": 3.0,
    "reconstruction_error": 1e-3,
}
COUPLED = {"called_target": 0.99, "hue_error": 2.5, "slant_correlation": 0.9, "frechet": 3.0}
"""What is wanted of coupled bridges instead."""
PLAIN = "plain"
PER_WAY = (
    "called_target",
    "hue_error",
    "hue_error_p90",
    "thickness_correlation",
    "slant_correlation",
    "frechet",
)
"""The figures that every translation has."""


@dataclass(frozen=True)
class Config:
    """Translate test fives into sevens, measure, and write a report."""

    count: int = 64
    """How many test fives."""
    full: bool = False
    """Take all 892 test fives (5,421 of the training split)."""
    split: Literal["train", "test"] = "test"
    """Fives of the training split, which choices are made on, or of the test split."""
    source: str = "five"
    """Model of the fives: a shipped model or a model directory."""
    target: str = "seven"
    """Model of the sevens."""
    classifier: str = "digit-classifier"
    """The classifier."""
    steps: int = STEPS
    """Steps of the ODE's grid, each way."""
    solver: str = SOLVER
    grid: str = GRID
    blur: float = 0.4
    """Pixels by which fives are blurred before they are encoded, in two of the ways."""
    couple: str = "low-pass:3"
    """How the two bridges are coupled, in two of the ways."""
    batch_size: int = 64
    seed: int = 0
    """Of the fixed hues."""
    out: Path = RUNS / "coloured_mnist"


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    study = Study("coloured_mnist", "Coloured fives into sevens", config)
    fives, sevens = (
        ddib_jax.load_dataset(name, split=split, seed=config.seed)
        for name, split in (("five", config.split), ("seven", "test"))
    )
    count = len(fives) if config.full else min(config.count, len(fives))
    source = fives.take(range(count))

    here, there = (
        ddib_jax.Bridge.over(
            ddib_jax.load(name),
            steps=config.steps,
            grid=config.grid,
            solver=get_solver(config.solver),
        )
        for name in (config.source, config.target)
    )
    check_meeting(here.model, there.model)
    others = list(other_ways(here, there, config))
    options = lambda words: {"batch_size": config.batch_size, "progress": progress(words)}
    latent = ddib_jax.encode(here, source, **options("encoding the fives")).y
    translation = ddib_jax.decode(there, latent, **options("decoding to sevens"))
    reconstruction = ddib_jax.decode(here, latent, **options("decoding to fives"))
    back = ddib_jax.encode(there, translation, **options("encoding the sevens")).y
    cycle = ddib_jax.decode(here, back, **options("closing the cycle"))

    classifier = load_classifier(config.classifier)
    logits, features = classify(classifier, translation)
    _, real = classify(classifier, sevens.take(range(len(sevens))))
    training = ddib_jax.load_dataset("seven", split="train", seed=config.seed)
    _, pool = classify(classifier, training.take(range(len(training))))

    samples = {
        "source": source,
        "translation": translation,
        "reconstruction": reconstruction,
        "cycle": cycle,
        "latent": latent,
        "translation_logits": logits,
        "source_class": 5,
        "target_class": 7,
        "translation_features": features,
        "target_features": real,
        "target_pool_features": pool,
    }
    ways, done, figures = {}, {}, []
    for name, words, ddib, targets in others:
        ways[name], rows = translated(name, ddib, samples, classifier, targets, config)
        done[name] = words
        figures.append(rows)
    plain = {row.name: row for row in evaluate(samples, targets=TARGETS)}
    # Which hold for every way: the round trip, and what real images differ by.
    round_trip, real_distance = plain.pop("reconstruction_error"), plain.pop("frechet_real")
    own = [
        replace(row, variant=PLAIN) if row.group not in (INVERSION, LATENTS) else row
        for row in plain.values()
    ]
    best, *rest = figures
    spread_words, spread_table = spread(here, source, latent, config)
    return study.publish(
        metrics=(*best, round_trip, *(row for rows in rest for row in rows), *own, real_distance),
        tables={"latent_variance": spread_table},
        texts={
            "summary": summary(count, config),
            "Measured": "; ".join(f"{name}: {words}" for name, words in done.items()) + ".",
            "Latents": spread_words,
        },
        arrays={
            **{name: to_bytes(samples[name]) for name in IMAGES if name != "latent"},
            **{f"{WAYS}{name}": to_bytes(images) for name, images in ways.items()},
            "latent": latent.astype(np.float16),
            "hue_source": digits.hue(source),
            "hue_translation": digits.hue(translation),
            "hue_error": digits.hue_error(source, translation),
            "thickness_source": digits.stroke_thickness(source),
            "thickness_translation": digits.stroke_thickness(translation),
            "called": logits.argmax(axis=1),
            "called_target": digits.called(logits, 7).astype(bool),
        },
    )


def other_ways(
    here: ddib_jax.Bridge, there: ddib_jax.Bridge, config: Config
) -> Iterator[tuple[str, str, ddib_jax.DDIB, dict[str, float]]]:
    """The other ways, the best first: (name, what is done in words, DDIB, targets)."""
    plain = ddib_jax.DDIB(here, there)
    blurred = plain.replace(perturb=parse_perturbation((f"blur-image={config.blur:g}",), ()))
    coupling = parse_coupling(config.couple, here.model.data_shape)
    blur, couple = f"fives blurred by {config.blur:g} pixels", f"coupled by {config.couple}"
    yield "blurred and coupled", f"{blur}, {couple}", blurred.replace(coupling=coupling), COUPLED
    yield "blurred", blur, blurred, TARGETS
    yield "coupled", couple, plain.replace(coupling=coupling), COUPLED


def translated(
    name: str,
    ddib: ddib_jax.DDIB,
    samples: dict,
    classifier: Classifier,
    targets: dict[str, float],
    config: Config,
) -> tuple[np.ndarray, tuple[runs.MetricRow, ...]]:
    """Another translation of the same fives, and its figures."""
    images = ddib_jax.translate(
        ddib,
        samples["source"],
        batch_size=config.batch_size,
        progress=progress(f"translating, {name}"),
    )
    logits, features = classify(classifier, images)
    inputs = {name: samples[name] for name in ("source", "target_class", "target_features")}
    inputs |= {
        "translation": images,
        "translation_logits": logits,
        "translation_features": features,
    }
    wanted = {name: target for name, target in targets.items() if name in PER_WAY}
    rows = {row.name: row for row in evaluate(inputs, targets=wanted)}
    return images, tuple(
        replace(rows[metric], name=f"{name}_{metric}".replace(" ", "_"), variant=name)
        for metric in PER_WAY
    )


def summary(count: int, config: Config) -> str:
    """What was done, in two sentences."""
    which = "that neither model has seen" if config.split == "test" else "of the training split"
    return (
        f"{count} handwritten fives {which}, each in a hue of its own, are encoded to latents by a"
        " diffusion model of fives and decoded by one of sevens; the two were trained apart and"
        f" share nothing. Each way takes {config.steps} steps of {config.solver} on the"
        f" {config.grid} grid; nothing was chosen by eye."
    )


def spread(
    here: ddib_jax.Bridge, images: np.ndarray, latent: np.ndarray, config: Config
) -> tuple[str, runs.Table]:
    """What variance the latents of noiseless images should have, in words and figures."""
    low, high = float(here.sigmas[0]), float(here.sigmas[-1])
    fives, rng = ddib_jax.load_dataset("five", split="train"), np.random.default_rng(config.seed)
    flat = fives.take(range(len(fives)), rng=rng).reshape(len(fives), -1)
    variances = np.linalg.eigvalsh(np.cov(flat, rowvar=False))
    kept = variances / (variances + low**2)
    expected = np.mean(kept * (variances + high**2) / (1 + high**2))
    first = images[: config.batch_size]
    noisy = first + np.float32(low) * rng.standard_normal(first.shape, np.float32)
    dithered = ddib_jax.encode(
        here, noisy, batch_size=config.batch_size, progress=progress("encoding noisy fives")
    ).y
    words = (
        f"The ODE starts at sigma = {low:g} as if the image held that much noise, but an image of"
        " the test set holds none. A direction in which fives have variance v therefore keeps v /"
        f" (v + {low:g}^2) of the variance it should have: nothing for a direction that never"
        " varies, such as the black border. So even an exact model makes latents of a variance"
        " below 1. Given the noise that the ODE expects, those of an exact model have the variance"
        " 1."
    )
    rows = (
        ("a Gaussian with the covariance of the training fives, noiseless", f"{expected:.3f}"),
        ("the test fives, as they are", f"{np.var(latent):.3f}"),
        (f"{len(first)} test fives with noise of deviation {low:g}", f"{np.var(dithered):.3f}"),
    )
    return words, runs.Table(
        ("Latents of", "Variance"), rows, "Variance of the latents about their mean"
    )


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

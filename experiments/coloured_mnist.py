"""The founding study: held-out coloured fives into sevens that keep their colour.

    python experiments/coloured_mnist.py            # 64 test fives, a few minutes on two CPU cores
    python experiments/coloured_mnist.py --full     # all 892
    python experiments/coloured_mnist.py --split train --count 256 --couple low-pass:2

By the last the coupling and the blur were chosen. It encodes the fives with the five-model, decodes
the latents with the seven-model (the translation) and with the five-model (the reconstruction),
takes the translation back (the cycle), and writes figures, metrics and one page to
`runs/coloured_mnist/`.
"""

import datetime
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

import ddib_jax
from ddib_jax import parallel, pretrained, runs
from ddib_jax.bridge import GRID, SOLVER, STEPS, check_meeting, parse_coupling
from ddib_jax.commands.crossing import Crossing, progress
from ddib_jax.commands.place import machine
from ddib_jax.data.png import to_bytes
from ddib_jax.evaluation import Classifier, classify, evaluate
from ddib_jax.metrics import digits
from ddib_jax.options import cli
from ddib_jax.perturbations import parse_perturbation
from ddib_jax.report import text_table, write_report

TARGETS = {"called_target": 0.97, "hue_error": 15.0, "reconstruction_error": 1e-3}
ROOT = Path(__file__).resolve().parent.parent


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
    perturb: tuple[str, ...] = ("blur",)
    """What is done to the latents for a second translation."""
    coefficient: float = 0.75
    """Of the perturbation; .75 pixels was chosen on 256 training fives, of .5, .75, 1 and 1.5."""
    couple: str = "low-pass:3"
    """How the two bridges are coupled for a third; 3 was chosen on the same fives, of 1 to 4."""
    until: float = 0.4
    """The noise level at which the coupling ends in a fourth, of perturbed latents."""
    batch_size: int = 64
    seed: int = 0
    """Of the fixed hues."""
    out: Path = ROOT / "runs" / "coloured_mnist"


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    started = datetime.datetime.now(datetime.UTC)
    fives, sevens = (
        ddib_jax.load_dataset(name, split=split, seed=config.seed)
        for name, split in (("five", config.split), ("seven", "test"))
    )
    count = len(fives) if config.full else min(config.count, len(fives))
    source = fives.take(range(count))

    crossing = Crossing(config.steps, config.solver, config.grid, config.batch_size)
    here, there = (crossing.bridge(ddib_jax.load(name)) for name in (config.source, config.target))
    check_meeting(here.model, there.model)
    options = lambda words: {"batch_size": config.batch_size, "progress": progress(words)}
    latent = ddib_jax.encode(here, source, **options("encoding the fives")).y
    translation = ddib_jax.decode(there, latent, **options("decoding to sevens"))
    reconstruction = ddib_jax.decode(here, latent, **options("decoding to fives"))
    back = ddib_jax.encode(there, translation, **options("encoding the sevens")).y
    cycle = ddib_jax.decode(here, back, **options("closing the cycle"))

    classifier = Classifier(
        *pretrained.load_network(pretrained.open(config.classifier).path, "classifier")
    )
    logits, features = classify(classifier, translation)
    _, real = classify(classifier, sevens.take(range(len(sevens))))
    others = ddib_jax.load_dataset("seven", split="train", seed=config.seed)
    _, pool = classify(classifier, others.take(range(len(others))))

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
    ways, figures = {}, []
    for name, (words, ddib) in other_ways(here, there, source, config).items():
        ways[name], rows = translated(name, words, ddib, samples, classifier, config)
        figures.append(rows)
    plain = {row.name: row for row in evaluate(samples, targets=TARGETS)}
    round_trip = plain.pop("reconstruction_error")
    best, *others = figures
    metrics = (*best, round_trip, *(row for rows in others for row in rows), *plain.values())
    spread_words, spread_table = spread(here, source, latent, config)
    run = runs.Run(
        name="coloured_mnist",
        title="Coloured fives into sevens",
        **runs.circumstances("experiments/coloured_mnist.py", started, machine()),
        config=runs.settings(config, leave_out=("out",)),
        metrics=metrics,
        tables={"latent_variance": spread_table},
        texts={"summary": summary(count, config), "Latents": spread_words},
        arrays={
            **{
                name: to_bytes(samples[name])
                for name in ("source", "translation", "reconstruction", "cycle")
            },
            **{f"translation, {name}": to_bytes(images) for name, images in ways.items()},
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
    runs.write_run(config.out, run)
    page = write_report(config.out)
    print(text_table(run))
    print(f"The report lies in {page}")
    return page


def other_ways(
    here: ddib_jax.Bridge, there: ddib_jax.Bridge, images: np.ndarray, config: Config
) -> dict[str, tuple[str, ddib_jax.DDIB]]:
    """Other ways down from the same latents, the best first: both, perturbed, and coupled.

    Both is perturbed and coupled, the coupling ended early. Name -> (what was done, in words, the
    DDIB).
    """
    plain = ddib_jax.DDIB(here, there)
    perturbed = plain.replace(perturb=parse_perturbation(config.perturb, (config.coefficient,)))
    coupling = parse_coupling(config.couple, here.model.data_shape, images)
    blurred = f"latents under {' and '.join(config.perturb)} {config.coefficient:g}"
    coupled = f"coupled by {config.couple}"
    return {
        "perturbed and coupled": (
            f"{blurred}, {coupled} down to {config.until:g}",
            perturbed.replace(coupling=coupling, until=config.until),
        ),
        "perturbed": (blurred, perturbed),
        "coupled": (coupled, plain.replace(coupling=coupling)),
    }


def translated(
    name: str,
    words: str,
    ddib: ddib_jax.DDIB,
    samples: dict,
    classifier: Classifier,
    config: Config,
) -> tuple[np.ndarray, tuple[runs.MetricRow, ...]]:
    """Another translation of the same latents, and its figures."""
    images = ddib_jax.translate_sweep(
        ddib,
        samples["source"],
        (config.coefficient,),
        latents=samples["latent"],
        batch_size=config.batch_size,
        progress=progress(f"decoding, {name}"),
    ).images[0]
    logits, features = classify(classifier, images)
    inputs = {name: samples[name] for name in ("source", "target_class", "target_features")}
    inputs |= {
        "translation": images,
        "translation_logits": logits,
        "translation_features": features,
    }
    targets = {name: TARGETS[name] for name in ("called_target", "hue_error")}
    metrics = (*targets, "hue_error_p90", "thickness_correlation", "slant_correlation", "frechet")
    rows = {row.name: row for row in evaluate(inputs, targets=targets)}
    return images, tuple(
        replace(
            rows[metric],
            name=f"{name}_{metric}".replace(" ", "_"),
            label=f"{rows[metric].label}; {words}",
        )
        for metric in metrics
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

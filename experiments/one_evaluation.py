"""Fives into sevens in one evaluation: a student of `ddib distill` beside its teacher.

    python experiments/one_evaluation.py

The student learns the first pair's translations of the training fives, the first time, and is
kept in `runs/one_evaluation-models/`. All test fives are translated: by the teacher, in as many
steps as its pairs were made in, by DDIB as it comes, and by the student, whose seconds are held
beside those of a CycleGAN's generator as `compare_methods.py` trains it.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import ddib_jax
from ddib_jax import parallel, runs
from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.data.png import write_grid
from ddib_jax.distillation import Distillation, distill, load_student
from ddib_jax.evaluation import classify
from ddib_jax.gan import CycleGAN, CycleGANTraining
from ddib_jax.metrics import pooled_relative_rmse
from ddib_jax.options import cli
from ddib_jax.progress import progress
from ddib_jax.report import markdown_table
from ddib_jax.solvers import get_solver
from ddib_jax.types import HostImages, Translator
from study import FIRST_PAIR, RUNS, Study, cell, load_classifier, measured
from tasks import Config as Tasks

FIGURES = ("called_target", "hue_error", "hue_error_p90", "frechet")


@dataclass(frozen=True)
class Config:
    """Distil a pair, and measure the student beside it."""

    source: str = FIRST_PAIR[0]
    target: str = FIRST_PAIR[1]
    steps: int = 20
    """Steps of the teacher's ODE, each way, by unipc-3."""
    seen: int | None = None
    """Training images whose pairs are learnt; all by default."""
    count: int = 892
    """Test images."""
    training: Distillation = field(default_factory=Distillation)
    out: Path = RUNS / "one_evaluation"


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    study = Study("one_evaluation", "A translation in one evaluation", config)
    models = ddib_jax.load(config.source), ddib_jax.load(config.target)
    over = lambda **options: DDIB(*(Bridge.over(model, **options) for model in models))
    teacher = over(steps=config.steps, solver=get_solver("unipc-3"))
    home = config.out.with_name(f"{config.out.name}-models") / "student"
    if not (home / "model.json").is_file():
        seen = ddib_jax.load_dataset("five", split="train")
        images = seen.take(range(config.seen or len(seen)))
        distill(teacher, images, config.training, home, progress=progress("pairs"))
    images, real = (ddib_jax.load_dataset(name, split="test") for name in ("five", "seven"))
    images = images.take(range(min(config.count, len(images))))
    ways = {"teacher": teacher, "DDIB as it comes": over(), "student": load_student(home)}
    made, seconds = {}, {}
    for name, method in ways.items():
        made[name], seconds[name] = timed(method, images)
    judge = load_classifier()
    _, features = classify(judge, real.take(range(len(real))))
    given = {"source": images, "target_class": 7, "target_features": features}
    found, figures = [], []
    for name, method in ways.items():
        figures = measured(judge, made[name], given, FIGURES)
        away = float(pooled_relative_rmse(made[name], made["teacher"]))
        found.append((name, evaluations(method), *map(cell, figures), away, seconds[name]))
    generator, _ = CycleGANTraining(**Tasks().cyclegan).networks(3)
    params = generator.init(jax.random.key(0), jnp.zeros((1, *images.shape[1:])))["params"]
    _, alone = timed(CycleGAN(params, network=generator), images)
    found.append(("a CycleGAN's generator", 1, *[None] * (len(FIGURES) + 1), alone))
    labels = (row.label for row in figures)
    heads = ("", "evaluations", *labels, "distance from the teacher", "seconds an image")
    table = runs.Table(
        heads,
        tuple(found),
        f"{len(images)} test images; the distance is relative, root mean square",
    )
    page = study.publish(
        shown=lambda run: markdown_table(run.tables["ways"], digits=3),
        tables={"ways": table},
    )
    rows = [images, made["teacher"], made["student"]]
    write_grid(page.parent / "pictures.png", np.concatenate([row[:16] for row in rows]), columns=16)
    return page


def evaluations(method: Translator) -> int:
    """How many a translation takes."""
    if not isinstance(method, DDIB):
        return 1
    return sum(bridge.solver.evaluations(len(bridge.sigmas) - 1) for bridge in method.bridges())


def timed(method: Translator, images: HostImages) -> tuple[HostImages, float]:
    """The translations, and the seconds of each once all is compiled."""
    ddib_jax.translate(method, images[:64])
    clock = time.perf_counter()
    made = ddib_jax.translate(method, images)
    return made, (time.perf_counter() - clock) / len(images)


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

"""Fives into sevens in few evaluations: solvers, the Gaussian switch, and grids that are tuned.

    python experiments/few_evaluations.py             # all of it
    python experiments/few_evaluations.py --steps 10  # one number of steps

Grids are tuned on training fives (`translation.tuning.tune`) and all is measured on test fives: the
distance from the converged translation, the proportion called seven, and the hue. What is done is
kept in `runs/few_evaluations-kept/` and not done again. Each step is one evaluation of a network,
and each leg has as many.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import ddib_jax
from ddib_jax import parallel, runs
from ddib_jax.bridge import DDIB, Bridge, TunedGrid
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.evaluation import Classifier
from ddib_jax.files import drafted_file
from ddib_jax.metrics import pooled_relative_rmse, relative_rmse
from ddib_jax.options import cli
from ddib_jax.report import markdown_table
from ddib_jax.solvers import get_solver
from ddib_jax.translation.tuning import tune
from study import FIRST_PAIR, RUNS, Study, load_classifier, measured

COLUMNS = (
    "steps",
    "way",
    "error",
    "error, median",
    "called seven",
    "hue, median",
    "hue, 90th percentile",
)


@dataclass(frozen=True)
class Config:
    """Translate in few evaluations, and say how far that is from many."""

    source: str = FIRST_PAIR[0]
    target: str = FIRST_PAIR[1]
    steps: tuple[int, ...] = (5, 10, 20)
    """Evaluations each way."""
    solvers: tuple[str, ...] = ("dpmpp-2m", "unipc-2", "unipc-3", "deis", "ipndm")
    """Measured on the default grid."""
    switches: tuple[float, ...] = (20.0, 12.0, 8.0)
    """Noise levels of the Gaussian switch, measured with the first of the solvers."""
    fine: int = 112
    """Steps of the converged translation, by unipc-3."""
    tuned_on: int = 192
    """Training images that a grid is tuned on, half of them held out."""
    descent: int = 750
    """Steps of gradient descent on a tuned grid, times its own steps."""
    rate: float = 0.02
    """Learning rate of that descent."""
    count: int = 128
    """Test images that are measured."""
    out: Path = RUNS / "few_evaluations"

    @property
    def kept(self) -> Path:
        """Where grids and rows lie as soon as they are known."""
        return self.out.with_name(f"{self.out.name}-kept")


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    study = Study("few_evaluations", "Translations in few evaluations", config)
    config.kept.mkdir(parents=True, exist_ok=True)
    pair = Pair(config)
    rows = [row for steps in config.steps for row in rows_of(pair, config, steps)]
    caption = (
        "error: root mean square distance from the converged translation, relative to that one's"
        " own root mean square, and the median of the images' own errors; hue in degrees."
    )
    table = runs.Table(COLUMNS, tuple(map(tuple, rows)), caption)
    return study.publish(
        shown=lambda run: markdown_table(run.tables["evaluations"], digits=3),
        tables={"evaluations": table},
    )


class Pair:
    """Both models, the test images, and their converged translations."""

    def __init__(self, config: Config):
        self.models = ddib_jax.load(config.source), ddib_jax.load(config.target)
        self.images = ddib_jax.load_dataset("five", split="test").take(range(config.count))
        self.classifier: Classifier = load_classifier()
        fine = get_solver("unipc-3")
        self.truth = self.translated(
            *(Bridge.over(model, steps=config.fine, solver=fine) for model in self.models)
        )

    def translated(self, source: Bridge, target: Bridge) -> np.ndarray:
        """The test images' translations over two bridges."""
        return ddib_jax.translate(DDIB(source, target), self.images)

    def row(self, steps: int, way: str, made: np.ndarray) -> list[Any]:
        """What is measured of translations made in so many steps."""
        given = {"source": self.images, "target_class": 7}
        names = ("called_target", "hue_error", "hue_error_p90")
        rows = measured(self.classifier, made, given, names)
        error = float(pooled_relative_rmse(made, self.truth))
        usual = float(np.median(relative_rmse(made, self.truth)))
        return [steps, way, error, usual, *(float(row.value) for row in rows)]


def rows_of(pair: Pair, config: Config, steps: int) -> list[list[Any]]:
    """The rows of one number of steps; each is kept as soon as it is known."""
    path = config.kept / f"steps-{steps}-of-{config.count}.json"
    rows: dict[str, list[Any]] = json.loads(path.read_text()) if path.exists() else {}

    def add(way: str, bridge: Callable[[DiffusionModel], Bridge]) -> None:
        if way not in rows:
            made = pair.translated(*map(bridge, pair.models))
            rows[way] = pair.row(steps, way, made)
            print(*rows[way], flush=True)
            with drafted_file(path) as draft:
                draft.write_text(json.dumps(rows))

    grid = tuned(pair, config, steps)
    words = f", switch {grid.sigmas[-1]:.3g}" if grid.switch else ""
    add(f"tuned: {grid.solver}{words}", grid.bridge)
    over = partial(Bridge.over, steps=steps)
    for name in config.solvers:
        add(name, partial(over, solver=get_solver(name)))
    first = config.solvers[0]
    for level in config.switches:
        add(f"{first}, switch {level:g}", partial(over, solver=get_solver(first), switch=level))
    return list(rows.values())


def tuned(pair: Pair, config: Config, steps: int) -> TunedGrid:
    """The grid tuned on training images, from those kept where it is there."""
    path = config.kept / f"grid-{steps}.json"
    if not path.exists():
        training = ddib_jax.load_dataset("five", split="train").take(range(config.tuned_on))
        count = config.descent // steps
        found = tune(*pair.models, training, steps=steps, refinements=count, rate=config.rate)
        found.grid.write(path)
    return TunedGrid.read(path)


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

"""Bridges between six distributions of the plane, their cycles, and the optimal transport.

    python experiments/synthetic_2d.py            # the shipped models
    python experiments/synthetic_2d.py --train    # half an hour more on one CPU core

Do cycles close, and how near is a translation to the optimal transport? The study of Su et al.
(2023, section 4.1) over all thirty ordered pairs; with --train the six models are trained first.
Writes `runs/synthetic_2d/`: clouds coloured by where their points came from, cycles by solver,
transport, and the likelihood of the plane under every model. Needs the extra `studies`.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import ddib_jax
import plane
from ddib_jax import parallel, pretrained, runs
from ddib_jax.data import SHAPES, draw_points
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.options import cli
from ddib_jax.report import markdown_table
from ddib_jax.report.tables import number
from ddib_jax.runs import MetricRow
from ddib_jax.solvers import get_solver
from ddib_jax.transport import wasserstein
from study import RUNS, Study

RECIPE = {
    "steps": 3000,
    "batch_size": 4096,
    "learning_rate": 2e-3,
    "warmup": 100,
    "ema_decay": 0.998,
    "reference": 0,
    "noise_mean": -1.0,
    "noise_std": 1.8,
    "sigma_min": 0.05,
    "sigma_max": 10.0,
    "float16_weights": True,
    "log_every": 100,
}
EXAMPLES = (
    ("moons", "checkerboard"),
    ("concentric-rings", "concentric-squares"),
    ("parallel-rings", "parallel-squares"),
    ("concentric-rings", "parallel-rings"),
    ("parallel-rings", "concentric-squares"),
    ("concentric-rings", "moons"),
)
"""The pairs that the reference's script takes."""
DRAWS = 3
"""Samples of each shape."""


@dataclass(frozen=True)
class Config:
    """Translate every ordered pair of the six, around the cycle, by several solvers."""

    train: bool = False
    """Train the six models first, into OUT-models, instead of taking the shipped ones."""
    count: int = 1000
    """Points of every source."""
    solvers: tuple[str, ...] = ("ddim", "heun", "rk4", "exp-rk4", "dpmpp-2m", "dpmpp-3m")
    reversible: tuple[str, ...] = ("o-belm", "rex-midpoint")
    """Solvers whose auxiliary states are kept for the way back."""
    evaluations: int = 50
    """Network evaluations each way; a cycle goes four."""
    grid: str = "log-normal"
    reference_steps: int = 4000
    """DDIM's steps in the paper, on one grid and on the paper's shifted ones; 0 leaves them out."""
    reference_count: int = 16
    """Points of every source for those steps."""
    out: Path = RUNS / "synthetic_2d"


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    study = Study("synthetic_2d", "Bridges in the plane", config)
    for name in (*config.solvers, *config.reversible):
        if get_solver(name).tolerance is not None:
            raise ValueError(
                f"'{name}' is implicit: its evaluations are not known beforehand; name explicit"
                " solvers."
            )
    models = {name: _model(name, config) for name in SHAPES}
    clouds = {
        name: draw_points(name, config.count, np.random.default_rng([7, index]))
        for index, name in enumerate(SHAPES)
    }
    pairs = list(itertools.permutations(SHAPES, 2))
    methods = [plane.Method.within(config.evaluations, name) for name in config.solvers]
    methods += [
        plane.Method.within(config.evaluations, name, with_aux=True) for name in config.reversible
    ]
    cycles = {
        method: [plane.cycle(models, clouds, pair, method, config.grid) for pair in pairs]
        for method in methods
    }
    rows = [plane.summary(method, cycles[method]) for method in methods]
    papers: list[dict] = [{} for _ in pairs]
    if config.reference_steps:
        few = {
            name: (points[: config.reference_count], positions)
            for name, (points, positions) in clouds.items()
        }
        for shifted in (True, False):
            papers = [
                plane.paper_cycle(models, few, pair, config.reference_steps, shifted=shifted)
                for pair in pairs
            ]
            name = "ddim, shifted grids" if shifted else "ddim, one grid"
            rows.append(plane.summary(plane.Method(name, config.reference_steps), papers))
    best = min(
        (method for method in methods if not method.with_aux),
        key=lambda method: max(cycle["mean"] for cycle in cycles[method]),
    )
    samples = {name: _draws(name, config.count, 11) for name in SHAPES}
    sources = {name: _draws(name, config.count, 13) for name in SHAPES}
    floors = {
        name: float(np.mean([wasserstein(*two) for two in itertools.combinations(draws, 2)]))
        for name, draws in samples.items()
    }
    transport = [
        plane.transport(
            models, sources[pair[0]], pair, samples[pair[1]], floors[pair[1]], config.grid
        )
        for pair in pairs
    ]
    density = {name: plane.density(model) for name, model in models.items()}
    area = (2 * plane.REACH / (plane.TICKS - 1)) ** 2
    masses = [float(np.sum(values) * area) for values in density.values()]
    table = []
    for pair, cycle, paper, facts in zip(pairs, cycles[best], papers, transport, strict=True):
        errors = (cycle["mean"], cycle["worst"], paper.get("mean"), paper.get("worst"))
        table.append((" → ".join(pair), *errors, *facts))
    ratios = [facts[0] / facts[1] for facts in transport]
    return study.publish(
        shown=in_words,
        metrics=(
            MetricRow(
                "cycle",
                f"Cycle by {best.solver}, mean L2 of the worst pair",
                max(c["mean"] for c in cycles[best]),
                better="lower",
                target=1e-4,
                n=30,
            ),
            MetricRow(
                "transport",
                "Pushed to target over sample to sample, W2, worst pair",
                max(ratios),
                better="lower",
                target=1.5,
                n=30,
            ),
            MetricRow(
                "mass",
                "Probability of the square, furthest from 1",
                max(masses, key=lambda mass: abs(mass - 1)),
                n=6,
            ),
        ),
        tables={
            "Cycles by solver": runs.Table(
                CYCLES,
                tuple(rows),
                f"Source → target → source over the pairs, {config.count} points each",
            ),
            "Pairs": runs.Table(
                PAIRS,
                tuple(table),
                f"The cycle by {best.solver} in {best.steps} steps, and the translation beside the"
                " optimal transport",
            ),
        },
        texts={"summary": SUMMARY.format(count=config.count)},
        arrays=_examples(models, clouds, best, config.grid)
        | {f"density/{name}": values for name, values in density.items()},
    )


def in_words(run: runs.Run) -> str:
    """The tables, and the three figures."""
    figures = ", ".join(f"{row.label}: {number(row.value)}" for row in run.metrics)
    return "\n".join([*map(markdown_table, run.tables.values()), figures])


SUMMARY = (
    "Six models of points of the plane, trained apart; {count} points of each are translated into"
    " each other, and back. A point keeps the colour of its place in the source."
)
CYCLES = (
    "solver",
    "steps",
    "evaluations a cycle",
    "pairs",
    "mean L2",
    "worst pair, mean L2",
    "largest L2",
    "seconds a pair",
)
PAIRS = (
    "pair",
    "cycle, mean L2",
    "cycle, largest L2",
    "by the paper's DDIM, mean L2",
    "by the paper's DDIM, largest L2",
    "W2 pushed to target",
    "W2 sample to sample",
    "cost",
    "optimal cost",
)


def _model(name: str, config: Config) -> DiffusionModel:
    if not config.train:
        return pretrained.load(name)
    folder = config.out.with_name(config.out.name + "-models") / name
    source = ddib_jax.load_dataset(name, split="train")
    return ddib_jax.train(source, ddib_jax.Training(**RECIPE), folder, name=name)


def _draws(name: str, count: int, seed: int) -> list[np.ndarray]:
    """Samples of a shape, each [count 2]."""
    rngs = [np.random.default_rng([seed, index]) for index in range(DRAWS)]
    return [draw_points(name, count, rng)[0] for rng in rngs]


def _examples(models, clouds, method: plane.Method, grid: str) -> dict[str, np.ndarray]:
    """The clouds of the page, as `report.plane` wants them."""
    arrays = {}
    for pair in EXAMPLES:
        points, positions = clouds[pair[0]]
        bridges = [
            plane.bridge_of(models[domain], method.solver, method.steps, grid) for domain in pair
        ]
        latent, target, cycle = map(np.asarray, plane.around(*bridges, points))
        parts = {"source": points, "latent": latent, "target": target, "cycle": cycle}
        parts["positions"] = positions
        arrays |= {f"{' > '.join(pair)}/{part}": array for part, array in parts.items()}
    return arrays


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

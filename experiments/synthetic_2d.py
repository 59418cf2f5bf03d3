"""Bridges between six distributions of the plane, their cycles, and the optimal transport.

    python experiments/synthetic_2d.py            # the shipped models
    python experiments/synthetic_2d.py --train    # half an hour more on one CPU core

Do cycles close, and how near is a translation to the optimal transport? The study of Su et al.
(2023, section 4.1) over all thirty ordered pairs; with --train the six models are trained first.
Writes `runs/synthetic_2d/`: clouds coloured by where their points came from, cycles by solver,
transport, and the likelihood of the plane under every model. Needs the extra `studies`.
"""

import datetime
import functools
import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax import parallel, pretrained, runs
from ddib_jax.bridge import Bridge, log_likelihood
from ddib_jax.commands.place import machine
from ddib_jax.commands.train import Train
from ddib_jax.data import SHAPES, draw_points
from ddib_jax.diagnosis import steps_within
from ddib_jax.diffusion import DiffusionModel, probability_flow
from ddib_jax.grids import make_grid
from ddib_jax.options import cli
from ddib_jax.report import markdown_table, write_report
from ddib_jax.report.tables import number
from ddib_jax.runs import MetricRow
from ddib_jax.schedules import Discrete
from ddib_jax.solvers import get_solver
from ddib_jax.transport import wasserstein

ROOT = Path(__file__).resolve().parent.parent
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
REACH, TICKS, DRAWS = 4.0, 81, 3
"""Half the side of the square of densities, its points a side, and samples of each shape."""


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
    out: Path = ROOT / "runs" / "synthetic_2d"


class Method(NamedTuple):
    """A solver, its number of steps, and whether its auxiliary state is kept for the way back."""

    solver: str
    steps: int
    with_aux: bool = False

    @classmethod
    def within(cls, evaluations: int, name: str, *, with_aux: bool = False) -> "Method":
        """A solver in the most steps that so many evaluations each way allow."""
        return cls(name, steps_within(get_solver(name), evaluations), with_aux)


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    started = datetime.datetime.now(datetime.UTC)
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
    methods = [Method.within(config.evaluations, name) for name in config.solvers]
    methods += [
        Method.within(config.evaluations, name, with_aux=True) for name in config.reversible
    ]
    cycles = {
        method: [_cycle(models, clouds, pair, method, config.grid) for pair in pairs]
        for method in methods
    }
    rows = [_summary(method, cycles[method]) for method in methods]
    papers: list[dict] = [{} for _ in pairs]
    if config.reference_steps:
        few = {
            name: (points[: config.reference_count], positions)
            for name, (points, positions) in clouds.items()
        }
        for shifted in (True, False):
            papers = [
                _reference(models, few, pair, config.reference_steps, shifted=shifted)
                for pair in pairs
            ]
            name = "ddim, shifted grids" if shifted else "ddim, one grid"
            rows.append(_summary(Method(name, config.reference_steps), papers))
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
        _transport(models, sources[pair[0]], pair, samples[pair[1]], floors[pair[1]], config.grid)
        for pair in pairs
    ]
    density = {name: _density(model) for name, model in models.items()}
    area = (2 * REACH / (TICKS - 1)) ** 2
    masses = [float(np.sum(values) * area) for values in density.values()]
    table = []
    for pair, cycle, paper, facts in zip(pairs, cycles[best], papers, transport, strict=True):
        errors = (cycle["mean"], cycle["worst"], paper.get("mean"), paper.get("worst"))
        table.append((" → ".join(pair), *errors, *facts))
    ratios = [facts[0] / facts[1] for facts in transport]
    run = runs.Run(
        name="synthetic_2d",
        title="Bridges in the plane",
        **runs.circumstances("experiments/synthetic_2d.py", started, machine()),
        config=runs.settings(config),
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
    runs.write_run(config.out, run)
    page = write_report(config.out)
    for title in run.tables:
        print(markdown_table(run.tables[title]))
    print(", ".join(f"{row.label}: {number(row.value)}" for row in run.metrics))
    print(f"The report lies in {page}")
    return page


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
    Train(data=name, out=folder, **RECIPE).run()
    return pretrained.load(folder)


def _draws(name: str, count: int, seed: int) -> list[np.ndarray]:
    """Samples of a shape, each [count 2]."""
    rngs = [np.random.default_rng([seed, index]) for index in range(DRAWS)]
    return [draw_points(name, count, rng)[0] for rng in rngs]


def _bridge(model: DiffusionModel, name: str, steps: int, grid: str) -> Bridge:
    return Bridge(model, make_grid(grid, model.schedule, steps), get_solver(name))


@functools.partial(jax.jit, static_argnames="with_aux")
def _around(source: Bridge, target: Bridge, points, *, with_aux: bool = False):
    """Latents, translations and what comes back, with auxiliary states kept or made anew."""
    kept = lambda solution: solution.aux if with_aux else None
    to_target = target.scale / source.scale
    up = source.solve(points, rising=True)
    there = target.solve(up.y * to_target, rising=False)
    again = target.solve(there.y, rising=True, aux=kept(there))
    back = source.solve(again.y / to_target, rising=False, aux=kept(up))
    return up.y / source.scale, there.y, back.y


def _cycle(models, clouds, pair, method: Method, grid: str) -> dict[str, float]:
    source, target = (_bridge(models[domain], method.solver, method.steps, grid) for domain in pair)
    points, _ = clouds[pair[0]]
    run = lambda: _around(source, target, points, with_aux=method.with_aux)[2]
    return _timed(run, points, 4 * source.solver.evaluations(method.steps))


def _timed(run, points, evaluations: int) -> dict[str, float]:
    clock = time.perf_counter()
    back = np.asarray(run())
    distances = np.linalg.norm(back - points, axis=1)
    return {
        "mean": float(distances.mean()),
        "worst": float(distances.max()),
        "evaluations": evaluations,
        "seconds": time.perf_counter() - clock,
    }


def _summary(method: Method, cycles: list[dict[str, float]]) -> tuple:
    means = [cycle["mean"] for cycle in cycles]
    # The median, as the first holds the compilation.
    seconds = float(np.median([cycle["seconds"] for cycle in cycles]))
    return (
        f"{method.solver} + aux" if method.with_aux else method.solver,
        method.steps,
        cycles[0]["evaluations"],
        len(cycles),
        float(np.mean(means)),
        max(means),
        max(cycle["worst"] for cycle in cycles),
        seconds,
    )


@jax.jit
def _around_shifted(source: Bridge, target: Bridge, points):
    """The cycle on the grids of the paper's code, whose encoder is one index behind its decoder.

    It takes a point for one of the lowest noise level, and goes on from the highest to infinite
    noise; its decoder starts at the highest and ends without noise.
    """
    top, low = source.sigmas[-1], source.sigmas[0]

    def encode(bridge, x):
        x = bridge.encode(x) * jnp.sqrt(1 + top**2)
        return probability_flow(bridge.model)(top, x)

    def decode(bridge, noise):
        x = bridge.decode(noise)
        return x - low * probability_flow(bridge.model)(low, x)

    return decode(source, encode(target, decode(target, encode(source, points))))


def _reference(models, clouds, pair, steps: int, *, shifted: bool) -> dict[str, float]:
    """DDIM with the paper's number of steps, on linear betas."""
    sigmas = jnp.asarray(np.exp(Discrete.linear(steps).log_sigmas), jnp.float32)
    source, target = (Bridge(models[domain], sigmas, get_solver("ddim")) for domain in pair)
    around = _around_shifted if shifted else lambda *args: _around(*args)[2]
    points, _ = clouds[pair[0]]
    return _timed(lambda: around(source, target, points), points, 4 * steps)


def _transport(
    models, sources, pair, samples, floor: float, grid: str
) -> tuple[float, float, float, float]:
    """(W2 of translations to the target, `floor`, cost of the translation, optimal cost).

    `floor` is W2 of two samples of the target. A single sample of a thousand points may lie off its
    distribution by half of that, so both are means over samples. Costs are the root of the mean
    squared distance between the first sample and its translation, by the bridge and by the optimal
    transport.
    """
    source, target = (_bridge(models[domain], "rk4", 40, grid) for domain in pair)
    pushed = [np.asarray(_around(source, target, points)[1]) for points in sources]
    distance = np.mean([wasserstein(*both) for both in zip(pushed, samples, strict=True)])
    cost = float(np.sqrt(np.mean(np.sum((pushed[0] - sources[0]) ** 2, axis=1))))
    return float(distance), floor, cost, wasserstein(sources[0], pushed[0])


@jax.jit
def _log_density(bridge: Bridge, points):
    return log_likelihood(bridge, points)


def _density(model: DiffusionModel) -> np.ndarray:
    """The density of a model on a lattice of the plane; the first row is the lowest."""
    ticks = np.linspace(-REACH, REACH, TICKS, dtype=np.float32)
    points = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    logs = np.asarray(_log_density(_bridge(model, "rk4", 16, "log-uniform"), points))
    return np.exp(logs).reshape(TICKS, TICKS)


def _examples(models, clouds, method: Method, grid: str) -> dict[str, np.ndarray]:
    """The clouds of the page, as `report.plane` wants them."""
    arrays = {}
    for pair in EXAMPLES:
        points, positions = clouds[pair[0]]
        bridges = [_bridge(models[domain], method.solver, method.steps, grid) for domain in pair]
        latent, target, cycle = map(np.asarray, _around(*bridges, points))
        parts = {"source": points, "latent": latent, "target": target, "cycle": cycle}
        parts["positions"] = positions
        arrays |= {f"{' > '.join(pair)}/{part}": array for part, array in parts.items()}
    return arrays


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

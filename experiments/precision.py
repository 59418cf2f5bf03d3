"""Does the image come back at every precision? Reversible solvers in float, and on a lattice.

    python experiments/precision.py                     # some forty minutes on one CPU core
    python experiments/precision.py --parts lattice     # a part of it

Parts that are done are kept and not done again. `solvers`: the first pair at three precisions,
fives into sevens, by evaluations each way. `lattice`: values of 8 bits that are lost by
`lattice-heun`, there and back through one model and through two. `others`: the same of the
distributions of the plane and of the class-conditional digits under guidance. `stability`: how far
the two states of reversible Heun part over many steps. `elsewhere`: what is lost where the way back
is another program, which nobody promises. TF32 is a GPU's own, and elsewhere emulated: what goes
into convolutions, dense layers and attention is rounded to 10 bits. Writes `runs/precision/`:
tables, a figure, one page.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import ddib_jax
import undone
from ddib_jax import parallel, runs
from ddib_jax.data.png import to_bytes
from ddib_jax.diagnosis import PaddedGrid, steps_within
from ddib_jax.files import drafted
from ddib_jax.grids import make_grid
from ddib_jax.metrics import pooled_relative_rmse
from ddib_jax.options import cli
from ddib_jax.report import markdown_table
from ddib_jax.solvers import Adaptive, LatticeHeun, get_solver
from pages.precision import PRECISIONS
from study import FIRST_PAIR, RUNS, Study

PLANE = ("moons", "checkerboard", "concentric-rings", "concentric-squares")
PLANE += ("parallel-rings", "parallel-squares")


@dataclass(frozen=True)
class Config:
    """Measure what a precision costs, and whether every bit comes back."""

    parts: tuple[str, ...] = ("solvers", "lattice", "others", "stability", "elsewhere")
    count: int = 8
    """Test fives of the solvers' comparison, of the stability, and of 1,000 steps."""
    many: int = 64
    """Test fives of the lattice's round trips."""
    solvers: tuple[str, ...] = (
        "dpmpp-2m",
        "o-belm",
        "rex-midpoint",
        "reversible-heun",
        "lattice-heun",
    )
    budgets: tuple[int, ...] = (10, 40, 100)
    """Network evaluations each way, of the solvers' comparison."""
    steps: tuple[int, ...] = (10, 40, 100)
    long: tuple[int, ...] = (10, 40, 100, 300, 1000)
    """Steps over which the stability is looked at."""
    out: Path = RUNS / "precision"


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    study = Study("precision", "Does the image come back at every precision?", config)
    return study.publish(
        shown=lambda run: "\n".join(map(markdown_table, run.tables.values())),
        tables={name: PARTS[name](config) for name in config.parts},
        texts={"summary": "Round trips at three precisions, in floating point and on a lattice."},
    )


def solvers(config: Config) -> runs.Table:
    """Every solver at every precision and budget, fives into sevens."""
    reference = _kept(config, "reference", lambda: _reference(config))
    latent, truth = (np.asarray(part) for part in reference)
    rows = []
    for name in config.solvers:
        for precision in PRECISIONS:
            rows += _kept(
                config,
                f"solvers-{name}-{precision}",
                lambda name=name, precision=precision: [
                    row
                    for budget in config.budgets
                    if (row := _solver(config, name, precision, budget, latent, truth))
                ],
            )
    columns = ("solver", "precision", "steps", "evaluations", "round_trip", "values lost")
    columns += ("latent", "translation", "seconds an image")
    caption = (
        f"{config.count} test fives into sevens, log-uniform grid: relative RMSE of encode → decode"
        " with the auxiliary state kept where there is one, to the image or, of a lattice, its"
        " nearest to that; values of 8 bits that are others; relative RMSE of the latent and RMSE"
        " of the translation to an adaptive solution in float32; seconds each way"
    )
    return runs.Table(columns, tuple(map(tuple, rows)), caption)


def _reference(config: Config) -> list:
    source, target = (ddib_jax.load(name) for name in FIRST_PAIR)
    grid = PaddedGrid.of(make_grid("log-uniform", source.schedule, 1), 1)
    solver = Adaptive("dopri8", 1e-6, 1e-6)
    up = grid.solve(solver, source, jnp.asarray(undone.fives(config.count)), rising=True).solution
    down = grid.solve(solver, target, up.y, rising=False).solution
    return [np.asarray(up.y).tolist(), np.asarray(down.y).tolist()]


def _solver(
    config: Config, name: str, precision: str, budget: int, latent: np.ndarray, truth: np.ndarray
) -> list | None:
    """What one solver gives at one budget and precision; None where it takes no step in it."""
    solver, images = get_solver(name), undone.fives(config.count)
    steps = steps_within(solver, budget)
    if steps == 0:
        return None
    source, target = (undone.at(ddib_jax.load(end), precision) for end in FIRST_PAIR)
    grid = PaddedGrid.of(make_grid("log-uniform", source.schedule, steps), max(config.budgets))
    up, seconds = grid.solve(solver, source, jnp.asarray(images), rising=True)
    back, _ = grid.solve(solver.inverse or solver, source, up.y, rising=False, aux=up.aux)
    across, _ = grid.solve(solver, target, up.y, rising=False)
    end, on_lattice = np.asarray(back.y), isinstance(solver, LatticeHeun)
    held = undone.on_lattice(solver, images, grid.sigmas[0]) if on_lattice else images
    return [
        name,
        precision,
        steps,
        int(up.evaluations),
        pooled_relative_rmse(end, held),
        int((to_bytes(end) != to_bytes(images)).sum()),
        pooled_relative_rmse(np.asarray(up.y), latent),
        float(np.sqrt(np.mean((np.asarray(across.y, np.float64) - truth) ** 2))),
        seconds / len(images),
    ]


def lattice(config: Config) -> runs.Table:
    """Values lost through one model and through two, by steps and precision."""
    cases = [(steps, config.many) for steps in config.steps] + [(1000, config.count)]
    rows = [
        _kept(
            config,
            f"lattice-{name}-{precision}-{steps}",
            lambda name=name, precision=precision, steps=steps, count=count: undone.lost(
                name, precision, steps, undone.fives(count)
            ),
        )
        for name in ("lattice-heun",)
        for precision in ("float32", "bfloat16")
        for steps, count in cases
    ]
    columns = ("solver", "precision", "steps", "images", "values", "lost, one model")
    columns += ("lost, two models", "pairs closed", "seconds an image and way")
    caption = (
        "Values of 8 bits that are lost there and back through the five-model, and through five-"
        " and seven-model up, down, up and down; pairs of two models whose every bit came back"
    )
    return runs.Table(columns, tuple(map(tuple, rows)), caption)


def others(config: Config) -> runs.Table:
    """The plane's models in a ring, and the digits' model under guidance."""
    rows = []
    for precision in ("float32", "bfloat16"):
        for source, target in zip(PLANE, (*PLANE[1:], PLANE[0]), strict=True):
            rows.append(
                _kept(
                    config,
                    f"others-{source}-{precision}",
                    lambda source=source, target=target, precision=precision: undone.plane(
                        source, target, precision
                    ),
                )
            )
        rows.append(
            _kept(
                config,
                f"others-digits-{precision}",
                lambda precision=precision: undone.digits(config.count, precision),
            )
        )
    columns = ("models", "precision", "steps", "examples", "not closed, one model")
    columns += ("not closed, two models",)
    return runs.Table(
        columns,
        tuple(map(tuple, rows)),
        "Examples of which a bit was lost, there and back through one model and through two",
    )


def stability(config: Config) -> runs.Table:
    """How far the two states of a pair part, and the solution from the ODE's."""
    reference = _kept(config, "reference", lambda: _reference(config))
    latent = np.asarray(reference[0])
    rows = [
        _kept(
            config,
            f"stability-{name}-{steps}",
            lambda name=name, steps=steps: undone.parted(config.count, name, steps, latent),
        )
        for name in ("lattice-heun",)
        for steps in config.long
    ]
    columns = ("solver", "steps", "latent", "states apart", "largest state")
    caption = (
        "The latent's relative RMSE to the adaptive solution; the RMS of the difference of the two"
        " states of a pair at its end, over the deviation there; the largest value, which the"
        " lattice must hold"
    )
    return runs.Table(columns, tuple(map(tuple, rows)), caption)


def elsewhere(config: Config) -> runs.Table:
    """What a way back by another program loses: another number of images at once."""
    rows = [
        _kept(
            config,
            f"elsewhere-{precision}-{batch}",
            lambda precision=precision, batch=batch: undone.elsewhere(
                config.count, precision, batch
            ),
        )
        for precision in ("float32", "bfloat16")
        for batch in (1, 2, config.count, 2 * config.count, 64)
    ]
    columns = ("precision", "images at once, there", "and back", "images", "not closed")
    columns += ("round_trip", "values lost")
    return runs.Table(
        columns, tuple(map(tuple, rows)), "lattice-heun, 40 steps, decoded by another program"
    )


PARTS = {
    "solvers": solvers,
    "lattice": lattice,
    "others": others,
    "stability": stability,
    "elsewhere": elsewhere,
}


def _kept(config: Config, name: str, measure: Any) -> list:
    """A part that was measured before; else it is measured and kept."""
    folder = config.out.with_name(config.out.name + "-parts")
    path = folder / f"{name}-{config.count}-{config.many}.json"
    if path.is_file():
        return json.loads(path.read_text())
    row = measure()
    with drafted(folder) as draft:
        (draft / path.name).write_text(json.dumps(row))
    print(f"{name}: done", flush=True)
    return row


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

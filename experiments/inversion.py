"""Does the image come back? Errors of every solver against its number of network evaluations.

    python experiments/inversion.py                       # an hour and a half on one CPU core
    python experiments/inversion.py --solvers ddim heun   # a part of it

Parts that are done are kept and not done again. Settings: the shipped models (float32, fives into
sevens); two Gaussians and two mixtures of Gaussians with exact denoisers (float64), where the truth
is known; many images of the shipped model one by one; the shipped models on two grids; and how long
the reversible solvers stay reversible. Every figure is taken at the same budgets of network
evaluations each way. Latents and translations are compared with diffrax's Dopri8 with tolerances,
for Gaussians with the closed form. Writes `runs/inversion/`: one table and log-log plots a setting,
one page.
"""

import datetime
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

import ddib_jax
from ddib_jax import parallel, pretrained, runs
from ddib_jax.analytic import mixture_model
from ddib_jax.commands.place import machine
from ddib_jax.diagnosis import PaddedGrid, steps_within
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.files import drafted
from ddib_jax.grids import make_grid
from ddib_jax.metrics import pooled_relative_rmse, relative_rmse
from ddib_jax.options import cli
from ddib_jax.report import markdown_table, write_report
from ddib_jax.solvers import SOLVERS, Adaptive, RungeKutta, get_solver

ROOT = Path(__file__).resolve().parent.parent
NAMES = tuple(name for name in SOLVERS if name != "euler")  # which is DDIM
COLUMNS = (
    "solver",
    "budget",
    "steps",
    "evaluations",
    "round_trip",
    "with_aux",
    "latent",
    "translation",
    "handed",
    "cycle",
    "cycle_with_aux",
    "residual",
    "seconds",
)
OVERFLOW = "overflow"


@dataclass(frozen=True)
class Config:
    """Measure every solver's round trip, latent, translation and cycle."""

    source: str = "five"
    target: str = "seven"
    split: Literal["train", "test"] = "test"
    """Which split they are of: choices are made on the training split."""
    count: int = 4
    """Images of the source."""
    solvers: tuple[str, ...] = NAMES
    settings: tuple[str, ...] = ("shipped", "tails", "gaussian", "mixture", "grids", "stability")
    budgets: tuple[int, ...] = (5, 10, 20, 40, 50, 100, 250, 1000)
    """Network evaluations each way."""
    grid: str = "log-uniform"
    grids: tuple[str, ...] = ("karras", "log-uniform")
    """Those compared at 20, 40 and 100 evaluations.

    For the EDM schedule a grid uniform in time is the log-uniform one.
    """
    many: int = 64
    """Test images whose single errors are looked at."""
    stability_steps: tuple[int, ...] = (10, 50, 200, 1000)
    out: Path = ROOT / "runs" / "inversion"


@dataclass(frozen=True)
class Setting:
    """Two models, images of the first one's domain, and the true results."""

    source: DiffusionModel
    target: DiffusionModel
    images: jax.Array
    latent: np.ndarray
    """At the highest noise level, not scaled to unit variance."""
    translation: np.ndarray


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    started = datetime.datetime.now(datetime.UTC)
    for name in config.solvers:
        get_solver(name)
    tables = {}
    for setting in config.settings:
        with jax.enable_x64(setting in ("gaussian", "mixture")):
            tables[setting] = PARTS[setting](config)
    run = runs.Run(
        name="inversion",
        title="Does the image come back?",
        **runs.circumstances("experiments/inversion.py", started, machine()),
        config=runs.settings(config, leave_out=("out",)),
        tables=tables,
        texts={"summary": SUMMARY.format(config=config)},
    )
    runs.write_run(config.out, run)
    page = write_report(config.out)
    print(in_short(tables))
    print(f"The report lies in {page}")
    return page


SUMMARY = (
    "Encode → decode, latents, translations and whole cycles of every solver, each against the"
    " number of network evaluations each way; {config.count} images, {config.grid} grid. A"
    " reversible solver steps a pair of states: `with_aux` keeps the second, auxiliary one for the"
    " way back, `handed` gives it to the target model, and what has neither starts anew from the"
    " first state alone."
)


def shipped(config: Config) -> runs.Table:
    """The shipped models, every solver at every budget."""
    setting = _networks(config)
    return _every(
        setting,
        "shipped",
        config,
        f"The shipped models, {config.source} into {config.target}, float32",
    )


def gaussian(config: Config) -> runs.Table:
    """N(.3, .25 I) into N(-.2, .09 I), whose flow is linear and known."""
    (m, v), (n, w) = (0.3, 0.25), (-0.2, 0.09)
    source, target = (
        mixture_model(jnp.full((1, *SHAPE), mean), jnp.asarray([variance]))
        for mean, variance in ((m, v), (n, w))
    )
    low, high = source.schedule.sigma_range
    images = jnp.asarray(
        m + math.sqrt(v) * np.random.default_rng(0).normal(size=(config.count, *SHAPE))
    )
    latent = m + (images - m) * jnp.sqrt((v + high**2) / (v + low**2))
    translation = n + (latent - n) * jnp.sqrt((w + low**2) / (w + high**2))
    setting = Setting(source, target, images, np.asarray(latent), np.asarray(translation))
    return _every(setting, "gaussian", config, "Gaussians with exact denoisers, float64")


def mixture(config: Config) -> runs.Table:
    """Two mixtures of three Gaussians each, in 16 dimensions."""
    rng = np.random.default_rng(1)
    models = [
        mixture_model(
            jnp.asarray(rng.normal(size=(3, *SHAPE)) * 0.7), jnp.asarray([0.05, 0.1, 0.2])
        )
        for _ in range(2)
    ]
    centres, component = np.asarray(models[0].params["means"]), rng.integers(3, size=config.count)
    images = jnp.asarray(centres[component] + 0.3 * rng.normal(size=(config.count, *SHAPE)))
    setting = _referenced(*models, images, Adaptive("dopri8", 1e-13, 1e-13, 100_000))
    return _every(setting, "mixture", config, "Mixtures of Gaussians with exact denoisers, float64")


def grids(config: Config) -> runs.Table:
    """The shipped models at 20, 40 and 100 evaluations on every grid.

    The best grid for the translation is not that for the round trip.
    """
    setting = _networks(config)
    rows = []
    for name in (name for name in GRID_SOLVERS if name in config.solvers):
        for grid in config.grids:
            part = _kept(
                config,
                f"grids-{grid}-{name}",
                lambda name=name, grid=grid: _rows(setting, name, (20, 40, 100), grid),
            )
            rows += [(name, grid, row[3], row[4], row[6], row[7]) for row in part]
    columns = ("solver", "grid", "evaluations", "round_trip", "latent", "translation")
    return runs.Table(columns, tuple(rows), "The shipped models on several grids")


def tails(config: Config) -> runs.Table:
    """Many images one by one: a mean is that of the few whose errors are far above the others'."""
    model = ddib_jax.load(config.source)
    images = jnp.asarray(
        ddib_jax.load_dataset(config.source, split="test").take(range(config.many))
    )
    rows = []
    for name in (name for name in TAIL_SOLVERS if name in config.solvers):
        rows += _kept(
            config,
            f"tails-{config.many}-{name}",
            lambda name=name: [
                _tail(model, images, name, budget, config.grid) for budget in (40, 100)
            ],
        )
    columns = ("solver", "steps", "evaluations", "median", "mean", "90th percentile", "worst")
    return runs.Table(
        columns,
        tuple(map(tuple, rows)),
        f"Encode → decode of {config.many} test images, no auxiliary state: relative RMSE of"
        " single images",
    )


def stability(config: Config) -> runs.Table:
    """Reversible solvers over many steps: round trip of two images with the auxiliary state kept.

    It overflows at some.
    """
    setting, rows = _networks(config), []
    for name in (name for name in config.solvers if SOLVERS[name].inverse is not None):
        errors = _kept(
            config, f"stability-{name}", lambda name=name: _stable(setting, name, config)
        )
        rows.append((name, *errors))
    return runs.Table(
        ("solver", *(f"{steps} steps" for steps in config.stability_steps)),
        tuple(rows),
        "Round trip with the auxiliary state kept, by number of steps",
    )


PARTS = {
    "shipped": shipped,
    "tails": tails,
    "gaussian": gaussian,
    "mixture": mixture,
    "grids": grids,
    "stability": stability,
}
SHAPE = (4, 4, 1)
GRID_SOLVERS = ("ddim", "heun", "rk4", "ab3", "dpmpp-2m", "dpmpp-3m", "exp-midpoint", "exp-rk4")
TAIL_SOLVERS = ("ddim", "heun", "rk4", "dpmpp-2m", "exp-midpoint", "implicit-midpoint")


def _networks(config: Config) -> Setting:
    source, target = ddib_jax.load(config.source), ddib_jax.load(config.target)
    images = jnp.asarray(
        ddib_jax.load_dataset(config.source, split=config.split).take(range(config.count))
    )
    return _referenced(source, target, images, Adaptive("dopri8", 1e-6, 1e-6))


def _referenced(
    source: DiffusionModel, target: DiffusionModel, images: jax.Array, solver: Adaptive
) -> Setting:
    padded = PaddedGrid.of(make_grid("log-uniform", source.schedule, 1), 1)
    up, _ = padded.solve(solver, source, images, rising=True)
    down, _ = padded.solve(solver, target, up.y, rising=False)
    return Setting(source, target, images, np.asarray(up.y), np.asarray(down.y))


def _every(setting: Setting, label: str, config: Config, caption: str) -> runs.Table:
    rows = []
    for name in config.solvers:
        part = _kept(
            config,
            f"{label}-{name}",
            lambda name=name: _rows(setting, name, config.budgets, config.grid),
        )
        rows += [(family(name), *row) for row in part]
    return runs.Table(("family", *COLUMNS), tuple(rows), caption)


def family(name: str) -> str:
    """The kind of a registered solver, in words."""
    solver = get_solver(name)
    if solver.inverse is not None:
        return "Reversible"
    if solver.tolerance is not None:
        return "Implicit"
    return "One-step" if isinstance(getattr(solver, "method", solver), RungeKutta) else "Multistep"


def _rows(setting: Setting, name: str, budgets: tuple[int, ...], grid: str) -> list[tuple]:
    return [
        row
        for budget in budgets
        if (row := _row(setting, name, budget, grid, max(budgets))) is not None
    ]


def _row(setting: Setting, name: str, budget: int, grid: str, length: int) -> tuple | None:
    """What one solver gives at one budget; None where it takes no step in it."""
    solver, steps = get_solver(name), steps_within(get_solver(name), budget)
    if steps == 0:
        return None
    source, target, images = setting.source, setting.target, setting.images
    solve = PaddedGrid.of(make_grid(grid, source.schedule, steps), length).solve
    up, seconds_up = solve(solver, source, images, rising=True)
    back, seconds_back = solve(solver, source, up.y, rising=False)
    across, _ = solve(solver, target, up.y, rising=False)
    again, _ = solve(solver, target, across.y, rising=True)
    home, _ = solve(solver, source, again.y, rising=False)
    with_aux, handed, closed = None, None, None
    if solver.inverse is not None:
        undone = lambda model, x, aux, *, rising: (
            solve(solver.inverse, model, x, rising=rising, aux=aux).solution.y
        )
        latent = undone(target, across.y, across.aux, rising=True)
        with_aux = _error(undone(source, up.y, up.aux, rising=False), images)
        handed = _distance(undone(target, up.y, up.aux, rising=False), setting.translation)
        closed = _error(undone(source, latent, up.aux, rising=False), images)
    residual = max(float(one.residual.max()) for one in (up, back, across, again, home))
    return (
        name,
        budget,
        steps,
        int(up.evaluations + back.evaluations + 1) // 2,
        _error(back.y, images),
        with_aux,
        _error(up.y, setting.latent),
        _distance(across.y, setting.translation),
        handed,
        _error(home.y, images),
        closed,
        None if solver.tolerance is None else residual,
        (seconds_up + seconds_back) / 2 / len(images),
    )


def _tail(model: DiffusionModel, images: jax.Array, name: str, budget: int, grid: str) -> tuple:
    solver, steps = get_solver(name), steps_within(get_solver(name), budget)
    padded = PaddedGrid.of(make_grid(grid, model.schedule, steps), 100)
    up, _ = padded.solve(solver, model, images, rising=True)
    back, _ = padded.solve(solver, model, up.y, rising=False)
    errors = relative_rmse(np.asarray(back.y), np.asarray(images))
    figures = (np.median(errors), errors.mean(), np.quantile(errors, 0.9), errors.max())
    return (name, steps, int(up.evaluations + back.evaluations + 1) // 2, *map(float, figures))


def _stable(setting: Setting, name: str, config: Config) -> list:
    solver, images, errors = get_solver(name), setting.images[:2], []
    for steps in config.stability_steps:
        grid = make_grid(config.grid, setting.source.schedule, steps)
        padded = PaddedGrid.of(grid, max(config.stability_steps))
        up, _ = padded.solve(solver, setting.source, images, rising=True)
        back, _ = padded.solve(solver.inverse, setting.source, up.y, rising=False, aux=up.aux)
        errors.append(_error(back.y, images))
    return errors


def _error(result: jax.Array, truth: np.ndarray) -> float | str:
    return _finite(pooled_relative_rmse(np.asarray(result), np.asarray(truth)))


def _distance(result: jax.Array, truth: np.ndarray) -> float | str:
    return _finite(float(np.sqrt(np.mean((np.asarray(result, np.float64) - truth) ** 2))))


def _finite(value: float) -> float | str:
    return value if math.isfinite(value) and value < 1e6 else OVERFLOW


def _kept(config: Config, name: str, measure) -> list:
    """A part that was measured before under the same conditions; else it is measured and kept."""
    folder = config.out.with_name(config.out.name + "-parts")
    conditions = {
        "models": [
            pretrained.open(config.source).fingerprint,
            pretrained.open(config.target).fingerprint,
        ],
        "columns": list(COLUMNS),
        **{
            key: getattr(config, key)
            for key in ("split", "count", "budgets", "grid", "stability_steps")
        },
    }
    # By way of JSON, as what is read back: tuples become lists.
    about = json.loads(json.dumps(conditions))
    path = folder / f"{name}.json"
    if path.is_file() and (part := json.loads(path.read_text()))["about"] == about:
        return part["rows"]
    rows = json.loads(json.dumps(measure()))
    with drafted(folder) as draft:
        (draft / path.name).write_text(json.dumps({"about": about, "rows": rows}))
    print(f"{name}: done", flush=True)
    return rows


def in_short(tables: dict[str, runs.Table]) -> str:
    """The shipped models at 10, 40, 100 and 1000 evaluations and the small tables, in Markdown."""
    columns = (
        "solver",
        "steps",
        "evaluations",
        "round_trip",
        "with_aux",
        "translation",
        "cycle",
        "cycle_with_aux",
    )
    parts = []
    if "shipped" in tables:
        heads = tables["shipped"].columns
        rows = [dict(zip(heads, row, strict=True)) for row in tables["shipped"].rows]
        rows = [row for row in rows if row["budget"] in (10, 40, 100, 1000)]
        cells = [tuple(row[name] for name in columns) for row in rows]
        parts.append(markdown_table(runs.Table(columns, tuple(cells))))
    parts += [
        markdown_table(tables[name]) for name in ("tails", "grids", "stability") if name in tables
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

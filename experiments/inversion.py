"""Does the image come back? Errors of every solver against its number of network evaluations.

    python experiments/inversion.py                       # an hour and a half on one CPU core
    python experiments/inversion.py --solvers ddim heun   # a part of it

Parts that are done are kept and not done again. Settings: the pair that was shipped first (float32,
fives into sevens); two Gaussians and two mixtures of Gaussians with exact denoisers (float64),
where the truth is known; many images of the first model one by one; the pair on two grids; and how
long the reversible solvers stay reversible. Every figure is taken at the same budgets of network
evaluations each way. Latents and translations are compared with diffrax's Dopri8 with tolerances,
for Gaussians with the closed form. Writes `runs/inversion/`: one table and log-log plots a setting,
one page.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp

import ddib_jax
import inverted
from ddib_jax import parallel, pretrained, runs
from ddib_jax.files import drafted
from ddib_jax.options import cli
from ddib_jax.report import markdown_table
from ddib_jax.solvers import SOLVERS, get_solver
from inverted import COLUMNS, Setting, family
from study import FIRST_PAIR, RUNS, Study

NAMES = tuple(name for name in SOLVERS if name != "euler")  # which is DDIM


@dataclass(frozen=True)
class Config:
    """Measure every solver's round trip, latent, translation and cycle."""

    source: str = FIRST_PAIR[0]
    target: str = FIRST_PAIR[1]
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
    out: Path = RUNS / "inversion"


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    study = Study("inversion", "Does the image come back?", config)
    for name in config.solvers:
        get_solver(name)
    tables = {}
    for setting in config.settings:
        with jax.enable_x64(setting in ("gaussian", "mixture")):
            tables[setting] = PARTS[setting](config)
    return study.publish(
        shown=lambda run: in_short(run.tables),
        tables=tables,
        texts={"summary": SUMMARY.format(config=config)},
    )


SUMMARY = (
    "Encode → decode, latents, translations and whole cycles of every solver, each against the"
    " number of network evaluations each way; {config.count} images, {config.grid} grid. A"
    " reversible solver steps a pair of states: `with_aux` keeps the second, auxiliary one for the"
    " way back, `handed` gives it to the target model, and what has neither starts anew from the"
    " first state alone."
)


def shipped(config: Config) -> runs.Table:
    """The pair of networks, every solver at every budget."""
    return _every(
        _networks(config), "shipped", config, f"{config.source} into {config.target}, float32"
    )


def gaussian(config: Config) -> runs.Table:
    """N(.3, .25 I) into N(-.2, .09 I), whose flow is linear and known."""
    return _every(
        inverted.between_gaussians(config.count),
        "gaussian",
        config,
        "Gaussians with exact denoisers, float64",
    )


def mixture(config: Config) -> runs.Table:
    """Two mixtures of three Gaussians each, in 16 dimensions."""
    return _every(
        inverted.between_mixtures(config.count),
        "mixture",
        config,
        "Mixtures of Gaussians with exact denoisers, float64",
    )


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
                lambda name=name, grid=grid: inverted.rows_of(setting, name, (20, 40, 100), grid),
            )
            rows += [(name, grid, row[3], row[4], row[6], row[7]) for row in part]
    columns = ("solver", "grid", "evaluations", "round_trip", "latent", "translation")
    return runs.Table(columns, tuple(rows), "The pair on several grids")


def tails(config: Config) -> runs.Table:
    """Many images one by one: a mean is that of the few whose errors are far above the others'."""
    model = ddib_jax.load(config.source)
    images = jnp.asarray(ddib_jax.load_dataset("five", split="test").take(range(config.many)))
    rows = []
    for name in (name for name in TAIL_SOLVERS if name in config.solvers):
        rows += _kept(
            config,
            f"tails-{config.many}-{name}",
            lambda name=name: [
                inverted.tail(model, images, name, budget, config.grid) for budget in (40, 100)
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
            config,
            f"stability-{name}",
            lambda name=name: inverted.stable(setting, name, config.grid, config.stability_steps),
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
GRID_SOLVERS = ("ddim", "heun", "rk4", "ab3", "dpmpp-2m", "dpmpp-3m", "exp-midpoint", "exp-rk4")
TAIL_SOLVERS = ("ddim", "heun", "rk4", "dpmpp-2m", "exp-midpoint", "implicit-midpoint")


def _networks(config: Config) -> Setting:
    return inverted.between_networks(
        config.source, config.target, split=config.split, count=config.count
    )


def _every(setting: Setting, label: str, config: Config, caption: str) -> runs.Table:
    rows = []
    for name in config.solvers:
        part = _kept(
            config,
            f"{label}-{name}",
            lambda name=name: inverted.rows_of(setting, name, config.budgets, config.grid),
        )
        rows += [(family(name), *row) for row in part]
    return runs.Table(("family", *COLUMNS), tuple(rows), caption)


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

"""Does the image come back at every precision? Reversible solvers in float, and on a lattice.

    python experiments/precision.py                     # some forty minutes on one CPU core
    python experiments/precision.py --parts lattice     # a part of it

Parts that are done are kept and not done again. `solvers`: the shipped models at three precisions,
fives into sevens, by evaluations each way. `lattice`: values of 8 bits that are lost by
`lattice-heun`, there and back through one model and through two. `others`: the same of the
distributions of the plane and of the class-conditional digits under guidance. `stability`: how far
the two states of reversible Heun part over many steps. `elsewhere`: what is lost where the way back
is another program, which nobody promises. TF32 is emulated: what goes into convolutions, dense
layers and attention is rounded to 10 bits. Writes `runs/precision/`: tables, a figure, one page.
"""

import dataclasses
import datetime
import functools
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import ddib_jax
from ddib_jax import parallel, runs, translation
from ddib_jax.bridge import Bridge
from ddib_jax.commands.conditions import Condition
from ddib_jax.commands.train import machine
from ddib_jax.data import draw_points
from ddib_jax.data.png import to_bytes
from ddib_jax.diagnosis import PaddedGrid, steps_within
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.files import drafted
from ddib_jax.grids import make_grid
from ddib_jax.metrics import pooled_relative_rmse
from ddib_jax.nets.layers import Attending
from ddib_jax.nets.precision import Precision
from ddib_jax.options import cli
from ddib_jax.report import markdown_table, write_report
from ddib_jax.report.curves import error_figure
from ddib_jax.solvers import Adaptive, LatticeHeun, get_solver

ROOT = Path(__file__).resolve().parent.parent
PRECISIONS: tuple[Precision, ...] = ("float32", "tf32", "bfloat16")
BOTH: tuple[Precision, ...] = ("float32", "bfloat16")
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
    out: Path = ROOT / "runs" / "precision"


@dataclass(frozen=True)
class TF32:
    """A network whose products have factors of 10 bits, as a GPU's tensor cores round them."""

    network: nn.Module

    def init(self, *inputs):
        """As the network's."""
        return self.network.init(*inputs)

    def condition_spec(self):
        """As the network's."""
        return self.network.condition_spec()

    def apply(self, variables, *inputs, **options):
        """As the network's, of rounded kernels, inputs of layers, queries, keys and values."""
        rounded = lambda x: jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=10)

        def round_factors(layer, args, kwargs, context):
            products = isinstance(context.module, nn.Conv | nn.Dense)
            if (products and context.method_name == "__call__") or (
                isinstance(context.module, Attending) and context.method_name == "attend"
            ):
                args = tuple(map(rounded, args))
            return layer(*args, **kwargs)

        kernels = jax.tree.map(lambda leaf: rounded(leaf) if leaf.ndim > 1 else leaf, variables)
        with nn.intercept_methods(round_factors):
            return self.network.apply(kernels, *inputs, **options)


def at(model: DiffusionModel, precision: Precision) -> DiffusionModel:
    """The model at a precision, TF32 emulated."""
    if precision != "tf32":
        return model.at_precision(precision)
    network = TF32(cast(nn.Module, model.network))
    return dataclasses.replace(model.at_precision("float32"), network=network)


def closed(bridge: Bridge, end: Any) -> np.ndarray:
    """Which pairs at the end of a way back are such as a run begins with."""
    return np.asarray(cast(LatticeHeun, bridge.solver).is_start(end.aux.value))


def fives(count: int) -> np.ndarray:
    return ddib_jax.load_dataset("five", split="test").take(range(count))


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    started = datetime.datetime.now(datetime.UTC)
    tables = {name: PARTS[name](config) for name in config.parts}
    run = runs.Run(
        name="precision",
        title="Does the image come back at every precision?",
        **runs.circumstances("experiments/precision.py", started, machine()),
        config=runs.settings(config, leave_out=("out",)),
        tables=tables,
        texts={"summary": "Round trips at three precisions, in floating point and on a lattice."},
    )
    runs.write_run(config.out, run)
    if "solvers" in tables:
        draw(tables["solvers"], config.out / "figures" / "precision.png")
    page = write_report(config.out)
    print("\n".join(markdown_table(table) for table in tables.values()))
    print(f"The report lies in {page}")
    return page


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
                functools.partial(_solver_rows, config, name, precision, latent, truth),
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
    source, target = ddib_jax.load("five"), ddib_jax.load("seven")
    grid = PaddedGrid.of(make_grid("log-uniform", source.schedule, 1), 1)
    solver = Adaptive("dopri8", 1e-6, 1e-6)
    up = grid.solve(solver, source, jnp.asarray(fives(config.count)), rising=True).solution
    down = grid.solve(solver, target, up.y, rising=False).solution
    return [np.asarray(up.y).tolist(), np.asarray(down.y).tolist()]


def _solver_rows(
    config: Config, name: str, precision: Precision, latent: np.ndarray, truth: np.ndarray
) -> list:
    rows = (_solver(config, name, precision, n, latent, truth) for n in config.budgets)
    return [row for row in rows if row]


def _solver(
    config: Config,
    name: str,
    precision: Precision,
    budget: int,
    latent: np.ndarray,
    truth: np.ndarray,
) -> list | None:
    """What one solver gives at one budget and precision; None where it takes no step in it."""
    solver, images = get_solver(name), fives(config.count)
    steps = steps_within(solver, budget)
    if steps == 0:
        return None
    source, target = (at(ddib_jax.load(end), precision) for end in ("five", "seven"))
    grid = PaddedGrid.of(make_grid("log-uniform", source.schedule, steps), max(config.budgets))
    up, seconds = grid.solve(solver, source, jnp.asarray(images), rising=True)
    back, _ = grid.solve(solver.inverse or solver, source, up.y, rising=False, aux=up.aux)
    across, _ = grid.solve(solver, target, up.y, rising=False)
    low, held, end = grid.sigmas[0], images, np.asarray(back.y)
    if isinstance(solver, LatticeHeun):
        held = np.asarray(solver.state(solver.pair(jnp.asarray(images), low), low))
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
            functools.partial(_lost, name, precision, steps, fives(count)),
        )
        for name in ("lattice-heun",)
        for precision in BOTH
        for steps, count in cases
    ]
    columns = ("solver", "precision", "steps", "images", "values", "lost, one model")
    columns += ("lost, two models", "pairs closed", "seconds an image and way")
    caption = (
        "Values of 8 bits that are lost there and back through the five-model, and through five-"
        " and seven-model up, down, up and down; pairs of two models whose every bit came back"
    )
    return runs.Table(columns, tuple(map(tuple, rows)), caption)


def _lost(name: str, precision: Precision, steps: int, images: np.ndarray) -> list:
    here, there = (
        Bridge.over(at(ddib_jax.load(end), precision), steps=steps, solver=get_solver(name))
        for end in ("five", "seven")
    )
    up = translation.encode(here, images)
    start = time.perf_counter()
    back = translation.decode(here, up.y, aux=up.aux)  # by the program that `encode` compiled
    seconds = (time.perf_counter() - start) / len(images)
    home = around(here, there, up.aux)
    lost = lambda found: int((to_bytes(found) != to_bytes(images)).sum())
    counts = (lost(back), lost(home.y), int(closed(here, home).sum()))
    return [name, precision, steps, len(images), images.size, *counts, seconds]


def around(here: Bridge, there: Bridge, aux: Any, **conds: Any) -> Any:
    """Pairs at the latent's end, down the other model and up again, and down their own."""
    down = translation.hand_on(there, aux, rising=False, cond=conds.get("there"))
    up = translation.hand_on(there, down.aux, rising=True, cond=conds.get("there"))
    return translation.hand_on(here, up.aux, rising=False, cond=conds.get("here"))


def others(config: Config) -> runs.Table:
    """The plane's models in a ring, and the digits' model under guidance."""
    rows = []
    for precision in BOTH:
        for source, target in zip(PLANE, (*PLANE[1:], PLANE[0]), strict=True):
            rows.append(
                _kept(
                    config,
                    f"others-{source}-{precision}",
                    functools.partial(_plane, source, target, precision),
                )
            )
        rows.append(
            _kept(
                config,
                f"others-digits-{precision}",
                functools.partial(_digits, config, precision),
            )
        )
    columns = ("models", "precision", "steps", "examples", "not closed, one model")
    columns += ("not closed, two models",)
    return runs.Table(
        columns,
        tuple(map(tuple, rows)),
        "Examples of which a bit was lost, there and back through one model and through two",
    )


def _plane(source: str, target: str, precision: Precision) -> list:
    points = draw_points(source, 1024, np.random.default_rng(0))[0]
    here, there = (
        Bridge.over(
            at(ddib_jax.load(name), precision), steps=100, solver=get_solver("lattice-heun")
        )
        for name in (source, target)
    )
    up = translation.encode(here, points, batch_size=1024)
    back = translation.hand_on(here, up.aux, rising=False)
    home = around(here, there, up.aux)
    return [f"{source} → {target}", precision, 100, len(points), *_open(here, back, home)]


def _digits(config: Config, precision: Precision) -> list:
    checkpoint = ddib_jax.pretrained.open("digits")
    images = ddib_jax.load_dataset("five", split="test").take(range(config.count))
    here, there = (
        Bridge.over(
            at(Condition(label, 2.0).model(checkpoint), precision),
            steps=40,
            solver=get_solver("lattice-heun"),
        )
        for label in ("5", "7")
    )
    images = images[..., : here.model.image_shape[-1]]
    up = translation.encode(here, images)
    back = translation.hand_on(here, up.aux, rising=False)
    home = around(here, there, up.aux)
    return ["digits, 5 → 7, guidance 2", precision, 40, len(images), *_open(here, back, home)]


def _open(here: Bridge, *ends: Any) -> list[int]:
    return [int((~closed(here, end)).sum()) for end in ends]


def stability(config: Config) -> runs.Table:
    """How far the two states of a pair part, and the solution from the ODE's."""
    reference = _kept(config, "reference", lambda: _reference(config))
    latent = np.asarray(reference[0])
    rows = [
        _kept(
            config,
            f"stability-{name}-{steps}",
            lambda name=name, steps=steps: _parted(config, name, steps, latent),
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


def _parted(config: Config, name: str, steps: int, latent: np.ndarray) -> list:
    here = Bridge.over(ddib_jax.load("five"), steps=steps, solver=get_solver(name))
    up = translation.encode(here, fives(config.count))
    pairs = up.aux.value.astype(np.float64)
    solver = cast(LatticeHeun, here.solver)
    scale = 2.0 ** (solver.bits or 0) / (float(here.sigmas[-1]) if solver.exponential else 1)
    y, z = pairs[:, 0] / 2 / scale, pairs[:, 1] / scale
    apart = float(np.sqrt(np.mean((y - z) ** 2))) / float(here.scale)
    largest = float(np.abs(up.y).max() * here.scale)
    return [name, steps, pooled_relative_rmse(y, latent), apart, largest]


def elsewhere(config: Config) -> runs.Table:
    """What a way back by another program loses: another number of images at once."""
    rows = [
        _kept(
            config,
            f"elsewhere-{precision}-{batch}",
            functools.partial(_elsewhere, config, precision, batch),
        )
        for precision in BOTH
        for batch in (1, 2, config.count, 2 * config.count, 64)
    ]
    columns = ("precision", "images at once, there", "and back", "images", "not closed")
    columns += ("round_trip", "values lost")
    return runs.Table(
        columns, tuple(map(tuple, rows)), "lattice-heun, 40 steps, decoded by another program"
    )


def _elsewhere(config: Config, precision: Precision, batch: int) -> list:
    images = fives(config.count)
    model = at(ddib_jax.load("five"), precision)
    here = Bridge.over(model, steps=40, solver=get_solver("lattice-heun"))
    up = translation.encode(here, images, batch_size=config.count)
    back = translation.hand_on(here, dataclasses.replace(up.aux, batch=batch), rising=False)
    lost = int((to_bytes(back.y) != to_bytes(images)).sum())
    error = pooled_relative_rmse(back.y, images)
    return [precision, config.count, batch, config.count, *_open(here, back), error, lost]


PARTS = {
    "solvers": solvers,
    "lattice": lattice,
    "others": others,
    "stability": stability,
    "elsewhere": elsewhere,
}


def draw(table: runs.Table, path: Path) -> None:
    """The round trips, a panel for each precision; what lost no bit lies on the lower edge."""
    panels: dict[str, dict[str, tuple[list, list]]] = {name: {} for name in PRECISIONS}
    for row in table.rows:
        name, precision, _, evaluations, error = row[:5]
        if name != "dpmpp-2m":
            curve = panels[precision].setdefault(name, ([], []))
            curve[0].append(evaluations)
            curve[1].append(error)
    label = "relative RMSE of encode → decode (1e-8: not a bit lost)"
    error_figure(panels, path, ylabel=label, legends="upper right")


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

"""Which reversible methods stay reversible to the bit on integers, and which of them is worth it.

    python experiments/lattices.py            # minutes on one CPU core

Besides reversible Heun, which the library has, three other additive methods are tried on a lattice
of spacing 2^-20: leapfrog, reversible Heun in data prediction, and McCallum and Foster's coupling
(2024), whose mixing by a factor below one loses bits unless the remainders are kept; they are, in
one integer for each value (Maclaurin, Duvenaud and Adams 2015). For each: what is lost there and
back, and how far latent and translation are from the ODE's. Writes `runs/lattices/`.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

import ddib_jax
from ddib_jax import parallel, runs
from ddib_jax.bridge import Bridge
from ddib_jax.diffusion import DiffusionModel, probability_flow
from ddib_jax.metrics import pooled_relative_rmse
from ddib_jax.options import Count, cli
from ddib_jax.report import markdown_table
from ddib_jax.solvers import HEUN, LatticeHeun
from study import FIRST_PAIR, RUNS, Study

SPACING = 2.0**-20
MIXING = (99, 100)
"""McCallum and Foster's factor, as a fraction."""

Ints = np.ndarray
Slope = Callable[[float, Ints], np.ndarray]
"""Noise level, state as integers -> dy/dt in units of the spacing, float64."""


@dataclass(frozen=True)
class Config:
    """Compare bit-exact methods."""

    count: Count = 8
    """Test fives."""
    budgets: tuple[int, ...] = (10, 20, 40, 100)
    """Evaluations of the network each way."""
    grids: tuple[str, ...] = ("log-uniform", "karras")
    reference: Count = 400
    """Steps of Heun's method in the solution that counts as the ODE's."""
    out: Path = RUNS / "lattices"


class Method(NamedTuple):
    """A method on integers; cost: evaluations a step.

    way: slope, state, grid -> the pair at its end and whatever else undoes it. undone: the same and
    that end -> the state that the way began with. state: of an end.
    """

    cost: int
    way: Callable[[Slope, Ints, np.ndarray], tuple]
    undone: Callable[[Slope, tuple, np.ndarray], Ints]
    state: Callable[[tuple], Ints]


def moved(h: float, slope: np.ndarray) -> Ints:
    """h slope, rounded to the lattice."""
    return np.rint(h * slope).astype(np.int64)


def leapfrog(f: Slope, y: Ints, ts: np.ndarray) -> tuple:
    """y(t2) = y(t0) + (t2 - t0) f(t1, y(t1)), begun by a step of Euler's method."""
    before, now = y, y + moved(ts[1] - ts[0], f(ts[0], y))
    for t0, t1, t2 in zip(ts, ts[1:], ts[2:], strict=False):
        before, now = now, before + moved(t2 - t0, f(t1, now))
    return before, now


def leapfrog_undone(f: Slope, end: tuple, ts: np.ndarray) -> Ints:
    """The state at ts[0]."""
    before, now = end
    for t2, t1, t0 in zip(ts[::-1], ts[-2::-1], ts[-3::-1], strict=False):
        before, now = now - moved(t2 - t0, f(t1, before)), before
    return before


def midpoint(f: Slope, h: float, t: float, y: Ints) -> Ints:
    """What a step of the midpoint method adds."""
    half = y + moved(h / 2, f(t, y))
    return moved(h, f(t + h / 2, half))


def coupled(f: Slope, y: Ints, ts: np.ndarray) -> tuple:
    """McCallum and Foster's pair, its mixing undone by the remainders in a third integer."""
    z, kept = y, np.zeros_like(y)
    for t0, t1 in itertools.pairwise(ts):
        apart, kept = _scaled(y - z, kept, *MIXING)
        y = z + apart + midpoint(f, t1 - t0, t0, z)
        z = z - midpoint(f, t0 - t1, t1, y)
    return y, z, kept


def coupled_undone(f: Slope, end: tuple, ts: np.ndarray) -> Ints:
    """The state at ts[0]."""
    y, z, kept = end
    for t1, t0 in zip(ts[::-1], ts[-2::-1], strict=False):
        z = z + midpoint(f, t0 - t1, t1, y)
        apart = y - z - midpoint(f, t1 - t0, t0, z)
        apart, kept = _scaled(apart, kept, *MIXING[::-1])
        y = z + apart
    return y


def _scaled(x: Ints, kept: Ints, above: int, below: int) -> tuple[Ints, Ints]:
    """x above / below in integers; with the fraction turned over it is undone by what was kept."""
    kept = kept * below + x % below
    x = x // below
    x = x * above + kept % above
    return x, kept // above


METHODS = {
    "leapfrog": Method(1, leapfrog, leapfrog_undone, lambda end: end[1]),
    "McCallum-Foster, midpoint": Method(4, coupled, coupled_undone, lambda end: end[0]),
}
LIBRARY = {
    "reversible Heun": LatticeHeun(),
    "reversible Heun, data prediction": LatticeHeun(exponential=True),
}


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    study = Study("lattices", "Which methods are exact on integers?", config)
    images = ddib_jax.load_dataset("five", split="test").take(range(config.count))
    models = [ddib_jax.load(name) for name in FIRST_PAIR]
    fine = [
        Bridge.over(each, steps=config.reference, grid="log-uniform", solver=HEUN)
        for each in models
    ]
    latent = ddib_jax.encode(fine[0], images).y
    translation = ddib_jax.decode(fine[1], latent)
    rows = []
    for name in (*LIBRARY, *METHODS):
        for grid in config.grids:
            for budget in config.budgets:
                found = measured(name, models, grid, budget, images)
                up, across, *rest = found
                errors = (pooled_relative_rmse(up, latent), _rmse(across, translation))
                rows.append((name, grid, budget, *rest, *errors))
                print(*rows[-1], sep=", ", flush=True)
    header = (
        "method",
        "grid",
        "evaluations",
        "values",
        "lost",
        "states apart",
        "latent",
        "translation",
    )
    caption = (
        f"{config.count} test fives, encoded and decoded again: values of the lattice that are"
        " others; RMS of the difference of the pair's states at the latent's end, over the"
        " deviation there; relative RMSE of the latents, and RMSE of the translations into sevens"
        f" from them, to Heun's method in {config.reference} steps"
    )
    table = runs.Table(header, tuple(rows), caption)
    return study.publish(
        shown=lambda run: markdown_table(run.tables["methods"]), tables={"methods": table}
    )


def measured(
    name: str, models: tuple[DiffusionModel, DiffusionModel], grid: str, budget: int, images: Any
) -> tuple:
    """Latents, translations, values, how many were lost, and how far the states are apart."""
    if name in LIBRARY:
        here, there = (
            Bridge.over(each, steps=budget - 1, grid=grid, solver=LIBRARY[name]) for each in models
        )
        up = ddib_jax.encode(here, images)
        back = ddib_jax.translation.hand_on(here, up.aux, rising=False)
        lost = images.size - int(_closed(back.aux.value).sum())
        pair = np.asarray(up.aux.value, np.float64)
        apart = pair[:, 0] / 2 - pair[:, 1]
        solver = cast(LatticeHeun, here.solver)
        unit = 2.0 ** -(solver.bits or 0) * (float(here.sigmas[-1]) if solver.exponential else 1)
        across = ddib_jax.decode(there, up.y)
        return up.y, across, images.size, lost, _share(apart * unit, here)
    method = METHODS[name]
    here, there = (
        Bridge.over(each, steps=max(budget // method.cost, 1), grid=grid) for each in models
    )
    ts = np.asarray(here.sigmas, np.float64)
    start = np.rint(np.asarray(images, np.float64) / SPACING).astype(np.int64)
    f = slope(here.model)
    end = method.way(f, start, ts)
    back = method.undone(f, end, ts)
    y = method.state(end) * SPACING
    latent = (y / float(here.scale)).astype(np.float32)
    down = np.asarray(there.sigmas, np.float64)[::-1]
    begun = np.rint(latent * float(there.scale) / SPACING).astype(np.int64)
    across = method.state(method.way(slope(there.model), begun, down)) * SPACING
    apart = _share((end[0] - end[1]) * SPACING, here) if name != "leapfrog" else float("nan")
    return latent, across, start.size, int((back != start).sum()), apart


def slope(model: DiffusionModel) -> Slope:
    """dy/dt of a model in units of the spacing: one program, whatever asks for it."""
    flow = jax.jit(partial(_flow, model))
    return lambda t, y: np.asarray(flow(jnp.float32(t), y.astype(np.float32)), np.float64)


def _flow(model: DiffusionModel, t: jax.Array, y: jax.Array) -> jax.Array:
    return probability_flow(model)(t, y * SPACING) / SPACING


def _closed(pairs: Any) -> np.ndarray:
    """Which values are those of a pair that a run begins with."""
    twice, z = np.asarray(pairs)[:, 0], np.asarray(pairs)[:, 1]
    return twice == 2 * z


def _share(apart: np.ndarray, bridge: Bridge) -> float:
    return float(np.sqrt(np.mean(np.square(apart)))) / float(bridge.scale)


def _rmse(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(a - b))))


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

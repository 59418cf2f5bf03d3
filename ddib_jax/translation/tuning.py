"""`tune`: few noise levels for both legs, found by the error of the translations themselves."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from ddib_jax.bridge import FITTED, GRID, SOLVER, Bridge, TunedGrid, check_shape
from ddib_jax.bridge.checks import check_meeting
from ddib_jax.bridge.switch import Switch, known_gaussian
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.grids import make_grid
from ddib_jax.preconditioning import Wiener
from ddib_jax.solvers import Fitted, get_solver
from ddib_jax.solvers.fitted import Weights
from ddib_jax.translation.batches import finite_floats
from ddib_jax.translation.fitted_weights import (
    FinePaths,
    denoise,
    fit_weights,
    nearest_levels,
    spaced_grids,
)
from ddib_jax.translation.shortest_grid import FineSolution, shortest_grid
from ddib_jax.types import Images, Solver

_FINE_SOLVER, _FINE_STEPS, _EVERY = get_solver("unipc-3"), 112, 4
"""Of the solution that all are compared with; every fourth of its levels may be in a grid."""
_DEFAULT = get_solver(SOLVER)
_RANK, _IMAGES = 64, 16
"""Of Gaussians that are fitted to images; images that grids are found on, or refined by at once."""
TRIED = ("dpmpp-2m", "unipc-2", "unipc-3", FITTED)
"""Solvers that are tried unless one is named: all take one evaluation a step from the first on."""


class Tuned(NamedTuple):
    """What `tune` found.

    grid: the best. table: one row for each that was tried, with its relative errors on the images
    that it was chosen by, and on those held out.
    """

    grid: TunedGrid
    table: tuple[tuple[str, float, float], ...]


class _Way(NamedTuple):
    """Levels, a solver for them, by name and as it is, and whether the switch goes on from them."""

    grid: Float[np.ndarray, " k"]
    name: str
    solver: Solver
    switch: bool


def tune(
    source: DiffusionModel,
    target: DiffusionModel,
    images: Images,
    *,
    steps: int,
    solver: str | None = None,
    refinements: int = 60,
    rate: float = 0.03,
    progress: Callable = iter,
) -> Tuned:
    """The grid of so many steps, and its solver, whose translations are nearest to the converged.

    images: of the source's domain [n ...], at least 4; every other one is held out. Candidates are
    the default grid and the one of `shortest_grid`, with and without the Gaussian switch where both
    models have Wiener statistics, under every solver of `TRIED` or the one named. Of these "fitted"
    has weights that are fitted to the grid and the pair (`fit_weights`). The best is refined by
    gradient descent through both legs, on the logarithms of its steps and on fitted weights, 16
    images at a time: a few dozen are soon learnt by heart, some hundred are not. What is worse on
    the held-out images than the default (its solver and grid) is not taken; the default is then the
    result, and `found` of the grid says so.

    Errors are the root mean square distance from a fine solution, relative to that solution's own
    root mean square. Raises ValueError for models that do not meet, or have different noise levels,
    for images that are too few or of another shape, and for an unknown solver.
    """
    check_meeting(source, target)
    images = np.asarray(finite_floats(images, "images"))
    check_shape(source, images, "images")
    if source.schedule.sigma_range != target.schedule.sigma_range:
        raise ValueError("One grid for both legs needs models of the same noise levels.")
    if len(images) < 4:
        raise ValueError(
            f"A grid is tuned on 4 images or more, half of them held out, not {len(images)}."
        )
    names = [solver] if solver else TRIED
    stock = {name: get_solver(name) for name in names if name != FITTED}
    models, data = (source, target), source.to_data(jnp.asarray(images))
    chosen, held = slice(0, None, 2), slice(1, None, 2)
    levels = make_grid(GRID, source.schedule, _FINE_STEPS)
    fine = _fine_solution(models, data, levels)
    truth = jnp.asarray(fine.target[0])
    error = lambda made, part: _relative(made[part], truth[part])
    known = all(isinstance(model.precondition, Wiener) for model in models)

    usual = np.asarray(make_grid(GRID, source.schedule, steps))
    default = _Way(usual, SOLVER, _DEFAULT, switch=False)
    grids = {"the default's": (usual, False)}
    few = _few(models, fine)
    for switch in (False, True) if known else (False,):
        grid, _ = shortest_grid(few, steps, switch=switch)
        ends_below = bool(grid[-1] < 0.999 * fine.levels[-1])
        grids["the shortest, with a switch" if ends_below else "the shortest"] = (grid, ends_below)
    table, tried = [], []

    def add(words: str, way: _Way) -> None:
        made = _translated(models, data, way)
        errors = error(made, chosen), error(made, held)
        table.append((f"{words} by {way.name}", *errors))
        tried.append((*errors, way))

    for name in progress(names):
        more = spaced_grids(fine.levels, steps, switch=known) if name == FITTED else {}
        for words, (grid, switch) in (grids | more).items():
            if name == FITTED:
                add(words, _weighted(models, fine, chosen, grid, switch=switch))
            else:
                add(words, _Way(grid, name, stock[name], switch))
    best = min(tried, key=lambda row: row[0])
    if refinements:
        way = _refined(models, data[chosen], truth[chosen], best[-1], refinements, rate)
        add("the best of these, refined,", way)
        best = min(best, tried[-1], key=lambda row: row[0])
    made = _translated(models, data, default)
    ordinary = (error(made, chosen), error(made, held), default)
    better = best[1] < ordinary[1]
    chosen_error, held_error, way = best if better else ordinary
    found: dict[str, Any] = {
        "images": len(images),
        "error": round(chosen_error, 5),
        "error_held_out": round(held_error, 5),
        "error_of_the_default_held_out": round(ordinary[1], 5),
        "better_than_the_default": bool(better),
    }
    sigmas = tuple(float(level) for level in np.asarray(way.grid, np.float32))
    weights = way.solver if isinstance(way.solver, Fitted) else None
    return Tuned(TunedGrid(sigmas, way.name, way.switch, found, weights), tuple(table))


def _relative(made: Array, truth: Array) -> float:
    return float(jnp.sqrt(jnp.mean((made - truth) ** 2) / jnp.mean(truth**2)))


def _fine_solution(
    models: tuple[DiffusionModel, DiffusionModel], data: Array, levels: Array
) -> FinePaths:
    """A solution in many steps; its translations are the target's states at the lowest level."""
    source, target = (Bridge(model, levels, _FINE_SOLVER) for model in models)
    paths, latent = [], None
    for bridge, rising in ((source, True), (target, False)):
        start = data if rising else latent
        states = _path(bridge, start, rising=jnp.asarray(rising))
        latent = states[-1]
        scale = jnp.sqrt(1 + bridge.sigmas**2).at[0].set(1).reshape(-1, *[1] * data.ndim)
        paths.append(np.asarray((states if rising else states[::-1]) * scale))
    gaussians = tuple(
        model.precondition
        if isinstance(model.precondition, Wiener)
        else Wiener.fit(ends, rank=min(_RANK, len(ends) - 1, ends[0].size - 1))
        for model, ends in zip(models, (path[0] for path in paths), strict=True)
    )
    (up, down), (own, other) = paths, gaussians
    return FinePaths(np.asarray(levels, np.float64), up, down, (own, other))


def _few(models: tuple[DiffusionModel, DiffusionModel], fine: FinePaths) -> FineSolution:
    """Every fourth level of the paths of a few images, with what is denoised there."""
    levels = fine.levels[::_EVERY]
    told = []
    for model, path in zip(models, (fine.source, fine.target), strict=True):
        states = path[::_EVERY, :_IMAGES]
        denoised = [
            denoise(model, jnp.asarray(x), jnp.asarray(sigma, x.dtype))
            for x, sigma in zip(states, levels, strict=True)
        ]
        flat = lambda a: np.asarray(a, np.float64).reshape(*np.shape(a)[:2], -1)
        told += [flat(states), flat(np.stack(denoised))]
    up, up_denoised, down, down_denoised = told
    return FineSolution(levels, up, up_denoised, down, down_denoised, fine.gaussians)


_path = jax.jit(Bridge.path)


def _crossed(
    models: tuple[DiffusionModel, DiffusionModel],
    data: Array,
    sigmas: Array,
    switches: tuple[Switch, Switch] | None,
    weights: tuple[Weights, ...],
    *,
    solver: Solver | None,
) -> Array:
    """Data [n ...] up the source's ODE and down the target's on one grid.

    By the solver, or by `Fitted` of these weights, which may be traced.
    """
    if solver is None:
        rising, falling = weights
        solver = Fitted(rising, falling)
    above = switches or (None, None)
    up, down = (
        Bridge(model, sigmas, solver, gaussian)
        for model, gaussian in zip(models, above, strict=True)
    )
    state = up.solve(data, rising=True).y
    return down.solve(state, rising=False).y


_through = jax.jit(_crossed, static_argnames="solver")


def _switches(models: tuple[DiffusionModel, DiffusionModel]) -> tuple[Switch, Switch]:
    high = models[0].schedule.sigma_range[1]
    own, other = (Switch.of(known_gaussian(model), high) for model in models)
    return own, other


def _translated(models: tuple[DiffusionModel, DiffusionModel], data: Array, way: _Way) -> Array:
    switches = _switches(models) if way.switch else None
    weights = _rows(way.solver, data.dtype) if isinstance(way.solver, Fitted) else ()
    solver = None if weights else way.solver
    return _through(models, data, jnp.asarray(way.grid), switches, weights, solver=solver)


def _rows(solver: Fitted, dtype) -> tuple[Weights, Weights]:
    """A fitted method's weights as arrays, a row a step."""
    rows = lambda weights: tuple(jnp.asarray(row, dtype) for row in weights)
    return rows(solver.rising), rows(solver.falling)


def _weighted(
    models: tuple[DiffusionModel, DiffusionModel],
    fine: FinePaths,
    chosen: slice,
    grid: Float[np.ndarray, " k"],
    *,
    switch: bool,
) -> _Way:
    """The fine levels next to a grid's, with weights fitted to the paths of the chosen images."""
    nearest = nearest_levels(fine.levels, grid)
    paths = fine._replace(source=fine.source[:, chosen], target=fine.target[:, chosen])
    fitted = fit_weights(models, paths, nearest, _switches(models) if switch else None)
    return _Way(fine.levels[nearest], FITTED, fitted, switch)


def _refined(
    models: tuple[DiffusionModel, DiffusionModel],
    data: Array,
    truth: Array,
    start: _Way,
    count: int,
    rate: float,
) -> _Way:
    """The way after descent on the logarithms of its steps, and on fitted weights."""
    switches = _switches(models) if start.switch else None
    logs = jnp.log(jnp.asarray(start.grid, data.dtype))
    solver = None if isinstance(start.solver, Fitted) else start.solver

    def levels(gaps: Array) -> Array:
        # with a switch the upper end moves, too; otherwise it is the models' own
        lengths = jnp.exp(gaps)
        if not start.switch:
            lengths = lengths / jnp.sum(lengths) * (logs[-1] - logs[0])
        inner = logs[0] + jnp.cumsum(lengths)
        return jnp.exp(jnp.concatenate([logs[:1], inner]))

    @jax.jit
    @jax.grad
    def slope(free, models, data, truth, switches):
        grid, weights = levels(free["gaps"]), free.get("weights", ())
        made = _crossed(models, data, grid, switches, weights, solver=solver)
        return jnp.log(jnp.mean((made - truth) ** 2))

    free: Any = {"gaps": jnp.log(jnp.diff(logs))}
    if isinstance(start.solver, Fitted):
        free["weights"] = _rows(start.solver, data.dtype)
    tx = optax.adam(optax.cosine_decay_schedule(rate, count))
    state, rng = tx.init(free), np.random.default_rng(0)
    for _ in range(count):
        some = rng.choice(len(data), min(_IMAGES, len(data)), replace=False)
        gradient = slope(free, models, data[some], truth[some], switches)
        change, state = tx.update(gradient, state)
        free = optax.apply_updates(free, change)
    if not solver:
        numbers = lambda rows: tuple(tuple(float(weight) for weight in row) for row in rows)
        rising, falling = map(numbers, free["weights"])
        solver = Fitted(rising, falling)
    return _Way(np.asarray(levels(free["gaps"])), start.name, solver, start.switch)

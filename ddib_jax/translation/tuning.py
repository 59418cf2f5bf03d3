"""`tune`: few noise levels for both legs, found by the error of the translations themselves."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from ddib_jax.bridge import GRID, SOLVER, Bridge, TunedGrid, check_shape
from ddib_jax.bridge.checks import check_meeting
from ddib_jax.bridge.switch import Switch, known_gaussian
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.grids import make_grid
from ddib_jax.preconditioning import Wiener
from ddib_jax.solvers import get_solver
from ddib_jax.translation.batches import finite_floats
from ddib_jax.translation.shortest_grid import FineSolution, shortest_grid
from ddib_jax.types import Images

_FINE_SOLVER, _FINE_STEPS, _EVERY = get_solver("unipc-3"), 112, 4
"""Of the solution that all are compared with; every fourth of its levels may be in a grid."""
_RANK = 64
TRIED = ("dpmpp-2m", "unipc-2", "unipc-3")
"""Solvers that are tried unless one is named: all take one evaluation a step from the first on."""


class Tuned(NamedTuple):
    """What `tune` found.

    grid: the best. table: one row for each that was tried, with its relative errors on the images
    that it was chosen by, and on those held out.
    """

    grid: TunedGrid
    table: tuple[tuple[str, float, float], ...]


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
    models have Wiener statistics, under every solver of `TRIED` or the one named. The best of them
    is refined by gradient descent on the logarithms of its steps, through both legs. What is worse
    on the held-out images than the default (its solver and grid) is not taken; the default is then
    the result, and `found` of the grid says so.

    Errors are the root mean square distance from a fine solution, relative to that solution's own
    root mean square. Raises ValueError for models that do not meet, or have different noise levels,
    and for images that are too few or of another shape.
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
    models, data = (source, target), source.to_data(jnp.asarray(images))
    levels = make_grid(GRID, source.schedule, _FINE_STEPS)
    truth, fine = _fine_solution(models, data, levels)
    chosen, held = slice(0, None, 2), slice(1, None, 2)
    error = lambda made, part: _relative(made[part], truth[part])
    known = all(isinstance(model.precondition, Wiener) for model in models)

    starts = {"the default's": (np.asarray(make_grid(GRID, source.schedule, steps)), False)}
    for switch in (False, True) if known else (False,):
        grid, _ = shortest_grid(fine, steps, switch=switch)
        ends_below = bool(grid[-1] < 0.999 * fine.levels[-1])
        starts["the shortest, with a switch" if ends_below else "the shortest"] = (grid, ends_below)
    table, tried = [], []
    for name in progress([solver] if solver else TRIED):
        for words, (grid, switch) in starts.items():
            made = _translated(models, data, jnp.asarray(grid), get_solver(name), switch=switch)
            errors = error(made, chosen), error(made, held)
            table.append((f"{words} by {name}", *errors))
            tried.append((*errors, name, grid, switch))
    best = min(tried, key=lambda row: row[0])
    if refinements:
        grid = _refined(models, data[chosen], truth[chosen], best, refinements, rate)
        made = _translated(models, data, jnp.asarray(grid), get_solver(best[2]), switch=best[4])
        errors = error(made, chosen), error(made, held)
        table.append((f"the best of these, refined, by {best[2]}", *errors))
        best = min(best, (*errors, best[2], grid, best[4]), key=lambda row: row[0])
    grid = np.asarray(make_grid(GRID, source.schedule, steps))
    made = _translated(models, data, jnp.asarray(grid), get_solver(SOLVER), switch=False)
    default = (error(made, chosen), error(made, held), SOLVER, grid, False)
    better = best[1] < default[1]
    chosen_error, held_error, name, grid, switch = best if better else default
    found: dict[str, Any] = {
        "images": len(images),
        "error": round(chosen_error, 5),
        "error_held_out": round(held_error, 5),
        "error_of_the_default_held_out": round(default[1], 5),
        "better_than_the_default": bool(better),
    }
    sigmas = tuple(float(level) for level in np.asarray(grid, np.float32))
    return Tuned(TunedGrid(sigmas, name, switch, found), tuple(table))


def _relative(made: Array, truth: Array) -> float:
    return float(jnp.sqrt(jnp.mean((made - truth) ** 2) / jnp.mean(truth**2)))


def _fine_solution(
    models: tuple[DiffusionModel, DiffusionModel], data: Array, levels: Array
) -> tuple[Array, FineSolution]:
    """The converged translations [n ...], and the solution of a few that grids are found on."""
    source, target = (Bridge(model, levels, _FINE_SOLVER) for model in models)
    paths, latent = [], None
    for bridge, rising in ((source, True), (target, False)):
        start = data if rising else latent
        states = _path(bridge, start, rising=jnp.asarray(rising))
        latent = states[-1]
        scale = jnp.sqrt(1 + bridge.sigmas**2).at[0].set(1).reshape(-1, *[1] * data.ndim)
        states = (states if rising else states[::-1]) * scale
        few = states[::_EVERY, :16]
        denoised = jnp.stack(
            [_denoise(bridge.model, x, s) for x, s in zip(few, levels[::_EVERY], strict=True)]
        )
        flat = lambda a: np.asarray(a, np.float64).reshape(*a.shape[:2], -1)
        paths.append((states[0], flat(few), flat(denoised)))
    truth = paths[1][0]
    gaussians = tuple(
        model.precondition
        if isinstance(model.precondition, Wiener)
        else Wiener.fit(np.asarray(ends), rank=min(_RANK, len(ends) - 1, ends[0].size - 1))
        for model, ends in zip(models, (data, truth), strict=True)
    )
    (_, up, up_denoised), (_, down, down_denoised) = paths
    coarse, (own, other) = np.asarray(levels[::_EVERY], np.float64), gaussians
    return truth, FineSolution(coarse, up, up_denoised, down, down_denoised, (own, other))


_path = jax.jit(Bridge.path)
_denoise = jax.jit(DiffusionModel.denoise)


@partial(jax.jit, static_argnames=("solver", "switch"))
def _through(
    models: tuple[DiffusionModel, DiffusionModel],
    data: Array,
    sigmas: Array,
    switches,
    *,
    solver,
    switch,
) -> Array:
    """Data [n ...] up the source's ODE and down the target's on one grid."""
    above = switches if switch else (None, None)
    up, down = (
        Bridge(model, sigmas, solver, gaussian)
        for model, gaussian in zip(models, above, strict=True)
    )
    state = up.solve(data, rising=True).y
    return down.solve(state, rising=False).y


def _switches(models: tuple[DiffusionModel, DiffusionModel]) -> tuple[Switch, ...]:
    high = models[0].schedule.sigma_range[1]
    return tuple(Switch.of(known_gaussian(model), high) for model in models)


def _translated(models, data, sigmas, solver, *, switch: bool) -> Array:
    switches = _switches(models) if switch else None
    return _through(models, data, sigmas, switches, solver=solver, switch=switch)


def _refined(
    models: tuple[DiffusionModel, DiffusionModel],
    data: Array,
    truth: Array,
    start: tuple,
    count: int,
    rate: float,
) -> Float[np.ndarray, " k"]:
    """The grid after descent on the logarithms of its steps; the best on the way."""
    _, _, name, grid, switch = start
    solver, switches = get_solver(name), _switches(models) if switch else None
    logs = jnp.log(jnp.asarray(grid, data.dtype))

    def levels(gaps: Array) -> Array:
        # with a switch the upper end moves, too; otherwise it is the models' own
        lengths = jnp.exp(gaps)
        if not switch:
            lengths = lengths / jnp.sum(lengths) * (logs[-1] - logs[0])
        inner = logs[0] + jnp.cumsum(lengths)
        return jnp.exp(jnp.concatenate([logs[:1], inner]))

    @jax.jit
    @jax.value_and_grad
    def loss(gaps, models, data, truth, switches):
        made = _through(models, data, levels(gaps), switches, solver=solver, switch=switch)
        return jnp.log(jnp.mean((made - truth) ** 2))

    gaps = jnp.log(jnp.diff(logs))
    best, best_loss = gaps, jnp.inf
    tx = optax.adam(optax.cosine_decay_schedule(rate, count))
    state = tx.init(gaps)
    for _ in range(count):
        value, gradient = loss(gaps, models, data, truth, switches)
        if value < best_loss:
            best, best_loss = gaps, value
        change, state = tx.update(gradient, state)
        gaps = jnp.add(gaps, jnp.asarray(change))
    return np.asarray(levels(best))

"""What inversion.py measures: two models, images and what is true of them, one row a solver."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import ddib_jax
from ddib_jax.analytic import mixture_model
from ddib_jax.diagnosis import PaddedGrid, steps_within
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.grids import make_grid
from ddib_jax.metrics import pooled_relative_rmse, relative_rmse
from ddib_jax.solvers import Adaptive, RungeKutta, get_solver

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
"""What stands in a row of `rows_of`."""
OVERFLOW = "overflow"
SHAPE = (4, 4, 1)
"""That of the data of the exact models."""


@dataclass(frozen=True)
class Setting:
    """Two models, images of the first one's domain, and the true results."""

    source: DiffusionModel
    target: DiffusionModel
    images: jax.Array
    latent: np.ndarray
    """At the highest noise level, not scaled to unit variance."""
    translation: np.ndarray


def between_networks(source: str, target: str, *, split: str, count: int) -> Setting:
    """Two shipped models or model directories, and fives."""
    models = ddib_jax.load(source), ddib_jax.load(target)
    images = jnp.asarray(ddib_jax.load_dataset("five", split=split).take(range(count)))
    return _referenced(*models, images, Adaptive("dopri8", 1e-6, 1e-6))


def between_gaussians(count: int) -> Setting:
    """N(.3, .25 I) into N(-.2, .09 I), whose flow is linear and known."""
    (m, v), (n, w) = (0.3, 0.25), (-0.2, 0.09)
    source, target = (
        mixture_model(jnp.full((1, *SHAPE), mean), jnp.asarray([variance]))
        for mean, variance in ((m, v), (n, w))
    )
    low, high = source.schedule.sigma_range
    images = jnp.asarray(m + math.sqrt(v) * np.random.default_rng(0).normal(size=(count, *SHAPE)))
    latent = m + (images - m) * jnp.sqrt((v + high**2) / (v + low**2))
    translation = n + (latent - n) * jnp.sqrt((w + low**2) / (w + high**2))
    return Setting(source, target, images, np.asarray(latent), np.asarray(translation))


def between_mixtures(count: int) -> Setting:
    """Two mixtures of three Gaussians each, in 16 dimensions."""
    rng = np.random.default_rng(1)
    models = [
        mixture_model(
            jnp.asarray(rng.normal(size=(3, *SHAPE)) * 0.7), jnp.asarray([0.05, 0.1, 0.2])
        )
        for _ in range(2)
    ]
    centres, component = np.asarray(models[0].params["means"]), rng.integers(3, size=count)
    images = jnp.asarray(centres[component] + 0.3 * rng.normal(size=(count, *SHAPE)))
    return _referenced(*models, images, Adaptive("dopri8", 1e-13, 1e-13, 100_000))


def _referenced(
    source: DiffusionModel, target: DiffusionModel, images: jax.Array, solver: Adaptive
) -> Setting:
    padded = PaddedGrid.of(make_grid("log-uniform", source.schedule, 1), 1)
    up, _ = padded.solve(solver, source, images, rising=True)
    down, _ = padded.solve(solver, target, up.y, rising=False)
    return Setting(source, target, images, np.asarray(up.y), np.asarray(down.y))


def rows_of(setting: Setting, name: str, budgets: tuple[int, ...], grid: str) -> list[tuple]:
    """One solver at every budget of evaluations in which it takes a step."""
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


def tail(model: DiffusionModel, images: jax.Array, name: str, budget: int, grid: str) -> tuple:
    """Median, mean, 90th percentile and worst of the round trips of single images."""
    solver, steps = get_solver(name), steps_within(get_solver(name), budget)
    padded = PaddedGrid.of(make_grid(grid, model.schedule, steps), 100)
    up, _ = padded.solve(solver, model, images, rising=True)
    back, _ = padded.solve(solver, model, up.y, rising=False)
    errors = relative_rmse(np.asarray(back.y), np.asarray(images))
    figures = (np.median(errors), errors.mean(), np.quantile(errors, 0.9), errors.max())
    return (name, steps, int(up.evaluations + back.evaluations + 1) // 2, *map(float, figures))


def stable(setting: Setting, name: str, grid: str, counts: tuple[int, ...]) -> list[float | str]:
    """Errors of the round trip of two images, auxiliary state kept, by number of steps."""
    solver, images, errors = get_solver(name), setting.images[:2], []
    for steps in counts:
        padded = PaddedGrid.of(make_grid(grid, setting.source.schedule, steps), max(counts))
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


def family(name: str) -> str:
    """The kind of a registered solver, in words."""
    solver = get_solver(name)
    if solver.inverse is not None:
        return "Reversible"
    if solver.tolerance is not None:
        return "Implicit"
    return "One-step" if isinstance(getattr(solver, "method", solver), RungeKutta) else "Multistep"

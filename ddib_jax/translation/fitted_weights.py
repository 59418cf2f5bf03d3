"""Weights of a multistep method, fitted step by step to a fine solution of a translation.

Each step's weights are the least squares from where the steps before have led to where the fine
solution is, so that what went wrong before is made good as far as it can be. Errors count by what
the Gaussians of both domains make of them on the rest of the way, as in `shortest_grid`. That takes
one evaluation of a network for each step and image, and no gradient.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddib_jax.bridge.switch import Switch
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.preconditioning import Wiener
from ddib_jax.solvers import Fitted
from ddib_jax.translation.shortest_grid import arriving

_RIDGE = 1e-7
"""Added to the squares of the regressors, each divided by its own mean square."""
_ENDS = (40.0, 15.0)
"""Noise levels at which grids for fitted weights end besides the highest, for the switch."""
_POWERS = (1.0, 1.1)
"""Of the even spacing in log sigma of those grids: above 1 the steps lie closer at little noise."""
denoise = jax.jit(DiffusionModel.denoise)
"""A model's denoised data, one program for all levels."""


class FinePaths(NamedTuple):
    """The states of a few images at rising levels [m], both legs [m n ...], and the Gaussians."""

    levels: Float[np.ndarray, " m"]
    source: Float[np.ndarray, "m n ..."]
    target: Float[np.ndarray, "m n ..."]
    gaussians: tuple[Wiener, Wiener]


def fit_weights(
    models: tuple[DiffusionModel, DiffusionModel],
    fine: FinePaths,
    grid: Sequence[int],
    switches: tuple[Switch, Switch] | None,
) -> Fitted:
    """The method for a grid among the fine levels, given as rising indices of them.

    switches: those of both models where the grid ends below the highest level.
    """
    y = jnp.asarray(fine.source[grid[0]])
    rising, y = _leg(models[0], fine, grid, y, rising=True)
    if switches is not None:
        end = jnp.asarray(fine.levels[grid[-1]], y.dtype)
        y = switches[1].down(switches[0].up(y, end), end)
    falling, _ = _leg(models[1], fine, grid[::-1], y, rising=False)
    return Fitted(rising, falling)


def spaced_grids(
    levels: Float[np.ndarray, " m"], steps: int, *, switch: bool
) -> dict[str, tuple[Float[np.ndarray, " k"], bool]]:
    """More grids for fitted weights: even in a power of log sigma, up to several levels.

    Without those that are closer than the levels of the fine solution.
    """
    low, high = levels[0], levels[-1]
    even = np.linspace(0, 1, steps + 1)
    grids = {}
    for end in (high, *(end for end in _ENDS if switch and low < end < high)):
        for power in _POWERS:
            words = f"spaced by a power of {power:g} up to {end:g}"
            grid = low * (end / low) ** even**power
            if len(set(nearest_levels(levels, grid))) == len(grid):
                grids[words] = grid, bool(end < high)
    return grids


def nearest_levels(levels: Float[np.ndarray, " m"], grid: Float[np.ndarray, " k"]) -> list[int]:
    """Which of the levels is the nearest to each of a grid's, in log sigma."""
    apart = np.abs(np.log(levels) - np.log(np.asarray(grid, np.float64))[:, None])
    return [int(index) for index in np.argmin(apart, axis=1)]


def _leg(
    model: DiffusionModel, fine: FinePaths, grid: Sequence[int], y: Array, *, rising: bool
) -> tuple[tuple[tuple[float, ...], ...], Array]:
    states = fine.source if rising else fine.target
    weights, past = [], []
    for begin, end in pairwise(grid):
        d = denoise(model, y, jnp.asarray(fine.levels[begin], y.dtype))
        regressors = [y - d, *(old - d for old in past)]
        row = _least_squares(fine, regressors, jnp.asarray(states[end]) - d, end, rising=rising)
        y = d + sum(weight * x for weight, x in zip(row, regressors, strict=True))
        past.append(d)
        weights.append(row)
    return tuple(weights), y


def _least_squares(
    fine: FinePaths, regressors: list[Array], wanted: Array, end: int, *, rising: bool
) -> tuple[float, ...]:
    """The weights with which the regressors [n ...] make what is wanted at the level `end`."""
    gram = np.zeros((len(regressors) + 1,) * 2)
    # an image at a time, for its products are in float64
    for image in zip(*(np.asarray(x, np.float64) for x in (*regressors, wanted)), strict=True):
        flat = np.stack([x.reshape(-1) for x in image])
        rows = arriving(fine.gaussians, fine.levels, flat, end, rising=rising)
        gram += rows @ rows.T
    squares = np.sqrt(np.maximum(np.diag(gram)[:-1], np.finfo(float).tiny))
    scaled = gram[:-1, :-1] / np.outer(squares, squares)
    found = np.linalg.solve(scaled + _RIDGE * np.eye(len(squares)), gram[:-1, -1] / squares)
    return tuple(float(weight) for weight in found / squares)

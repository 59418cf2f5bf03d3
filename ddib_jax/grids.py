"""Grids of noise levels: steps + 1 of them, ascending.

Encoding reads a grid upward, decoding reads the same one downward.
"""

import math
from collections.abc import Callable
from statistics import NormalDist

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddib_jax.types import NoiseSchedule

Grid = Float[Array, " n"]


def karras_grid(
    schedule: NoiseSchedule, steps: int, sigma_min: float, sigma_max: float, *, rho: float = 7.0
) -> Grid:
    """Noise levels [steps + 1] whose rho-th roots are evenly spaced (Karras et al. 2022, eq. 5)."""
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return _grid(np.linspace(low, high, steps + 1) ** rho)


def log_uniform_grid(
    schedule: NoiseSchedule, steps: int, sigma_min: float, sigma_max: float
) -> Grid:
    """Noise levels [steps + 1] evenly spaced in log sigma, that is in log-SNR."""
    return _grid(np.geomspace(sigma_min, sigma_max, steps + 1))


def log_normal_grid(
    schedule: NoiseSchedule,
    steps: int,
    sigma_min: float,
    sigma_max: float,
    *,
    mean: float = -1.0,
    std: float = 1.5,
) -> Grid:
    """Noise levels [steps + 1] at even quantiles of log sigma ~ N(mean, std^2), cut to the range.

    They are dense where data of unit variance take shape.
    """
    normal = NormalDist(mean, std)
    low, high = (normal.cdf(math.log(sigma)) for sigma in (sigma_min, sigma_max))
    quantiles = np.linspace(low, high, steps + 1)[1:-1]
    inner = [math.exp(normal.inv_cdf(quantile)) for quantile in quantiles]
    # the ends as they were given: the quantile of a cumulative probability near 0 or 1 is not exact
    return _grid(np.asarray([sigma_min, *inner, sigma_max]))


def uniform_grid(schedule: NoiseSchedule, steps: int, sigma_min: float, sigma_max: float) -> Grid:
    """Noise levels [steps + 1] evenly spaced in the model's time, as DDIM's (Song et al. 2021)."""
    first, last = np.asarray(schedule.time(jnp.asarray([sigma_min, sigma_max])), np.float64)
    return _grid(np.asarray(schedule.sigma(jnp.asarray(np.linspace(first, last, steps + 1)))))


def ddim_grid(
    schedule: NoiseSchedule, steps: int, sigma_min: float, sigma_max: float, *, offset: int = 1
) -> Grid:
    """The noise levels [steps + 1] of the leading times of DDIM and of diffusers' pipelines.

    They are those of time 0 and of the times offset + i (T // steps), i = 0 ... steps - 1, of a
    table of T levels, so that they end below the table's last. Euler's method from one to the next
    is DDIM (diffusers' with steps_offset = 1 and set_alpha_to_one = False, as Stable Diffusion has
    them). Raises ValueError for a schedule without a table, for other ends than the table's, and
    for more steps than it has.
    """
    count = _table("ddim", schedule, sigma_min, sigma_max)
    times = offset + (count // steps) * np.arange(steps)
    if steps >= count or times[-1] >= count:
        raise ValueError(f"The grid 'ddim' has at most {count - offset} steps here, not {steps}.")
    return _at(schedule, times)


def ddim_trailing_grid(
    schedule: NoiseSchedule, steps: int, sigma_min: float, sigma_max: float
) -> Grid:
    """The noise levels [steps + 1] of the trailing times of DDIM: time 0, and up to the last one.

    Lin et al. (2024), section 3.3: the times i T / steps - 1, rounded, i = 1 ... steps, of a table
    of T levels. Raises ValueError as `ddim_grid` does.
    """
    count = _table("ddim-trailing", schedule, sigma_min, sigma_max)
    if steps > count // 2:
        raise ValueError(
            f"The grid 'ddim-trailing' has at most {count // 2} steps here, not {steps}."
        )
    # as diffusers rounds them, down from the last
    times = np.round(np.arange(count, 0, -count / steps))[:steps][::-1].astype(int) - 1
    return _at(schedule, times)


def _table(name: str, schedule: NoiseSchedule, sigma_min: float, sigma_max: float) -> int:
    """The number of noise levels in the schedule's table."""
    table = getattr(schedule, "alphas_cumprod", None)
    if table is None:
        raise ValueError(
            f"The grid '{name}' takes its noise levels from a table, and {type(schedule).__name__}"
            " has none; take 'uniform', which is even in any model's time."
        )
    if not np.allclose(schedule.sigma_range, (sigma_min, sigma_max), rtol=1e-5):
        raise ValueError(
            f"The grid '{name}' has the noise levels of its table; leave others out, or take"
            " another grid."
        )
    return len(table)


def _at(schedule: NoiseSchedule, times: np.ndarray) -> Grid:
    """The noise levels of time 0 and of the times above it."""
    whole = jnp.asarray(np.concatenate([[0], times]), jnp.zeros(()).dtype)
    return _grid(np.asarray(schedule.sigma(whole)))


def _grid(levels: np.ndarray) -> Grid:
    grid = jnp.asarray(levels, jnp.zeros(()).dtype)
    # checked after rounding to the default dtype, in which close levels may have become one
    if len(grid) < 2 or not bool(jnp.all(grid > 0)) or not bool(jnp.all(jnp.diff(grid) > 0)):
        raise ValueError(
            f"A grid needs at least one step and rising positive noise levels; got {len(grid) - 1}"
            f" steps from {levels[0]:.4g} to {levels[-1]:.4g}."
        )
    return grid


GRIDS: dict[str, Callable[..., Array]] = {
    "karras": karras_grid,
    "log-uniform": log_uniform_grid,
    "log-normal": log_normal_grid,
    "uniform": uniform_grid,
    "ddim": ddim_grid,
    "ddim-trailing": ddim_trailing_grid,
}
"""Name -> grid, called with (schedule, steps, sigma_min, sigma_max)."""


def make_grid(
    name: str,
    schedule: NoiseSchedule,
    steps: int,
    *,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
) -> Grid:
    """The registered grid `name`, of [steps + 1] ascending noise levels.

    Its ends are those of the schedule's range, unless others are given; the grids of DDIM take
    theirs from the schedule's table. Raises ValueError for an
    unknown name, fewer than one step, a range that is not rising and positive, and a grid that
    the schedule does not have, and TypeError for a schedule that is none.
    """
    if not isinstance(schedule, NoiseSchedule):
        missing = [part for part in ("sigma", "time", "sigma_range") if not hasattr(schedule, part)]
        raise TypeError(
            f"{type(schedule).__name__} is no noise schedule, for it has no {' or '.join(missing)};"
            " a schedule has sigma(t), its inverse time(sigma), and sigma_range, the lowest and the"
            " highest noise level."
        )
    if name not in GRIDS:
        raise ValueError(f"Unknown grid '{name}'; known are {', '.join(GRIDS)}.")
    if steps < 1:
        raise ValueError(f"A grid needs at least one step, got {steps}.")
    low, high = schedule.sigma_range
    low = low if sigma_min is None else sigma_min
    high = high if sigma_max is None else sigma_max
    if not 0 < low < high:
        raise ValueError(
            f"Noise levels must satisfy 0 < sigma_min < sigma_max, got {low:g} and {high:g}."
        )
    return GRIDS[name](schedule, steps, low, high)

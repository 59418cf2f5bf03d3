"""The grid whose steps' own errors, as they arrive in the translation, are the least in sum.

Along a fine solution the error of one step is known without a further evaluation of a network, for
any three levels: the state that the step makes of the fine one, less the fine state there. How much
of it arrives in the translation is taken from the Gaussians of both domains. The levels are then
chosen by dynamic programming (Watson et al. 2021 choose those of a sampler so).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ddib_jax.preconditioning import Wiener


class FineSolution(NamedTuple):
    """States and denoised states [m n d] of both legs at rising levels [m], and the Gaussians.

    source is the way up, target the way down from its end; the target's own are in the same order.
    """

    levels: Float[np.ndarray, " m"]
    source: Float[np.ndarray, "m n d"]
    source_denoised: Float[np.ndarray, "m n d"]
    target: Float[np.ndarray, "m n d"]
    target_denoised: Float[np.ndarray, "m n d"]
    gaussians: tuple[Wiener, Wiener]


def shortest_grid(
    fine: FineSolution, steps: int, *, switch: bool
) -> tuple[Float[np.ndarray, " k"], float]:
    """The noise levels [steps + 1] among the fine ones with the least sum of squared errors.

    One grid for both legs, for steps as those of DPM-Solver++(2M), of which the first of each leg
    has no past. switch: whether it may end below the highest level, where the Gaussian switch takes
    over. Returns the levels and that sum, a mean square of the translation. Raises ValueError for
    more steps than there are between the fine levels.
    """
    m = len(fine.levels)
    if steps >= m:
        raise ValueError(f"{m} fine levels have no grid of {steps} steps.")
    up, down = _step_errors(fine, rising=True), _step_errors(fine, rising=False)
    top = _switch_errors(fine)
    if not switch:
        top[:-1] = np.inf
    # cost[a, b]: of the best grid that begins at level 0 and ends with the levels a < b, so far
    cost = np.full((m, m), np.inf)
    cost[0, 1:] = up.first[0, 1:]
    past = []
    for _ in range(steps - 1):
        # after a < b comes c: the way up steps from b to c, the way down from b to a behind c
        total = cost[:, :, None] + up.later + down.later
        past.append(total.argmin(axis=0))
        cost = total.min(axis=0)
    # the way down begins with the step from the last level to the one before it
    ends = cost + down.first.T + top[None]
    before, last = np.unravel_index(ends.argmin(), ends.shape)
    best, chosen = float(ends[before, last]), [last, before]
    for table in reversed(past):
        chosen.append(table[chosen[-1], chosen[-2]])
    return fine.levels[chosen[::-1]], best


class _Errors(NamedTuple):
    """Squared errors of steps: first [from, to] without a past; later [a, b, c], a < b < c.

    Of the way up, later is the step from b to c after that from a; of the way down from b to a
    after that from c. Infinite where the levels are not in that order.
    """

    first: np.ndarray
    later: np.ndarray


def _step_errors(fine: FineSolution, *, rising: bool) -> _Errors:
    levels, m = fine.levels, len(fine.levels)
    states = fine.source if rising else fine.target
    denoised = fine.source_denoised if rising else fine.target_denoised
    vectors = np.concatenate([states, denoised])
    first, later = np.full((m, m), np.inf), np.full((m, m, m), np.inf)
    logs, order = np.log(levels), np.arange(m)
    for end in range(m):
        arrived = _arrived(fine, vectors, end, rising=rising)
        gram = arrived @ arrived.T / arrived.shape[1]
        begins = order[:end] if rising else order[end + 1 :]
        for begin in begins:
            h = logs[end] - logs[begin]
            ratio, growth = np.exp(h), np.expm1(h)
            # ratio y - growth (d + h / (2 h_last) (d - old)) - the fine state at the end
            befores = order[:begin] if rising else order[begin + 1 :]
            slopes = np.concatenate([[0.0], h / (2 * (logs[begin] - logs[befores]))])
            weights = np.zeros((len(slopes), 2 * m))
            weights[:, begin] += ratio
            weights[:, end] -= 1
            weights[:, m + begin] -= growth * (1 + slopes)
            rows = np.arange(1, len(slopes))
            weights[rows, m + befores] += growth * slopes[1:]
            squares = np.einsum("ki,ij,kj->k", weights, gram, weights)
            first[begin, end] = squares[0]
            if rising:
                later[befores, begin, end] = squares[1:]
            else:
                later[end, begin, befores] = squares[1:]
    return _Errors(first, later)


def _arrived(
    fine: FineSolution, vectors: Float[np.ndarray, "k n d"], level: int, *, rising: bool
) -> Float[np.ndarray, "k v"]:
    """Vectors of the fine solution's images as they arrive, those of all images side by side."""
    flat = vectors.reshape(-1, vectors.shape[-1])
    return arriving(fine.gaussians, fine.levels, flat, level, rising=rising).reshape(
        len(vectors), -1
    )


def arriving(
    gaussians: tuple[Wiener, Wiener],
    levels: Float[np.ndarray, " m"],
    changes: Float[np.ndarray, "v d"],
    level: int,
    *,
    rising: bool,
) -> Float[np.ndarray, "v d"]:
    """What small changes at a level become in the translation, by the flows of the Gaussians."""
    sigma, low, high = levels[level], levels[0], levels[-1]
    source, target = gaussians
    if rising:
        return _along(target, _along(source, changes, sigma, high), high, low)
    return _along(target, changes, sigma, low)


def _along(gaussian: Wiener, change: Float[np.ndarray, "v d"], sigma: float, to: float):
    """A change at `sigma` after the Gaussian's flow to another level."""
    variances, rest = (np.asarray(a, np.float64) for a in (gaussian.variances, gaussian.rest))
    basis = np.asarray(gaussian.directions, np.float64).reshape(len(variances), -1)
    ratio = lambda variance: np.sqrt((variance + to**2) / (variance + sigma**2))
    gains = ratio(variances) - ratio(rest)
    return ratio(rest) * change + (gains * (change @ basis.T)) @ basis


def _switch_errors(fine: FineSolution) -> Float[np.ndarray, " m"]:
    """The mean square that the Gaussian switch at each level costs the translation."""
    source, target = fine.gaussians
    high, errors = fine.levels[-1], []
    for level, sigma in enumerate(fine.levels):
        mean = lambda gaussian: np.asarray(gaussian.mean, np.float64).reshape(-1)
        raised = mean(source) + _along(source, fine.source[level] - mean(source), sigma, high)
        lowered = mean(target) + _along(target, raised - mean(target), high, sigma)
        gap = (lowered - fine.target[level])[None]
        errors.append(float(np.mean(_arrived(fine, gap, level, rising=False) ** 2)))
    return np.asarray(errors)

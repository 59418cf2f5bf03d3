"""Classical maps between two clouds of points, and the distance between them: what a translation is
held beside.

A map takes the source's points [n d] and the target's [m d] and returns the source's, moved; arrays
of the host.
"""

import importlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

Points = Float[np.ndarray, "n d"]
OtherPoints = Float[np.ndarray, "m d"]


def _library(name: str):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"The classical maps need {name.split('.')[0]}: install ddib_jax[studies]."
        ) from error


def assignment(source: Points, target: Points) -> tuple[Int[np.ndarray, " n"], float]:
    """For each source point the target point that the optimal plan gives it, and the plan's mean
    squared distance.

    Exact, for equally many points of equal weight (scipy's `linear_sum_assignment`); takes seconds
    for 2,000 points, the third power of that for more. Raises ValueError for clouds of unequal
    size.
    """
    if len(source) != len(target):
        raise ValueError(
            f"An assignment needs equally many points; there are {len(source)} and {len(target)}."
        )
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    cost = (
        np.sum(source**2, axis=1)[:, None] - 2 * source @ target.T + np.sum(target**2, axis=1)[None]
    )
    rows, columns = _library("scipy.optimize").linear_sum_assignment(cost)
    return columns, float(max(cost[rows, columns].mean(), 0.0))


def wasserstein(source: Points, target: Points) -> float:
    """The Wasserstein-2 distance of two equally large samples, the root of the optimal mean squared
    distance.
    """
    return float(np.sqrt(assignment(source, target)[1]))


def earth_mover(source: Points, target: Points) -> Points:
    """Every source point where the optimal assignment puts it."""
    return np.asarray(target)[assignment(source, target)[0]]


def sinkhorn(source: Points, target: OtherPoints, fraction: float = 0.01) -> Points:
    """Every source point at the mean of where the entropic plan sends it (Cuturi 2013; Pooladian
    and Niles-Weed 2021), by ott-jax.

    The regularisation is `fraction` of the mean squared distance.
    """
    clouds, linear = _library("ott.geometry.pointcloud"), _library("ott.solvers.linear")
    geometry = clouds.PointCloud(
        np.asarray(source, np.float32),
        np.asarray(target, np.float32),
        epsilon=fraction,
        relative_epsilon="mean",
    )
    solved = linear.solve(geometry, max_iterations=2000)
    if not bool(solved.converged):
        raise FloatingPointError(
            f"Sinkhorn's iterations did not converge at a regularisation of {fraction:g} of the mean"
            " cost; take more."
        )
    return np.asarray(solved.to_dual_potentials().transport(np.asarray(source, np.float32)))


def monge(source: Points, target: OtherPoints) -> Points:
    """The optimal map between Gaussians of the clouds' means and covariances (Pitie and Kokaram
    2007).
    """
    root = _library("scipy.linalg").sqrtm
    here, there = np.cov(source, rowvar=False), np.cov(target, rowvar=False)
    half = np.real(root(here))
    back = np.linalg.pinv(half)
    matrix = back @ np.real(root(half @ there @ half)) @ back
    return (source - source.mean(axis=0)) @ matrix + target.mean(axis=0)


def reinhard(source: Points, target: OtherPoints) -> Points:
    """Mean and deviation of every coordinate made the target's (Reinhard et al. 2001)."""
    scale = target.std(axis=0) / np.maximum(source.std(axis=0), 1e-12)
    return (source - source.mean(axis=0)) * scale + target.mean(axis=0)


def match_histograms(source: Points, target: OtherPoints) -> Points:
    """The distribution of every coordinate made the target's, each by itself (scikit-image)."""
    return _library("skimage.exposure").match_histograms(
        source[:, None], target[:, None], channel_axis=-1
    )[:, 0]


MAPS: dict[str, Callable[[Points, OtherPoints], Points]] = {
    "earth-mover": earth_mover,
    "sinkhorn": sinkhorn,
    "monge": monge,
    "reinhard": reinhard,
    "histograms": match_histograms,
}


def extended(points: OtherPoints, sample: Points, moved: Points) -> OtherPoints:
    """All points moved as the nearest of a sample was, [m d] from sample and moved [n d]."""
    _, nearest = _library("scipy.spatial").cKDTree(sample).query(points)
    return points + (moved - sample)[nearest]

"""Classical maps between two clouds of points, and the Wasserstein distance between them.

A map takes the source's points [n d] and the target's [m d] and returns the images [n d] of the
source's; arrays of the host. Raises ImportError where a library of the extra `studies` is missing.
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
    """The optimal plan between two clouds [n d], and its mean squared distance.

    The plan is the index [n] of each source point's target point. Exact, for equally many points of
    equal weight (scipy's `linear_sum_assignment`); takes seconds for 2,000 points, and grows with
    the third power of their number. Raises ValueError for clouds of unequal size.
    """
    if len(source) != len(target):
        raise ValueError(
            f"An assignment needs equally many points; there are {len(source)} and {len(target)}."
        )
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    squares = np.sum(source**2, axis=1)[:, None], np.sum(target**2, axis=1)[None]
    cost = squares[0] - 2 * source @ target.T + squares[1]
    rows, columns = _library("scipy.optimize").linear_sum_assignment(cost)
    return columns, float(max(cost[rows, columns].mean(), 0.0))


def wasserstein(source: Points, target: Points) -> float:
    """The Wasserstein-2 distance of two equally large samples, in the points' own unit.

    It is the root of the optimal mean squared distance. Raises as `assignment` does.
    """
    return float(np.sqrt(assignment(source, target)[1]))


def earth_mover(source: Points, target: Points) -> Points:
    """The target point of every source point under the optimal assignment."""
    return np.asarray(target)[assignment(source, target)[0]]


def sinkhorn(source: Points, target: OtherPoints, *, fraction: float = 0.01) -> Points:
    """The mean of the entropic plan at every source point, by ott-jax.

    The plan is that of Cuturi (2013), the map that of Pooladian and Niles-Weed (2021). The
    regularisation is `fraction` of the mean squared distance. Raises FloatingPointError where the
    iterations do not converge.
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
            f"Sinkhorn's iterations did not converge at a regularisation of {fraction:g} of the"
            " mean cost; take more."
        )
    return np.asarray(solved.to_dual_potentials().transport(np.asarray(source, np.float32)))


def monge(source: Points, target: OtherPoints) -> Points:
    """The optimal map between Gaussians of the clouds' moments (Pitie and Kokaram 2007)."""
    root = lambda matrix: np.real(_library("scipy.linalg").sqrtm(matrix))
    half = root(np.cov(source, rowvar=False))
    inverse = np.linalg.pinv(half)
    matrix = inverse @ root(half @ np.cov(target, rowvar=False) @ half) @ inverse
    return (source - source.mean(axis=0)) @ matrix + target.mean(axis=0)


def reinhard(source: Points, target: OtherPoints) -> Points:
    """The source with the target's mean and deviation per coordinate (Reinhard et al. 2001)."""
    scale = target.std(axis=0) / np.maximum(source.std(axis=0), 1e-12)
    return (source - source.mean(axis=0)) * scale + target.mean(axis=0)


def match_histograms(source: Points, target: OtherPoints) -> Points:
    """The source with the target's distribution of every single coordinate, by scikit-image."""
    match = _library("skimage.exposure").match_histograms
    return match(source[:, None], target[:, None], channel_axis=-1)[:, 0]


MAPS: dict[str, Callable[[Points, OtherPoints], Points]] = {
    "earth-mover": earth_mover,
    "sinkhorn": sinkhorn,
    "monge": monge,
    "reinhard": reinhard,
    "histograms": match_histograms,
}
"""Name -> map."""


def extended(points: OtherPoints, sample: Points, moved: Points) -> OtherPoints:
    """A map known on a sample extended to other points [m d].

    Each is moved as the nearest of `sample` [n d] was to `moved` [n d].
    """
    _, nearest = _library("scipy.spatial").cKDTree(sample).query(points)
    return points + (moved - sample)[nearest]

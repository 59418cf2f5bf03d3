"""Classical maps between two clouds of points, and the Wasserstein distance between them.

A map takes the source's points [n d] and the target's [m d] and returns the images [n d] of the
source's; arrays of the host. `EntropicMap` is one that is kept, for points that come later. Raises
ImportError where a library of the extra `studies` is missing.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddib_jax.types import Data, Scalar

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


@dataclass(frozen=True, eq=False)
class EntropicMap:
    """The optimal map between two clouds, smoothed by entropy, for points that were in neither.

    A point goes to the mean of the target's points, of which each counts by the entropic plan
    (Cuturi 2013) continued to it by the plan's potentials (Pooladian and Niles-Weed 2021). Where
    the points have many coordinates the map should act in few `directions`, and it leaves all
    others as they are: noise of thousands of coordinates has hardly any nearer and farther points.
    It is a perturbation: as `DDIB(..., 1.0, perturb=map)` it aligns the source's latents with the
    target's, as OT-ALD (Wang et al. 2026) does.

    targets [m k], potentials [m], epsilon: of the plan. directions [k d], orthonormal rows; None
    for all, as they are.
    """

    targets: Float[Array, "m k"]
    potentials: Float[Array, " m"]
    epsilon: float
    directions: Float[Array, "k d"] | None = None

    @classmethod
    def fit(
        cls,
        source: Float[np.ndarray, "n ..."],
        target: Float[np.ndarray, "m ..."],
        *,
        directions: Float[np.ndarray, "k d"] | None = None,
        fraction: float = 0.01,
    ) -> "EntropicMap":
        """The map of the entropic plan between two clouds, by ott-jax.

        directions: those in which it acts, orthonormal rows; None for all. fraction: the
        regularisation, of the mean squared distance. Raises FloatingPointError where the iterations
        do not converge.
        """
        clouds, linear = _library("ott.geometry.pointcloud"), _library("ott.solvers.linear")
        here, there = (np.asarray(x, np.float32).reshape(len(x), -1) for x in (source, target))
        if directions is not None:
            here, there = (np.asarray(x @ directions.T, np.float32) for x in (here, there))
        geometry = clouds.PointCloud(here, there, epsilon=fraction, relative_epsilon="mean")
        solved = linear.solve(geometry, max_iterations=2000)
        if not bool(solved.converged):
            raise FloatingPointError(
                f"Sinkhorn's iterations did not converge at a regularisation of {fraction:g} of the"
                " mean cost; take more."
            )
        return cls(
            jnp.asarray(there),
            solved.g,
            float(geometry.epsilon),
            None if directions is None else jnp.asarray(directions, jnp.float32),
        )

    def __call__(self, points: Data, coefficient: Scalar | float, context: Any) -> Data:
        """The points [b ...] moved by the coefficient's share of their way; context is not used."""
        flat = points.reshape(len(points), -1)
        inside = flat if self.directions is None else flat @ self.directions.T
        squares = jnp.sum((inside[:, None] - self.targets[None]) ** 2, axis=-1)
        plan = jax.nn.softmax((self.potentials - squares) / self.epsilon, axis=1)
        way = plan @ self.targets - inside
        way = way if self.directions is None else way @ self.directions
        return points + coefficient * way.reshape(points.shape)


def widest(*clouds: Float[np.ndarray, "_ ..."], count: int) -> Float[np.ndarray, "k d"]:
    """The `count` orthonormal directions in which several clouds together vary most, as rows.

    Raises ValueError for no direction, and for as many as there are coordinates, or more.
    """
    points = np.concatenate([cloud.reshape(len(cloud), -1) for cloud in clouds])
    if not 0 < count < points.shape[1]:
        raise ValueError(
            f"Of points with {points.shape[1]} coordinates 1 to {points.shape[1] - 1} directions"
            f" can be chosen, not {count}."
        )
    _, found = _library("scipy.sparse.linalg").eigsh(np.cov(points, rowvar=False), count)
    return np.ascontiguousarray(found.T[::-1])


def sinkhorn(source: Points, target: OtherPoints, *, fraction: float = 0.01) -> Points:
    """The images of the source's points under the `EntropicMap` of the two clouds.

    Raises FloatingPointError as its `fit` does.
    """
    fitted = EntropicMap.fit(source, target, fraction=fraction)
    return np.asarray(fitted(jnp.asarray(source, jnp.float32), 1.0, None))


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

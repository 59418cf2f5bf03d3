"""The classical maps on clouds whose optimal plan is known."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.transport import (
    MAPS,
    EntropicMap,
    assignment,
    extended,
    monge,
    reinhard,
    wasserstein,
    widest,
)

RNG = np.random.default_rng(0)
CLOUD = RNG.normal(size=(300, 3))
# symmetric and positive: the gradient of a convex function
STRETCH = np.array([[1.5, 0.3, 0.0], [0.3, 0.8, -0.2], [0.0, -0.2, 0.6]])


def test_a_monotone_map_is_optimal():
    """Points under the gradient of a convex function are matched with themselves (Brenier)."""
    target = CLOUD @ STRETCH + [1.0, 0.0, -2.0]
    order = RNG.permutation(300)
    indices, cost = assignment(CLOUD, target[order])
    np.testing.assert_array_equal(order[indices], np.arange(300))
    assert cost == pytest.approx(np.mean(np.sum((target - CLOUD) ** 2, axis=1)))
    assert wasserstein(CLOUD, target[order]) == pytest.approx(np.sqrt(cost))


def test_the_gaussian_map_is_that_matrix():
    target = CLOUD @ STRETCH + [1.0, 0.0, -2.0]
    np.testing.assert_allclose(monge(CLOUD, target), target, atol=1e-6)


def test_reinhard_gives_means_and_deviations():
    target = RNG.normal(size=(50, 3)) * [2, 0.1, 1] + [1, 2, 3]
    moved = reinhard(CLOUD, target)
    np.testing.assert_allclose(
        [moved.mean(0), moved.std(0)], [target.mean(0), target.std(0)], atol=1e-12
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", MAPS)
def test_every_map_brings_a_cloud_nearer(name):
    library = {"sinkhorn": "ott", "histograms": "skimage"}.get(name, "scipy")
    pytest.importorskip(library, reason="extra 'studies'")
    target = CLOUD[RNG.permutation(300)] @ STRETCH + [1.0, 0.0, -2.0]
    moved = MAPS[name](CLOUD, target)
    assert moved.shape == CLOUD.shape
    assert np.isfinite(moved).all()
    assert wasserstein(moved, target) < 0.3 * wasserstein(CLOUD, target)


def test_a_map_of_other_points_in_few_directions():
    """Points that were in neither cloud go where the optimal map takes them; noise stays."""
    pytest.importorskip("ott", reason="extra 'studies'")
    noise = RNG.normal(size=(2000, 20)) * 0.01
    source, target, new = noise[:900].copy(), noise[900:1800].copy(), noise[1800:].copy()
    for cloud in (source, target, new):
        cloud[:, :2] += RNG.normal(size=(len(cloud), 2))
    matrix = np.array([[1.5, 0.3], [0.3, 0.8]])
    target[:, :2] = target[:, :2] @ matrix + [3.0, 0.0]
    both = widest(source, target, count=2)
    np.testing.assert_allclose(np.linalg.norm(both[:, :2], axis=1), 1, atol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # of a precision that is not there
        fitted = EntropicMap.fit(
            source.reshape(-1, 4, 5), target.reshape(-1, 4, 5), directions=both
        )
    points = jnp.asarray(new.reshape(-1, 4, 5), jnp.float32)
    moved = np.asarray(jax.jit(fitted)(points, 1.0, {})).reshape(-1, 20)
    exact = new[:, :2] @ matrix + [3.0, 0.0]
    assert np.sqrt(np.mean((moved[:, :2] - exact) ** 2)) < 0.3
    np.testing.assert_allclose(moved[:, 2:], new[:, 2:], atol=0.1)
    half = np.asarray(fitted(points, 0.5, None)).reshape(-1, 20)
    np.testing.assert_allclose(half, (new + moved) / 2, atol=1e-5)


def test_it_is_the_map_of_ott():
    pytest.importorskip("ott", reason="extra 'studies'")
    from ott.geometry.pointcloud import PointCloud
    from ott.solvers import linear

    target = CLOUD[:200] @ STRETCH
    source, target = (np.asarray(cloud, np.float32) for cloud in (CLOUD, target))
    solved = linear.solve(PointCloud(source, target, epsilon=0.05, relative_epsilon="mean"))
    expected = solved.to_dual_potentials().transport(source[:10])
    found = EntropicMap.fit(source, target, fraction=0.05)(jnp.asarray(source[:10]), 1.0, None)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_more_directions_than_coordinates_are_refused(unchecked):
    with pytest.raises(ValueError, match="1 to 2 directions can be chosen, not 3"):
        widest(CLOUD, CLOUD, count=3)


def test_other_points_follow_the_nearest():
    moved = extended(CLOUD[:5] + 1e-6, CLOUD, CLOUD + np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(moved, CLOUD[:5] + 1e-6 + [1.0, 2.0, 3.0])


def test_unequal_clouds_are_refused(unchecked):
    with pytest.raises(ValueError, match="equally many points; there are 300 and 2"):
        assignment(CLOUD, CLOUD[:2])

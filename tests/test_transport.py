"""The classical maps on clouds whose optimal plan is known."""

import numpy as np
import pytest

from ddib_jax.transport import MAPS, assignment, extended, monge, reinhard, wasserstein

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


def test_other_points_follow_the_nearest():
    moved = extended(CLOUD[:5] + 1e-6, CLOUD, CLOUD + np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(moved, CLOUD[:5] + 1e-6 + [1.0, 2.0, 3.0])


def test_unequal_clouds_are_refused(unchecked):
    with pytest.raises(ValueError, match="equally many points; there are 300 and 2"):
        assignment(CLOUD, CLOUD[:2])

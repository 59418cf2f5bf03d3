"""Two sets of pictures beside each other: figures of pairs and of sets, intervals, features."""

import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.evaluation import Classifier, compare, network_features
from ddib_jax.metrics.distributional import frechet_distance, kernel_distance
from ddib_jax.metrics.intervals import jackknife_of_two


class Means:
    """A network whose features are the means of an image's channels."""

    def apply(self, variables, x):
        means = x.mean(axis=(1, 2))
        return means, means


class Named(list):
    names = ()


def pictures(count, seed, shape=(12, 12, 3), shift=0.0):
    rng = np.random.default_rng(seed)
    return [np.clip(rng.normal(shift, 0.3, shape), -1, 1).astype(np.float32) for _ in range(count)]


def rows_of(comparison):
    return {row.name: row for row in comparison.rows}


def test_errors_are_in_the_unit_of_the_range():
    reference = pictures(6, 0)
    results = [np.clip(picture * 0.5, -1, 1) for picture in reference]
    by_range = {width: compare(results, reference, data_range=width) for width in (2.0, 3000.0)}
    small, large = (rows_of(found) for found in by_range.values())
    assert large["mae"].value == pytest.approx(1500 * small["mae"].value)
    assert large["set_histogram_drift"].value == pytest.approx(
        1500 * small["set_histogram_drift"].value, rel=1e-3
    )
    for name in ("psnr", "ssim", "ncc"):
        assert large[name].value == pytest.approx(small[name].value)
    assert by_range[2.0].values["mae"].shape == (6,)


def test_pictures_of_several_sizes_have_features_of_one_network():
    named = Named(pictures(3, 0) + pictures(20, 1, (8, 20, 1)))
    found = network_features(Classifier(jnp.zeros(()), Means()), named)
    assert found.shape == (23, 3)
    means = [picture.mean() for picture in named]
    np.testing.assert_allclose(found.mean(axis=1), means, atol=0.02)


def test_sets_have_distances_with_intervals():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 4)), rng.normal(size=(50, 4)) + 2
    found = rows_of(
        compare(pictures(60, 0), pictures(50, 1, shift=0.2), paired=False, features=features)
    )
    assert found["set_frechet"].value == pytest.approx(frechet_distance(*features))
    assert found["set_kernel"].value == pytest.approx(kernel_distance(*features))
    assert found["set_kernel"].low > 0  # the shift is seen
    assert found["precision"].low < found["precision"].value < found["precision"].high
    assert "mae" not in found


def test_the_jackknife_covers_a_mean_difference():
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(200):
        first, second = rng.normal(size=(40, 1)), rng.normal(size=(60, 1)) + 1
        found = jackknife_of_two(first, second, lambda a, b: float(b.mean() - a.mean()))
        inside.append(found.low <= 1 <= found.high)
    assert 0.9 < np.mean(inside) < 0.99


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="0 results and 3 references"):
        compare([], pictures(3, 0), paired=False)
    with pytest.raises(ValueError, match="zip"):
        compare(pictures(2, 0), pictures(3, 0))
    with pytest.raises(ValueError, match="pair 'b' has a result of 12 x 12 x 3"):
        compare(pictures(2, 0), [*pictures(1, 0), *pictures(1, 0, (4, 4, 3))], names=("a", "b"))

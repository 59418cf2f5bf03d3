"""Distances between sets of features, against closed forms."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from ddib_jax.metrics.distributional import (
    frechet_distance,
    frechet_real,
    kernel_distance,
    split_halves,
)


def test_frechet_distance_of_a_set_to_itself_is_zero():
    features = np.random.default_rng(0).normal(size=(50, 8))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_is_the_closed_form_of_the_fits():
    rng = np.random.default_rng(1)
    first = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6))
    second = rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6)) + 1
    cov_a, cov_b = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    shift = first.mean(axis=0) - second.mean(axis=0)
    expected = shift @ shift + np.trace(cov_a + cov_b - 2 * np.real(sqrtm(cov_a @ cov_b)))
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-8)


def test_frechet_distance_of_shifted_and_scaled_gaussians():
    rng = np.random.default_rng(2)
    base = rng.normal(size=(20000, 4))
    assert frechet_distance(base, 2 * rng.normal(size=(20000, 4)) + 3) == pytest.approx(
        4 * (9 + 1), rel=0.02
    )


def test_frechet_distance_takes_fewer_rows_than_columns():
    features = np.random.default_rng(3).normal(size=(5, 20))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(features[:, :1], features[:, :1] + 2) == pytest.approx(4)


def test_kernel_distance_is_unbiased_and_sees_a_shift():
    rng = np.random.default_rng(4)
    equal = [
        kernel_distance(rng.normal(size=(30, 5)), rng.normal(size=(40, 5))) for _ in range(200)
    ]
    assert abs(np.mean(equal)) < 4 * np.std(equal) / np.sqrt(len(equal))
    assert min(equal) < 0
    assert kernel_distance(rng.normal(size=(100, 5)), rng.normal(size=(100, 5)) + 1) > 5 * np.std(
        equal
    )


def test_real_sets_are_nearer_than_another_distribution_and_nearer_in_larger_sets():
    rng = np.random.default_rng(5)
    reference, pool = rng.normal(size=(300, 10)), rng.normal(size=(900, 10))
    distances = frechet_real(reference, pool, size=200, repeats=5)
    assert distances.shape == (5,)
    assert distances.max() < frechet_distance(rng.normal(size=(200, 10)) + 1, reference)
    assert frechet_real(reference, pool, size=800, repeats=5).mean() < distances.mean()


def test_halves_are_disjoint_and_equal():
    features = np.arange(18.0).reshape(9, 2)
    first, second = split_halves(features, seed=1)
    assert first.shape == second.shape == (4, 2)
    assert not set(first[:, 0]) & set(second[:, 0])


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="at least 2 rows"):
        frechet_distance(np.zeros((1, 3)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="one and the same network"):
        kernel_distance(np.zeros((4, 3)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match="NaN or an infinity"):
        frechet_distance(np.full((4, 3), np.nan), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="Real sets of 5 were asked of a pool of 4"):
        frechet_real(np.zeros((4, 3)), np.zeros((4, 3)), size=5)

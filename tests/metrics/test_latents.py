"""Moments of latents: white noise passes, and every fault has its own figure."""

import numpy as np
import pytest
from scipy import stats

from ddib_jax.metrics import METRICS, latents


@pytest.fixture(scope="module")
def white():
    return np.random.default_rng(0).normal(size=(60, 16, 16, 3))


@pytest.mark.parametrize(
    ("name", "ideal"),
    [
        ("latent_mean", 0),
        ("latent_variance", 1),
        ("latent_kurtosis", 0),
        ("latent_ks", 0),
        ("latent_neighbours", 0),
        ("latent_channel_std", 1),
    ],
)
def test_white_noise_is_called_white(white, name, ideal):
    estimate = METRICS[name]({"latent": white})
    assert estimate.n == len(white)
    assert estimate.value == pytest.approx(
        ideal, abs=0.12 if name == "latent_channel_std" else 0.03
    )
    assert estimate.low <= estimate.high


def test_moments_are_those_of_the_pooled_values(white):
    skewed = np.exp(0.3 * white) + 2
    raw = latents.moments(skewed).mean(axis=0)
    assert latents.mean_of(raw) == pytest.approx(skewed.mean())
    assert latents.variance_of(raw) == pytest.approx(skewed.var())
    assert latents.excess_kurtosis_of(raw) == pytest.approx(
        stats.kurtosis(skewed.ravel()), rel=1e-6
    )


@pytest.mark.parametrize(
    "change", [lambda z: 0.8 * z, lambda z: z + 0.2, lambda z: z**3, lambda z: np.sign(z)]
)
def test_kolmogorov_smirnov_agrees_with_scipy(white, change):
    values = change(white)
    found = latents.kolmogorov_smirnov_of(latents.gaussian_distribution(values).mean(axis=0))
    exact = stats.kstest(values.ravel(), "norm").statistic
    assert exact - 1 / 512 <= found <= exact + 1e-9


def test_neighbours_of_a_smooth_latent_agree(white):
    smooth = (
        white + np.roll(white, 1, 1) + np.roll(white, 1, 2) + np.roll(white, (1, 1), (1, 2))
    ) / 2
    found = latents.neighbour_correlation_of(latents.neighbour_moments(smooth).mean(axis=0))
    assert found == pytest.approx(0.5, abs=0.02)


def test_channel_sums_see_a_common_colour(white):
    tinted = white + np.random.default_rng(1).normal(size=(len(white), 1, 1, 3)) / 8
    found = latents.lowest_frequency_deviation_of(latents.channel_sums(tinted).mean(axis=0))
    assert found == pytest.approx(np.sqrt(1 + 4), rel=0.12)


def test_a_constant_latent_has_no_shape():
    flat = np.ones((2, 4, 4, 1))
    assert np.isnan(latents.excess_kurtosis_of(latents.moments(flat).mean(axis=0)))
    assert np.isnan(latents.neighbour_correlation_of(latents.neighbour_moments(flat).mean(axis=0)))


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="at least one latent"):
        latents.moments(np.zeros((0, 4)))
    with pytest.raises(ValueError, match="NaN or an infinity"):
        latents.gaussian_distribution(np.full((1, 4), np.inf))
    with pytest.raises(ValueError, match="at least 2"):
        latents.neighbour_moments(np.zeros((1, 1, 4, 1)))
    with pytest.raises(ValueError, match=r"\[n, h, w, c\]"):
        latents.channel_sums(np.zeros((1, 4)))

"""Intervals: their coverage, their agreement, and what takes no part in them."""

from functools import partial

import numpy as np
import pytest

from ddib_jax.metrics import bootstrap, correlation, proportion
from ddib_jax.metrics.intervals import bootstrap_of_means, percentile_90, spread


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).normal(size=80)
    assert bootstrap(values, np.median, seed=3) == bootstrap(values, np.median, seed=3)
    assert bootstrap(values, np.median, seed=3) != bootstrap(values, np.median, seed=4)


@pytest.mark.slow
@pytest.mark.parametrize("median", [False, True])
def test_an_interval_of_95_percent_covers_about_as_often(median):
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(300):
        values = rng.normal(size=60)
        if median:
            found = bootstrap(values, np.median, resamples=200, seed=trial)
        else:
            found = bootstrap_of_means(
                values[:, None], lambda means: means[0], resamples=400, seed=trial
            )
        hits += found.low <= 0 <= found.high
    assert 0.89 <= hits / 300 <= 0.99


def test_both_bootstraps_of_a_mean_agree():
    values = np.random.default_rng(2).exponential(size=200)
    one = bootstrap(values, np.mean, resamples=4000)
    other = bootstrap_of_means(values[:, None], lambda means: means[0], resamples=4000)
    assert one.value == pytest.approx(other.value)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=0.02)


def test_images_that_cannot_be_measured_are_left_out_and_not_counted():
    values = np.array([1.0, np.nan, 2.0, 3.0])
    assert bootstrap(values, np.mean).value == 2
    assert bootstrap(values, np.mean).n == 3
    nothing = bootstrap(np.full(3, np.nan), np.mean)
    assert np.isnan(nothing.value)
    assert (nothing.low, nothing.high, nothing.n) == (None, None, 0)
    assert (
        bootstrap_of_means(np.full((3, 1), np.nan), lambda means: means[0]).n
        == proportion(np.array([np.nan])).n
        == 0
    )
    assert spread(np.array([np.nan])).n == 0


def test_proportion_is_wilsons_interval():
    found = proportion(np.repeat([1.0, 0.0], [15, 5]))
    assert found.value == 0.75
    assert (found.low, found.high) == pytest.approx((0.531299, 0.888138), abs=1e-5)
    everything = proportion(np.ones(892, bool))
    assert everything.value == everything.high == 1
    assert 0.99 < everything.low < 1
    with pytest.raises(ValueError, match="zeros and ones"):
        proportion(np.array([0.5]))


def test_spread_holds_most_draws():
    found = spread(np.arange(101.0))
    assert (found.value, found.low, found.high, found.n) == pytest.approx((50, 2.5, 97.5, 101))


def test_statistics():
    ramp = np.arange(11.0)
    assert percentile_90(ramp) == 9
    assert correlation(np.stack([ramp, -3 * ramp + 1], axis=1)) == pytest.approx(-1)
    assert np.isnan(correlation(np.stack([ramp, np.ones(11)], axis=1)))


@pytest.mark.parametrize("estimate", [partial(bootstrap, statistic=np.mean), proportion, spread])
def test_a_confidence_beyond_its_range_is_refused(estimate):
    with pytest.raises(ValueError, match="between 0 and 1"):
        estimate(np.ones(3), confidence=95.0)

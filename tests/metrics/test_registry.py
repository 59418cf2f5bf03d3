"""Every registered metric: an estimate with its words, and perfect on a perfect translation."""

import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.metrics import METRICS, Estimate, Metric

COUNT = 40


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    value = np.clip(rng.normal(0.3, 0.5, size=(COUNT, 10, 10, 1)), 0, 1)
    colour = rng.uniform(size=(COUNT, 1, 1, 3))
    source = jnp.asarray(value * colour / colour.max(axis=-1, keepdims=True) * 2 - 1, jnp.float32)
    large = rng.uniform(0, 255, size=(4, 176, 176, 1))  # as large as MS-SSIM wants them
    return {
        "source": source,
        "translation": source,
        "reconstruction": source,
        "cycle": source,
        "latent": jnp.asarray(rng.normal(size=source.shape), jnp.float32),
        "translation_logits": np.eye(10)[np.full(COUNT, 7)],
        "source_class": 5,
        "labels": np.full(COUNT, 7),
        "partner": source,
        "target_class": 7,
        "translation_features": rng.normal(size=(COUNT, 6)),
        "target_features": rng.normal(size=(50, 6)),
        "target_pool_features": rng.normal(size=(120, 6)),
        "result": large + rng.normal(size=large.shape),
        "reference": large,
        "data_range": 255.0,
        "result_unit": large / 127.5 - 1,
        "reference_unit": large / 127.5 - 1,
        "perceptual": lambda first, second: np.abs(first - second).mean((1, 2, 3)),
        "result_features": rng.normal(size=(COUNT, 6)),
        "reference_features": rng.normal(size=(50, 6)),
        "result_distributions": np.sort(rng.uniform(size=(COUNT, 256, 3)), axis=1),
        "reference_distributions": np.sort(rng.uniform(size=(50, 256, 3)), axis=1),
    }


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_gives_an_estimate_with_words(samples, name):
    metric = METRICS[name]
    estimate = metric(samples)
    assert isinstance(estimate, Estimate)
    assert np.isfinite(estimate.value)
    assert estimate.n > 0
    has_none = metric.summarise is None and not name.startswith("set_")
    assert (estimate.low is None) == has_none
    assert metric.label
    assert metric.available(samples)
    assert not metric.available({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("called_target", 1),
        ("called_source", 0),
        ("hue_error", 0),
        ("hue_error_p90", 0),
        ("hue_unmeasured", 0),
        ("saturation_change", 0),
        ("thickness_change", 0),
        ("thickness_correlation", 1),
        ("area_correlation", 1),
        ("slant_correlation", 1),
        ("label_kept", 1),
        ("source_distance", 0),
        ("partner_error", 0),
        ("reconstruction_error", 0),
        ("cycle_error", 0),
    ],
)
def test_a_perfect_translation_scores_perfectly(samples, name, value):
    assert METRICS[name](samples).value == pytest.approx(value, abs=1e-9)


def test_a_missing_sample_is_named():
    with pytest.raises(ValueError, match="latent is missing"):
        METRICS["latent_mean"]({})


def test_a_metric_without_images_of_its_own_has_no_interval():
    metric = Metric("Count", takes=("things",), measure=lambda things: float(len(things)))
    assert metric({"things": np.zeros(4)}) == Estimate(4.0, None, None, 4)

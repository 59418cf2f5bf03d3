"""Which images are strange to a model, and where a translation depends on what should not count."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import DDIB, Bridge, translation
from ddib_jax.analytic import mixture_model
from ddib_jax.diagnosis.trust import Domain, deviations, domain_features, strange, variations

SHAPE = (4, 4, 1)
MODEL = mixture_model(jnp.zeros((1, *SHAPE)), jnp.asarray([0.25]))
BRIDGE = Bridge.over(MODEL, steps=12)


def drawn(count, seed, scale=0.5, shift=0.0):
    values = shift + scale * np.random.default_rng(seed).normal(size=(count, *SHAPE))
    return values.astype(np.float32)


def test_false_alarms_are_as_many_as_stated():
    """Over held-out sets of the domain, the share above the threshold is at most that stated."""
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(60):
        domain = Domain.of(rng.normal(size=(200, 3)) * [1, 2, 5], false_alarms=0.1)
        shares.append(
            np.mean(domain.score(rng.normal(size=(500, 3)) * [1, 2, 5]) > domain.threshold)
        )
    assert 0.07 < np.mean(shares) < 0.12


@pytest.mark.slow
def test_what_the_model_does_not_know_is_strange():
    look = lambda images, seed: domain_features(BRIDGE, images, key=jax.random.key(seed))
    domain = Domain.of(look(drawn(200, 0), 0))
    own, wide, moved = (
        domain.score(look(drawn(60, seed, **more), seed))
        for seed, more in ((1, {}), (2, {"scale": 1.5}), (3, {"shift": 1.0}))
    )
    assert np.mean(own > domain.threshold) < 0.15
    assert np.mean(wide > domain.threshold) > 0.9
    assert np.mean(moved > domain.threshold) > 0.9
    words = strange(domain, np.asarray([0.1, 1e3]), ["plain", "odd"])
    assert words.startswith("1 of 2 images do not look like")
    assert "odd (1000.0)" in words
    assert "5 in 100" in words
    assert strange(domain, np.asarray([0.1]), ["plain"]) == ""


@pytest.mark.slow
def test_features_do_not_depend_on_the_batch():
    images = drawn(6, 0)
    whole, parts = (
        domain_features(BRIDGE, images, key=jax.random.key(0), batch_size=size) for size in (6, 3)
    )
    np.testing.assert_allclose(whole, parts, rtol=1e-3, atol=1e-3)


def test_a_translation_that_is_sure_hardly_deviates():
    """Where data are one Gaussian, noise of the lowest level alone moves a translation."""
    ddib = DDIB(BRIDGE, BRIDGE)
    found = deviations(ddib, drawn(3, 0), 4, key=jax.random.key(0))
    assert found.shape == (3, 4, 4, 1)
    assert 0 < found.max() < 5 * float(BRIDGE.sigmas[0]) + 0.02


def test_a_translation_that_could_go_either_way_deviates():
    two = jnp.stack([jnp.full(SHAPE, -1.0), jnp.full(SHAPE, 1.0)])
    target = Bridge.over(mixture_model(two, jnp.full(2, 1e-4)), steps=12)
    ddib = DDIB(BRIDGE, target)
    sure, torn = np.full((1, *SHAPE), 0.6, np.float32), np.full((1, *SHAPE), 1e-4, np.float32)
    found = deviations(ddib, np.concatenate([sure, torn]), 6, key=jax.random.key(0))
    assert found[1].mean() > 10 * found[0].mean()


def test_the_first_variation_is_the_method_itself():
    ddib = DDIB(BRIDGE, BRIDGE)
    first, *others = variations(ddib, 4, overlap=0.5)
    assert float(first.source.sigmas[-1]) == float(BRIDGE.sigmas[-1])
    ends = [float(varied.source.sigmas[-1]) for varied in others]
    assert len(set(ends)) == 3
    assert all(BRIDGE.sigmas[-1] / 3 <= end < BRIDGE.sigmas[-1] for end in ends)
    tiled = variations(translation.tiled(replace(ddib), 11, 9), 3, overlap=0.5)
    rows = [np.asarray(varied.source.model.tiling.rows) for varied in tiled]
    assert not np.array_equal(rows[0], rows[1])
    assert all(len(row) == len(rows[0]) for row in rows)


def test_what_nothing_can_be_said_by_is_refused():
    with pytest.raises(ValueError, match="too few for a share of"):
        Domain.of(np.random.default_rng(0).normal(size=(20, 3)))
    with pytest.raises(ValueError, match="at least two"):
        deviations(DDIB(BRIDGE, BRIDGE), drawn(1, 0), 1, key=jax.random.key(0))

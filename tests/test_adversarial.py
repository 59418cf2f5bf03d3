"""Losses of the game, and the pool of past images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.adversarial import GAN_LOSSES, ImagePool


def test_losses_are_the_papers():
    logits = jnp.asarray([0.5, -2.0])
    assert float(GAN_LOSSES["lsgan"](logits, 1.0)) == pytest.approx((0.25 + 9) / 2)
    expected = -np.log(1 / (1 + np.exp(-np.asarray([0.5, -2.0])))).mean()
    assert float(GAN_LOSSES["vanilla"](logits, 1.0)) == pytest.approx(expected, rel=1e-6)
    assert float(GAN_LOSSES["vanilla"](-logits, 0.0)) == pytest.approx(expected, rel=1e-6)


def test_a_pool_for_nothing_shows_what_is_made():
    shown, _ = ImagePool.empty(0, (2, 2, 1)).exchanged(jax.random.key(0), jnp.ones((3, 2, 2, 1)))
    assert jnp.array_equal(shown, jnp.ones((3, 2, 2, 1)))


def test_a_pool_fills_and_then_exchanges():
    exchanged = jax.jit(ImagePool.exchanged)
    pool, images = (
        ImagePool.empty(8, (2, 2, 1)),
        jnp.arange(200.0).reshape(-1, 1, 1, 1) * jnp.ones((2, 2, 1)),
    )
    shown, pool = exchanged(pool, jax.random.key(0), images[:6])
    assert jnp.array_equal(shown, images[:6])
    assert float(pool.filled) == 6
    shown, pool = exchanged(pool, jax.random.key(1), images[6:200])
    values = np.asarray(shown[:, 0, 0, 0])
    fresh = values == np.arange(6, 200)
    assert fresh[:2].all()
    assert 0.35 < fresh.mean() < 0.65
    assert (values[~fresh] < np.arange(6, 200)[~fresh]).all()
    assert float(pool.filled) == 8
    kept = set(np.asarray(pool.images[:, 0, 0, 0]).tolist())
    assert len(kept) == 8
    assert kept.isdisjoint(values[~fresh].tolist())

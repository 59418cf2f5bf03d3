"""Adversarial losses, and the pool of past images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.gan import GAN_LOSSES, ImagePool


def test_losses_are_the_papers():
    logits = jnp.asarray([0.5, -2.0])
    assert float(GAN_LOSSES["lsgan"](logits, 1.0)) == pytest.approx((0.25 + 9) / 2)
    expected = -np.log(1 / (1 + np.exp(-np.asarray([0.5, -2.0])))).mean()
    assert float(GAN_LOSSES["vanilla"](logits, 1.0)) == pytest.approx(expected, rel=1e-6)
    assert float(GAN_LOSSES["vanilla"](-logits, 0.0)) == pytest.approx(expected, rel=1e-6)


def test_an_empty_pool_returns_what_is_generated():
    returned, _ = ImagePool.empty(0, (2, 2, 1)).exchanged(jax.random.key(0), jnp.ones((3, 2, 2, 1)))
    assert jnp.array_equal(returned, jnp.ones((3, 2, 2, 1)))


def test_a_pool_fills_and_then_exchanges():
    exchanged = jax.jit(ImagePool.exchanged)
    pool = ImagePool.empty(8, (2, 2, 1))
    images = jnp.arange(200.0).reshape(-1, 1, 1, 1) * jnp.ones((2, 2, 1))
    returned, pool = exchanged(pool, jax.random.key(0), images[:6])
    assert jnp.array_equal(returned, images[:6])
    assert float(pool.filled) == 6
    returned, pool = exchanged(pool, jax.random.key(1), images[6:200])
    values = np.asarray(returned[:, 0, 0, 0])
    is_new = values == np.arange(6, 200)
    assert is_new[:2].all()
    assert 0.35 < is_new.mean() < 0.65
    assert (values[~is_new] < np.arange(6, 200)[~is_new]).all()
    assert float(pool.filled) == 8
    stored = set(np.asarray(pool.images[:, 0, 0, 0]).tolist())
    assert len(stored) == 8
    assert stored.isdisjoint(values[~is_new].tolist())

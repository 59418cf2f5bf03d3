"""Regularised inversion, against plain numpy and on a model whose answers are known."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.analytic import mixture_model
from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.bridge.couplings import Cosines, Linear
from ddib_jax.editing import RegularisedInversion
from ddib_jax.editing.regularised import autocorrelation, divergence, whitened
from ddib_jax.solvers import EULER
from ddib_jax.types import Translator

SHAPE = (16, 16, 3)
WHITE = jax.random.normal(jax.random.key(0), SHAPE)
BLURRED = 3 * (WHITE + jnp.roll(WHITE, 1, 0) + jnp.roll(WHITE, 1, 1)) + 0.5
SHIFTS = jax.random.uniform(jax.random.key(1), (5, 5, 2))


def halves(picture):
    h, w, c = picture.shape
    return picture.reshape(h // 2, 2, w // 2, 2, c).mean(axis=(1, 3))


def test_neighbours_have_little_in_common():
    noise = np.asarray(BLURRED, np.float64)
    expected = 0.0
    for picture, down, across in ((noise, 3, 6), (halves(noise), 2, 3)):
        for amount, axis in ((down, 0), (across, 1)):
            common = (picture * np.roll(picture, amount, axis)).mean(axis=(0, 1))
            expected += (common**2).sum()
    # shares of half a side, less the one pixel that every shift has: of 8 and of 4 pixels
    found = autocorrelation(BLURRED, jnp.asarray([0.34, 0.8]))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_divergence_is_none_of_unit_noise():
    numbers = (WHITE - WHITE.mean()) / WHITE.std(ddof=1)
    np.testing.assert_allclose(divergence(numbers), 0, atol=1e-5)
    np.testing.assert_allclose(divergence(2 * numbers + 1), 4 + 1 - 1 - np.log(4), rtol=1e-4)


def test_noise_becomes_whiter():
    """Both measures fall, far more where there is something to mend."""
    measures = jax.jit(lambda noise: (autocorrelation(noise, jnp.full(2, 0.01)), divergence(noise)))
    moved = jax.jit(lambda noise: whitened(noise, SHIFTS))
    found = {name: moved(noise) for name, noise in (("w", WHITE), ("b", BLURRED))}
    for after, before in zip(measures(found["b"]), measures(BLURRED), strict=True):
        assert after < 0.9 * before
    change = [float(jnp.abs(found[n] - x).max()) for n, x in (("w", WHITE), ("b", BLURRED))]
    assert change[0] < 0.1 * change[1]
    flat = whitened(1e-3 * BLURRED[:8, :8] + 2, SHIFTS)
    assert np.isfinite(flat).all()
    off = whitened(BLURRED, SHIFTS, correlation=0.0, normality=0.0)
    np.testing.assert_array_equal(off, BLURRED)


@pytest.mark.slow
def test_an_encoding_is_regularised():
    """Without weights it is the bridge's own; an image's does not depend on its batch."""
    bridge = Bridge.over(mixture_model(jnp.zeros((1, 8, 8, 1)), jnp.ones(1)), steps=6, solver=EULER)
    coupling = Linear(Cosines.band((8, 8, 1), 0, 2), 1.0)
    method = RegularisedInversion(bridge, bridge, coupling)
    assert isinstance(method, Translator)
    images = jnp.tanh(jax.random.normal(jax.random.key(2), (3, 8, 8, 1)) + 1)
    keys = jax.random.split(jax.random.key(3), 3)
    encode = jax.jit(lambda method, keys, images: method.encode(keys, images))
    off = method.replace(correlation=0.0, normality=0.0)
    np.testing.assert_allclose(encode(off, keys, images), bridge.encode(images), atol=1e-5)
    found = encode(method, keys, images)
    np.testing.assert_allclose(encode(method, keys[:1], images[:1])[0], found[0], atol=1e-5)
    plain = encode(off, keys, images)
    assert float(jnp.abs(found - plain).max()) > 1e-3
    mean = lambda latents: float(jnp.abs(latents.mean(axis=(1, 2, 3))).max())
    assert mean(found) < mean(plain)
    ends = jax.jit(lambda method, keys, images: method(keys, images))
    same = DDIB(bridge, bridge, coupling=coupling)(keys, images)
    np.testing.assert_allclose(ends(off, keys, images), same, atol=1e-5)
    for one, other in itertools.combinations((found, plain, images), 2):
        assert np.abs(one - other).max() > 1e-3

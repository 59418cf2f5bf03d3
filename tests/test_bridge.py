"""Bridges as pytrees: what retraces and what does not, batching, and the shipped models there and back."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ddib_jax
from ddib_jax import bridge
from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.exact import mixture_model
from ddib_jax.nets import UNet
from ddib_jax.preconditioning import Wiener
from ddib_jax.schedules import EDM

SHAPE = (8, 8, 1)


def conditional(seed, labels):
    """A small class-conditional U-Net with Wiener statistics of its own, built afresh at every call."""
    network = UNet(
        out_channels=1, model_channels=32, channel_mult=(1,), attention_resolutions=(), patch_size=2, num_classes=3
    )
    rng = np.random.default_rng(seed)
    wiener = Wiener.fit(rng.normal(size=(20, *SHAPE)).astype(np.float32), rank=4)
    inputs = jnp.zeros((1, 8, 8, 2))
    params = jax.jit(network.init)(jax.random.key(seed), inputs, jnp.zeros(1), jnp.zeros(1, jnp.int32))["params"]
    params = jax.tree.map(lambda leaf: jnp.where(leaf == 0, 0.05, leaf), params)  # wake the layers that start at zero
    options = {"network": network, "schedule": EDM(), "data_shape": SHAPE}
    return DiffusionModel(params, wiener, jnp.asarray(labels), **options)


def shifted(latent, coefficient, context):
    return latent + coefficient * context["noise"]


def test_new_weights_labels_statistics_and_coefficients_do_not_retrace():
    traces = 0

    @jax.jit
    def run(ddib, key, image):
        nonlocal traces
        traces += 1
        return ddib(key, image)

    image, results = jnp.zeros((2, *SHAPE)), []
    for seed, labels, coefficient in [(0, [0, 1], 0.0), (1, [0, 1], 0.0), (1, [2, 1], 0.0), (1, [2, 1], 0.5)]:
        half = Bridge.over(conditional(seed, labels), steps=3)
        results.append(run(DDIB(half, half, coefficient, perturb=shifted), jax.random.key(0), image))
    assert traces == 1
    assert all(float(jnp.abs(a - b).max()) > 0 for a, b in zip(results[1:], results[:-1], strict=True))


def test_the_weights_are_not_constants_of_the_program(unchecked):
    model = conditional(0, [0, 1])
    text = jax.jit(Bridge.encode).lower(Bridge.over(model, steps=3), jnp.zeros((2, *SHAPE))).as_text()
    constants = [len(digits) for digits in re.findall(r"dense<([^>]*)>", text)]
    assert max(constants) < 200


def gaussians():
    means = [jnp.full((1, *SHAPE), mean) for mean in (0.5, -0.5)]
    return [Bridge.over(mixture_model(mean, jnp.asarray([0.2])), steps=20) for mean in means]


def test_batches_do_not_matter():
    """Any batch size, a last batch cut short, and noise: each image's translation is its own."""
    here, there = gaussians()
    images = np.random.default_rng(0).normal(size=(7, *SHAPE)).astype(np.float32)
    ddib = DDIB(here, there, 0.1, perturb=shifted)
    together = bridge.translate(ddib, images, batch_size=7)
    for size in (1, 3, 64):
        np.testing.assert_allclose(bridge.translate(ddib, images, batch_size=size), together, atol=1e-5)
    np.testing.assert_allclose(bridge.translate(ddib, images[:2], batch_size=7), together[:2], atol=1e-5)


def test_translate_is_encode_then_decode():
    here, there = gaussians()
    images = np.random.default_rng(1).normal(size=(3, *SHAPE)).astype(np.float32)
    by_hand = bridge.decode(there, bridge.encode(here, images))
    np.testing.assert_allclose(bridge.translate(DDIB(here, there), images), by_hand, atol=1e-5)
    np.testing.assert_allclose(by_hand, images - 1.0, atol=0.03)  # N(.5, .2) onto N(-.5, .2)


def test_what_does_not_fit_is_refused():
    here, _ = gaussians()
    other = Bridge.over(mixture_model(jnp.zeros((1, 4, 4, 1)), jnp.asarray([0.2])), steps=3)
    with pytest.raises(ValueError, match="latents of 8 x 8 x 1, the target decodes 4 x 4 x 1"):
        bridge.translate(DDIB(here, other), np.zeros((2, *SHAPE), np.float32))
    with pytest.raises(ValueError, match="takes images of 8 x 8 x 1; these are of 4 x 4 x 1"):
        bridge.encode(here, np.zeros((2, 4, 4, 1), np.float32))
    with pytest.raises(ValueError, match="none were given"):
        bridge.decode(here, np.zeros((0, *SHAPE), np.float32))
    with pytest.raises(ValueError, match="images hold values that are not finite"):
        bridge.encode(here, np.full((1, *SHAPE), np.nan, np.float32))
    with pytest.raises(FloatingPointError, match="1 of 2 images are not finite"):
        bridge.decode(here, np.stack([np.zeros(SHAPE, np.float32), np.full(SHAPE, np.nan, np.float32)]))


@pytest.mark.slow
def test_shipped_models_give_the_image_back():
    """Eight test fives there and back by Heun's method in 40 steps."""
    here = Bridge.over(ddib_jax.load("five"), steps=40)
    images = ddib_jax.load_dataset("five", "test").take(range(8))
    back = bridge.decode(here, bridge.encode(here, images))
    assert np.sqrt(np.sum((back - images) ** 2) / np.sum(images**2)) < 1e-3

"""Null-text inversion, prompts as their own null, and rows that are held to a path."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from ddib_jax.analytic import mixture_model
from ddib_jax.bridge import Bridge
from ddib_jax.bridge.couplings import Coupling, SideBySide
from ddib_jax.editing import (
    Clamped,
    LevelledNull,
    encoding_path,
    negative_prompt,
    null_text_inversion,
)
from ddib_jax.editing.null_text import SLACK
from ddib_jax.guidance import ClassifierFreeGuidance
from ddib_jax.solvers import EULER
from tests.editing.told import SHAPE, text, told_model
from tests.nets.small import COMPILED_QUICKLY

COARSE = jnp.asarray([0.1, 0.4, 1.2, 4.0])
SIGMAS = jnp.geomspace(0.1, 4.0, 17)
IMAGES = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, *SHAPE)), jnp.float32)
NULL = text(7)

compiled = functools.partial(jax.jit, compiler_options=COMPILED_QUICKLY)
ONE_LEVEL = {
    "block_out_channels": (8,),
    "down_block_types": ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",),
}
bridge = functools.cache(lambda: Bridge(told_model(**ONE_LEVEL), SIGMAS, EULER))


@compiled
def inverted(bridge, image, null, tolerance, rate):
    found = null_text_inversion(bridge, image, null=null, rate=rate, tolerance=tolerance)
    return found, encoding_path(bridge, image)


@compiled
def decoded(bridge, latent):
    return bridge.decode(latent)


def result(images=IMAGES, tolerance=0.0, rate=0.1):
    return inverted(bridge(), images, NULL, jnp.asarray(tolerance), jnp.asarray(rate))


def led_back(guidance):
    """The images that the latents of `IMAGES` become under a guidance."""
    start = result()[1][-1] / bridge().scale
    return np.asarray(decoded(bridge().replace(model=bridge().model.guided(guidance)), start))


def constant(null, *, scale=7.5):
    """The same null at every level, as one for each."""
    nulls = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (16, 2, *leaf.shape)), null)
    return LevelledNull(nulls, SIGMAS[:0:-1], jnp.asarray(scale))


@pytest.mark.slow
def test_the_loss_falls_at_every_level_where_it_is_not_small_enough():
    loss = np.asarray(result()[0].loss)
    assert loss.shape == (16, 11, 2)
    large = loss[:, 0] >= SLACK * np.arange(16)[:, None] / 16
    assert large.sum() > 16
    assert (loss[:, -1] < loss[:, 0])[large].all()
    np.testing.assert_allclose(loss[:, -1][~large], loss[:, 0][~large], rtol=1e-5)
    assert (loss[-1, -1] < 0.5 * np.asarray(result(rate=0.0)[0].loss)[-1, -1]).all()


@pytest.mark.slow
def test_images_come_back_under_guidance_nearer_than_without_it():
    """And as near as the last level's loss says: Euler's steps are those that were optimised."""
    found = result()[0]
    near, far = led_back(found.guidance), led_back(constant(NULL))
    error = lambda images: ((images - IMAGES) ** 2).mean(axis=(1, 2, 3))
    assert (error(near) < 0.5 * error(far)).all()
    np.testing.assert_allclose(error(near) / (1 + SIGMAS[0] ** 2), found.loss[-1, -1], rtol=1e-3)


@pytest.mark.slow
def test_an_image_is_left_as_it_is_where_its_loss_is_small_enough():
    found = result(tolerance=1e9)[0]
    np.testing.assert_allclose(
        found.loss[:, 1:], np.repeat(found.loss[:, :1], 10, axis=1), rtol=1e-5
    )
    text = found.guidance.nulls["text"]
    np.testing.assert_array_equal(text, jnp.broadcast_to(NULL["text"], text.shape))


@pytest.mark.slow
def test_an_image_does_not_depend_on_its_batch():
    whole, found = result()[0], result(IMAGES.at[1].set(0.5))[0]
    np.testing.assert_allclose(found.loss[:, :, 0], whole.loss[:, :, 0], rtol=1e-4)
    assert np.abs(found.loss[:, :, 1] - whole.loss[:, :, 1]).max() > 0


@pytest.mark.slow
def test_under_its_own_prompt_as_null_a_source_is_what_it_is_without_guidance():
    guidance = negative_prompt(bridge().model)
    assert isinstance(guidance, ClassifierFreeGuidance)
    assert guidance.null is bridge().model.cond
    own = led_back(constant(guidance.null, scale=guidance.scale))
    np.testing.assert_allclose(own, led_back(constant(NULL, scale=1.0)), atol=1e-4)
    assert np.abs(own - led_back(constant(NULL))).max() > 1e-3


def test_the_null_of_the_nearest_level_counts():
    """Between the answers under the null, here the null itself, and under the condition."""
    guidance = LevelledNull(jnp.asarray([10.0, 20.0]), jnp.asarray([1.0, 100.0]), 3.0)
    denoise = lambda x, *conds: [jnp.full_like(x, cond) for cond in conds]
    x = jnp.zeros((2, 1))
    for sigma, null in ((0.1, 10), (9.0, 10), (11.0, 20), (500.0, 20)):
        found = guidance(denoise, x, jnp.asarray(sigma), jnp.zeros(2), jnp.asarray(1.0))
        np.testing.assert_allclose(found, null + 3 * (1 - null))
    assert guidance.describe() == (
        "classifier-free guidance of scale 3 with a null for each of 2 noise levels"
    )
    with pytest.raises(ValueError, match="images of one noise level"):
        guidance(denoise, x, jnp.ones((2, 1)), jnp.zeros(2), jnp.asarray(1.0))


@struct.dataclass
class Looking(SideBySide):
    """Its slope is what it looks at."""

    def field(self, source, target):
        return lambda sigma, rows: rows


@pytest.mark.slow
def test_a_clamped_row_is_on_the_path_of_its_encoding():
    shape = (2, 2, 1)
    model = mixture_model(0.5 * jnp.ones((1, *shape)), jnp.asarray([0.2]))
    source, images = Bridge(model, COARSE, EULER), jnp.linspace(-1, 1, 12).reshape(3, *shape)
    path = encoding_path(source, images)
    np.testing.assert_array_equal(path[0], images)
    np.testing.assert_allclose(path[-1], source.encode(images) * source.scale, rtol=1e-5)
    step = source.replace(sigmas=COARSE[:2]).solve(images, rising=True).y
    np.testing.assert_allclose(path[1], step, rtol=1e-5)

    clamped, rows = Clamped.of(Looking(), source, images), jnp.full((3, 2, *shape), 9.0)
    assert isinstance(clamped, Coupling)
    seen = lambda sigma: clamped.field(model, model)(jnp.asarray(sigma), rows)
    for index, sigma in enumerate(COARSE):
        np.testing.assert_allclose(seen(sigma)[:, 0], path[index], rtol=1e-5)
        np.testing.assert_array_equal(seen(sigma)[:, 1], rows[:, 1])
    np.testing.assert_allclose(seen(0.6)[:, 0], 0.75 * path[1] + 0.25 * path[2], rtol=1e-5)
    with pytest.raises(ValueError, match="path is of 3 images, and 2 are edited"):
        clamped.field(model, model)(COARSE[0], rows[:2])


def test_what_cannot_be_inverted_is_said():
    guided = bridge().model.guided(negative_prompt(bridge().model))
    with pytest.raises(ValueError, match="take the model without its classifier-free guidance"):
        null_text_inversion(bridge().replace(model=guided), IMAGES, null=NULL)
    with pytest.raises(ValueError, match="no prompt to be led away from"):
        negative_prompt(bridge().model.replace(cond=None))

"""Where latents of unlike numbers of channels meet."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import translation
from ddib_jax.analytic import mixture_model
from ddib_jax.bridge import DDIB, Bridge, check_meeting, dropped, meet
from ddib_jax.bridge.meeting import cosines


def gaussian(*shape, mean=0.0):
    return mixture_model(jnp.full((1, *shape), mean), jnp.asarray([0.25]))


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.mark.parametrize("channels", [1, 2, 3, 13])
def test_cosines_are_orthonormal_and_begin_with_the_mean(channels):
    rows = cosines(channels)
    np.testing.assert_allclose(rows @ rows.T, np.eye(channels), atol=1e-6)
    np.testing.assert_allclose(rows[0], 1 / np.sqrt(channels), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("s", "t"), [(1, 3), (3, 1), (2, 5), (13, 3), (3, 3)])
def test_gaussian_latents_meet_as_gaussian_ones(s, t):
    found = meet(normal(0, 40_000, s), normal(1, 40_000, t))
    np.testing.assert_allclose(np.cov(np.asarray(found).T), np.eye(t).squeeze(), atol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(("s", "t"), [(1, 3), (3, 1), (2, 5), (13, 3), (3, 3)])
def test_the_way_back_is_exact_where_what_is_dropped_is_kept(s, t):
    latent, noise = normal(0, 50, s), normal(1, 50, t)
    there = meet(latent, noise)
    np.testing.assert_allclose(meet(there, dropped(latent, t)), latent, atol=1e-5)
    if s <= t:  # nothing is
        assert not np.any(dropped(latent, t))


def test_grey_meets_the_mean_of_colours():
    latent = normal(0, 50, 1)
    colours = meet(latent, normal(1, 50, 3))
    np.testing.assert_allclose(colours.sum(-1) / np.sqrt(3), latent[:, 0], atol=1e-5)


@pytest.mark.slow
def test_a_translation_of_unlike_channels_and_back():
    grey = Bridge.over(gaussian(4, 4, 1, mean=0.2), steps=30)
    colour = Bridge.over(gaussian(4, 4, 3, mean=0.0), steps=30)
    images = np.asarray(0.2 + 0.5 * normal(2, 5, 4, 4, 1))
    with pytest.warns(UserWarning, match="have 1 and the target's 3 channels"):
        there = translation.translate(DDIB(grey, colour), images, key=jax.random.key(3))
    assert there.shape == (5, 4, 4, 3)
    with pytest.warns(UserWarning, match="no way back restores them"):
        back = translation.translate(DDIB(colour, grey), there)
    np.testing.assert_allclose(back, images, atol=2e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The source's latents")
def test_what_is_drawn_is_each_images_own():
    grey, colour = (Bridge.over(gaussian(4, 4, c), steps=4) for c in (1, 3))
    images = np.asarray(normal(2, 5, 4, 4, 1))
    ddib = DDIB(grey, colour)
    whole = translation.translate(ddib, images)
    part = translation.translate(ddib, images[2:], indices=np.arange(2, 5), batch_size=2)
    swept = translation.translate_sweep(ddib, images, [0.0]).images[0]
    np.testing.assert_allclose(part, whole[2:], atol=1e-5)
    np.testing.assert_allclose(swept, whole, atol=1e-5)


def test_heights_and_widths_are_alike():
    with pytest.raises(ValueError, match="Numbers of channels may differ"):
        check_meeting(gaussian(4, 4, 1), gaussian(8, 4, 3))
    with pytest.raises(ValueError, match="cannot meet"):
        check_meeting(gaussian(2), gaussian(3))

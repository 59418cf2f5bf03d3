"""ENOT's colour map against a plain scalar restatement of its published definition."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from ddib_jax.data import enot_colour
from ddib_jax.data.colouring import enot_tint


def scalar_tint(hue):
    share = (hue % 60) / 60
    names = {"full": 1.0, "none": 0.0, "rising": share, "falling": 1 - share}
    channels = [
        ("full", "rising", "falling"),
        ("falling", "full", "rising"),
        ("none", "full", "rising"),
        ("none", "falling", "full"),
        ("rising", "none", "full"),
        ("full", "none", "falling"),
    ][round(hue / 60) % 6]
    return [names[name] for name in channels]


def test_map_is_the_published_one():
    hues = np.concatenate(
        [np.random.default_rng(0).uniform(0, 360, 2000), np.arange(0, 360, 5.0), [359.999]]
    )
    np.testing.assert_allclose(enot_tint(hues), [scalar_tint(hue) for hue in hues], atol=1e-12)


def test_half_sextants_round_to_even():
    np.testing.assert_allclose(enot_tint(np.array([30.0, 90.0])), [[1, 0.5, 0.5], [0, 1, 0.5]])
    np.testing.assert_allclose(enot_tint(np.array([29.9, 330.1])).max(-1), 1)


def test_first_two_sextants_alone_are_unsaturated():
    hues = np.arange(0.5, 360)
    mixed = enot_tint(hues).min(-1) > 0
    np.testing.assert_array_equal(mixed, (hues < 90) | (hues >= 330))


def test_colour_jumps_at_multiples_of_thirty_degrees_only():
    edges = np.arange(0.0, 360, 1)
    jump = np.abs(enot_tint(edges + 1e-6) - enot_tint(edges - 1e-6)).max(-1)
    np.testing.assert_array_equal(jump > 0.4, edges % 30 == 0)
    assert (jump[edges % 30 != 0] < 1e-6).all()


def test_images_are_value_times_tint():
    rng = np.random.default_rng(0)
    value, hue = rng.random((6, 4, 5), np.float32), rng.uniform(0, 360, 6)
    rgb = enot_colour(value, hue)
    assert rgb.shape == (6, 4, 5, 3)
    assert rgb.dtype == np.float32
    for image, grey, angle in zip(rgb, value, hue, strict=True):
        np.testing.assert_allclose(image, grey[..., None] * np.array(scalar_tint(angle)), atol=1e-6)
    assert (enot_colour(np.zeros((6, 4, 5), np.float32), hue) == 0).all()


def test_one_hue_an_image():
    with pytest.raises((ValueError, TypeCheckError)):  # whichever checks first
        enot_colour(np.zeros((2, 4, 4), np.float32), np.zeros(3))

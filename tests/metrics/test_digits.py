"""Measurements of digits on painted shapes whose hue, thickness and slant are known."""

import colorsys

import numpy as np
import pytest

from ddib_jax.metrics import digits


def paint(hues, saturation=1.0, value=1.0, size=12):
    """Squares of one HSV colour each on black, [n size size 3] in [-1, 1]."""
    images = np.zeros((len(hues), size, size, 3))
    for image, degrees in zip(images, hues, strict=True):
        image[3:-3, 4:-4] = colorsys.hsv_to_rgb((degrees % 360) / 360, saturation, value)
    return images * 2 - 1


def bar(width, length, angle, size=32, fine=8):
    """A white bar on black, anti-aliased, [1 size size 3] in [-1, 1]."""
    y, x = (np.mgrid[: size * fine, : size * fine] + 0.5) / fine - size / 2
    turn = np.radians(angle)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    ink = (np.abs(along) < length / 2) & (np.abs(across - 0.2) < width / 2)
    value = ink.reshape(size, fine, size, fine).mean(axis=(1, 3))
    return np.repeat(value[None, ..., None], 3, axis=-1) * 2 - 1


HUES = np.arange(0, 360, 7.5)


@pytest.mark.parametrize(("saturation", "value"), [(1.0, 1.0), (0.5, 0.8)])
def test_hue_is_that_of_hsv(saturation, value):
    np.testing.assert_allclose(digits.hue(paint(HUES, saturation, value)), HUES, atol=1e-6)


def test_saturation_is_that_of_hsv():
    np.testing.assert_allclose(digits.saturation(paint([10, 200], 0.5, 0.8)), 0.5)


def test_hue_is_a_circular_mean_weighted_by_chroma():
    half = paint([350.0])
    half[0, 6:] = paint([10.0])[0, 6:]
    assert digits.hue_distance(digits.hue(half), np.zeros(1))[0] < 1e-6
    pale = paint([100.0])
    pale[0, 6:] = paint([160.0], 0.2)[0, 6:]
    assert digits.hue(pale)[0] < 120


def test_hue_error_is_symmetric_bounded_and_turns_with_the_wheel():
    turned = paint(HUES + 75)
    error = digits.hue_error(paint(HUES), turned)
    np.testing.assert_allclose(error, 75, atol=1e-6)
    np.testing.assert_allclose(digits.hue_error(turned, paint(HUES)), error)
    np.testing.assert_allclose(digits.hue_error(paint(HUES), paint(HUES + 260)), 100, atol=1e-6)
    np.testing.assert_allclose(digits.hue_error(paint(HUES), paint(HUES + 180)), 180, atol=1e-6)


def test_hue_error_is_blind_to_shape_and_brightness():
    dimmer = np.roll(paint(HUES, 1.0, 0.7), 2, axis=1)
    np.testing.assert_allclose(digits.hue_error(paint(HUES), dimmer), 0, atol=1e-6)


def test_dark_grey_and_cancelling_images_have_no_hue_and_are_counted():
    cancelling = paint([0.0])
    cancelling[0, 6:] = paint([180.0])[0, 6:]
    poor = np.concatenate([paint([0], 1.0, 0.4), paint([0], 0.0, 1.0), cancelling, paint([0])])
    fine = paint([0] * 4)
    np.testing.assert_array_equal(np.isnan(digits.hue_error(fine, poor)), [True, True, True, False])
    np.testing.assert_array_equal(digits.hue_unmeasured(fine, poor), [1, 1, 1, 0])


@pytest.mark.parametrize("angle", [0, 20, 45, 70, 90, 135])
def test_thickness_of_bars_is_monotone_and_near_their_width(angle):
    widths = np.array([1.5, 2.0, 3.0, 4.0, 6.0])
    found = np.concatenate([digits.stroke_thickness(bar(width, 22, angle)) for width in widths])
    assert (np.diff(found) > 0).all()
    np.testing.assert_allclose(found, widths, atol=0.4)


def test_thickness_ignores_brightness_colour_and_position():
    plain = bar(3, 20, 30)
    tint = (np.roll(plain, 3, axis=2) + 1) * np.array([0.7, 0.35, 0.0]) - 1
    np.testing.assert_allclose(
        digits.stroke_thickness(tint), digits.stroke_thickness(plain), rtol=1e-6
    )
    assert np.isnan(digits.stroke_thickness((plain + 1) * 0.4 - 1)).all()


def test_area_is_the_sum_of_the_value():
    assert digits.stroke_area(bar(3, 20, 0))[0] == pytest.approx(60, rel=0.01)


def test_called_counts_the_largest_logit():
    logits = np.eye(4)[[0, 1, 3, 3]]
    np.testing.assert_array_equal(digits.called(logits, 3), [0, 0, 1, 1])
    np.testing.assert_array_equal(digits.called(logits, (0, 3)), [1, 0, 1, 1])


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="RGB images"):
        digits.hue(np.zeros((2, 4, 4, 1)))
    with pytest.raises(ValueError, match="NaN"):
        digits.stroke_area(np.full((1, 4, 4, 3), np.nan))
    with pytest.raises(ValueError, match="one translation a source"):
        digits.hue_error(paint([0]), paint([0, 1]))
    with pytest.raises(ValueError, match="classes below k"):
        digits.called(np.zeros((2, 3)), 3)
    with pytest.raises(ValueError, match="hold a NaN"):
        digits.called(np.full((2, 3), np.nan), 1)


@pytest.mark.parametrize("angle", [-30.0, 0.0, 20.0])
def test_slant_is_the_angle_of_a_bar(angle):
    """A bar whose top leans to the right by an angle; its own thickness and colour do not count."""
    rows, columns = np.mgrid[0:64, 0:64] - 31.5
    bar = (np.abs(rows) < 20) & (np.abs(columns + rows * np.tan(np.radians(angle))) < 3)
    images = np.where(bar[None, ..., None], np.asarray([0.9, -1, 0.2]), -1.0)
    np.testing.assert_allclose(digits.stroke_slant(images), angle, atol=1.0)
    assert np.isnan(digits.stroke_slant(np.full((1, 8, 8, 3), -1.0)))[0]


def test_a_label_is_kept_or_not(unchecked):
    logits = np.asarray([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    assert digits.label_kept(logits, np.asarray([1, 1, 1])).tolist() == [1, 0, 1]
    for broken in (logits[:2], np.where(logits > 0.85, np.nan, logits)):
        with pytest.raises(ValueError, match="Labels of 3 images"):
            digits.label_kept(broken, np.asarray([1, 1, 1]))

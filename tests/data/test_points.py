"""Points of the plane and of colour spaces."""

import numpy as np
import pytest
from PIL import Image

from ddib_jax.data import (
    COLOUR_SPACES,
    SHAPES,
    ImageSource,
    PixelCloud,
    Points,
    batch_at,
    draw_points,
    load_dataset,
    to_pixels,
    to_points,
)


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_have_mean_0_and_variance_1(shape):
    points, positions = draw_points(shape, 200_000, np.random.default_rng(0))
    assert points.shape == (200_000, 2)
    assert points.dtype == np.float32
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=0.012)
    assert points.var(axis=0).mean() == pytest.approx(1, abs=0.01)
    assert positions.min() >= 0
    assert positions.max() < 1


@pytest.mark.parametrize("shape", SHAPES)
def test_places_follow_the_shape(shape):
    """Neighbours by position are neighbours in the plane, but for jumps and a band's width."""
    points, positions = draw_points(shape, 20_000, np.random.default_rng(0))
    steps = np.linalg.norm(np.diff(points[np.argsort(positions)], axis=0), axis=1)
    strangers = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert np.median(steps) < (0.8 if shape == "checkerboard" else 0.2) * np.median(strangers)


def test_a_set_is_fixed_and_draws_are_new():
    points = load_dataset("moons")
    assert isinstance(points, ImageSource)
    assert points.image_shape == (2,)
    np.testing.assert_array_equal(points.take([3, 5]), Points("moons").take([3, 5]))
    assert not np.array_equal(points.take([3, 5]), load_dataset("moons", split="test").take([3, 5]))
    first, second = (batch_at(points, step, batch_size=8, seed=0)[0] for step in (0, 1))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, batch_at(points, 0, batch_size=8, seed=0)[0])


def test_an_unknown_shape_is_named():
    with pytest.raises(ValueError, match="Unknown shape 'stars'; known are moons, checkerboard"):
        draw_points("stars", 3, np.random.default_rng(0))


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)).save(
        tmp_path / "photo.png"
    )
    return tmp_path / "photo.png"


@pytest.mark.parametrize("space", COLOUR_SPACES)
def test_bytes_come_back(space, photo):
    if space == "lab":
        pytest.importorskip("skimage", reason="extra 'colours'")
    cloud = PixelCloud(photo, space=space)
    assert cloud.image_shape == (3,)
    assert len(cloud) == 35
    assert cloud.size == (5, 7)
    points = cloud.take(range(35))
    assert np.abs(points).max() <= 1.1
    np.testing.assert_array_equal(points, to_points(cloud.pixels, space))
    np.testing.assert_array_equal(to_pixels(points, space), cloud.pixels)
    near = cloud.take(range(35), rng=np.random.default_rng(0))
    assert 0 < np.abs(near - points).max() < 0.1


def test_what_lies_beyond_the_display_is_clipped():
    assert to_pixels(np.asarray([[2.0, -3.0, 0.0]]), "rgb").tolist() == [[255, 0, 128]]


@pytest.mark.parametrize(
    ("colours", "words"), [([90, 90, 90], "is grey"), ([200, 20, 20], "has a single colour")]
)
def test_images_without_a_palette_are_refused(tmp_path, colours, words):
    Image.fromarray(np.full((4, 4, 3), colours, np.uint8)).save(tmp_path / "flat.png")
    with pytest.raises(ValueError, match=words):
        load_dataset(f"rgb:{tmp_path / 'flat.png'}")


def test_bad_clouds_are_refused(tmp_path, photo):
    with pytest.raises(ValueError, match="Unknown colour space 'hsv'; known are lab, rgb"):
        PixelCloud(photo, space="hsv")
    with pytest.raises(ValueError, match=r"nowhere\.png cannot be read as an image"):
        PixelCloud(tmp_path / "nowhere.png", space="rgb")
    with pytest.raises(ValueError, match="not finite"):
        to_pixels(np.asarray([[np.nan, 0.0, 0.0]]), "rgb")

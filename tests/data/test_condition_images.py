"""Condition images: what each kind shows of a picture of a known shape."""

import numpy as np
import pytest

pytest.importorskip("skimage", reason="scikit-image is not installed")

from ddib_jax.data.condition_images import condition_image


def square(inside, outside) -> np.ndarray:
    """A square of 12 pixels in one of 32, float32 in [-1, 1]."""
    picture = np.broadcast_to(np.asarray(outside, np.float32), (32, 32, 3)).copy()
    picture[10:22, 10:22] = inside
    return 2 * picture - 1


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        pytest.param((1, 1, 1), (0, 0, 0), id="white on black"),
        pytest.param((1, 1, 0), (1, 1, 1), id="yellow on white, which brightness hardly tells"),
        pytest.param((1, 0, 0), (0, 0.3, 0), id="red on a green as bright"),
    ],
)
def test_edges_are_where_colours_change(inside, outside):
    edges = condition_image(square(inside, outside), "edges") > 0
    rows, columns, _ = np.nonzero(edges)
    assert 36 <= edges[..., 0].sum() <= 60
    assert {rows.min(), columns.min()} <= {9, 10}
    assert {rows.max(), columns.max()} <= {21, 22}
    assert not edges[12:20, 12:20].any()


def test_a_picture_of_one_colour_has_no_edges():
    assert (condition_image(square((0.3, 0.5, 0.1), (0.3, 0.5, 0.1)), "edges") == -1).all()


def test_depth_grows_inwards_and_a_skeleton_is_in_the_middle():
    picture = square((1, 1, 0), (1, 1, 1))
    depth = (condition_image(picture, "depth")[..., 0] + 1) / 2
    assert depth[15, 15] == 1
    np.testing.assert_allclose(depth[15, 9:16], np.arange(7) / 6, atol=1e-6)
    line = condition_image(picture, "skeleton")[..., 0] > 0
    assert 0 < line.sum() < 40
    assert (depth[line] > 0).all()


def test_inverted_blurred_and_segments():
    picture = square((1, 0, 0), (0, 0, 1))
    np.testing.assert_array_equal(condition_image(picture, "inverted"), -picture)
    blurred = condition_image(picture, "blurred")
    np.testing.assert_allclose(blurred.mean((0, 1)), picture.mean((0, 1)), atol=0.02)
    assert np.abs(np.diff(blurred, axis=0)).max() < np.abs(np.diff(picture, axis=0)).max() / 3
    segments = condition_image(picture, "segments")
    inside, outside = segments[13:19, 13:19], segments[:7]
    assert (inside == inside[0, 0]).all()
    assert (outside == outside[0, 0]).all()
    assert (inside[0, 0] != outside[0, 0]).any()


def test_an_unknown_kind_is_told_the_others():
    with pytest.raises(ValueError, match=r"no condition 'edge'; known are edges, skeleton"):
        condition_image(square(1, 0), "edge")

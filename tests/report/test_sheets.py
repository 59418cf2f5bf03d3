import numpy as np
import pytest
from PIL import Image

from ddib_jax.report import contact_sheet, gallery
from ddib_jax.report.sheets import latent_images, to_uint8


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(-1, 1, size=(5, 8, 8, 3))


def test_floats_become_bytes_over_the_whole_range():
    ends = np.array([-2.0, -1.0, 0.0, 1.0, 3.0, np.nan]).reshape(1, 6, 1, 1)
    shown = to_uint8(ends)
    assert shown.shape == (1, 6, 1, 3)
    np.testing.assert_array_equal(shown[0, :, 0, 0], [0, 0, 128, 255, 255, 128])
    np.testing.assert_array_equal(to_uint8(shown), shown)


def test_latents_fill_three_deviations():
    np.testing.assert_allclose(latent_images(np.array([[[[-6.0, 0.0, 1.5]]]])), [[[[-1, 0, 0.5]]]])


def test_pixels_stay_crisp(tmp_path, images):
    path = contact_sheet({"a": images, "b": images}, tmp_path / "deep" / "sheet.png", scale=5)
    sheet = np.asarray(Image.open(path))
    block = np.repeat(np.repeat(to_uint8(images)[0], 5, axis=0), 5, axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(sheet, block.shape)[:, :, 0]
    assert (windows == block).all(axis=(2, 3, 4)).sum() == 2


def test_captions_make_room(tmp_path, images):
    plain = Image.open(contact_sheet({"a": images}, tmp_path / "plain.png"))
    lined = Image.open(
        contact_sheet({"a": images}, tmp_path / "lined.png", captions=["one\ntwo"] * 5)
    )
    assert plain.width == lined.width
    assert plain.height < lined.height


def test_a_gallery_holds_every_pair(tmp_path, images):
    path = gallery(images, -images, tmp_path / "gallery.png", columns=3, scale=2)
    assert Image.open(path).size == (2 * 24 + 3 * 22 - 6, 2 * 24 + 2 * 44 - 12)


@pytest.mark.usefixtures("unchecked")
def test_bad_sheets_are_refused_in_a_sentence(tmp_path, images):
    with pytest.raises(ValueError, match="rows of one shape"):
        contact_sheet({"a": images, "b": images[:2]}, tmp_path / "x.png")
    with pytest.raises(ValueError, match="rows of one shape"):
        contact_sheet({}, tmp_path / "x.png")
    with pytest.raises(ValueError, match="2 captions for 5 columns"):
        contact_sheet({"a": images}, tmp_path / "x.png", captions=["a", "b"])
    with pytest.raises(ValueError, match="give two of one shape"):
        gallery(images, images[:1], tmp_path / "x.png")
    with pytest.raises(ValueError, match="1 or 3"):
        to_uint8(np.zeros((1, 2, 2, 2)))
    assert not (tmp_path / "x.png").exists()

"""Image files of every mode, good and bad."""

import numpy as np
import pytest
from PIL import Image

from ddib_jax.data import ImageSource, Pictures, image_folder, load_dataset, read_images
from ddib_jax.data.folder import read_image
from ddib_jax.data.pictures import View

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
GREY = RGB[..., 0]


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".ppm", ".PNG", ".webp"])
def test_lossless_formats(tmp_path, suffix):
    path = save(
        tmp_path / f"image{suffix}", RGB, **({"lossless": True} if suffix == ".webp" else {})
    )
    np.testing.assert_array_equal(read_image(path, View()), RGB, strict=True)
    images = read_images([path])
    assert images.dtype == np.float32
    np.testing.assert_allclose(images[0], RGB / 127.5 - 1, atol=1e-6)


def test_jpeg(tmp_path):
    smooth = np.tile(np.linspace(0, 255, 32).astype(np.uint8)[:, None, None], (1, 32, 3))
    np.testing.assert_allclose(
        read_image(save(tmp_path / "a.jpg", smooth, quality=95), View()).astype(int), smooth, atol=6
    )


def test_grey_is_repeated(tmp_path):
    np.testing.assert_array_equal(
        read_image(save(tmp_path / "a.png", GREY), View()), np.stack([GREY] * 3, -1)
    )
    bits = GREY > 100
    np.testing.assert_array_equal(
        read_image(save(tmp_path / "b.png", bits), View())[..., 0], bits * 255
    )


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_sixteen_bit_grey_is_scaled(tmp_path, suffix):
    wide = GREY.astype(np.uint16) * 257
    path = save(tmp_path / f"a.{suffix}", wide)
    np.testing.assert_array_equal(read_image(path, View()), np.stack([GREY] * 3, -1))


def test_palette_is_looked_up(tmp_path):
    image = Image.fromarray(RGB).quantize(256)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", View()), RGB)
    image.save(tmp_path / "a.gif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif", View()), RGB)


def test_transparency_lies_over_white(tmp_path):
    alpha = np.zeros((6, 8, 1), np.uint8)
    alpha[:3] = 255
    path = save(tmp_path / "a.png", np.concatenate([RGB, alpha], -1))
    expected = np.where(alpha == 255, RGB, 255)
    np.testing.assert_array_equal(read_image(path, View()), expected)
    path = save(tmp_path / "b.png", np.concatenate([GREY[..., None], alpha], -1))
    np.testing.assert_array_equal(
        read_image(path, View()), np.where(alpha == 255, GREY[..., None], 255).repeat(3, -1)
    )


def test_transparent_palette_entry(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "a.png", transparency=0)
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.png", View()), [[[255] * 3, [40, 50, 60]]]
    )


def test_cmyk_is_converted(tmp_path):
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    assert np.abs(read_image(tmp_path / "a.jpg", View()).astype(int) - [255, 0, 0]).max() < 8


def test_exif_orientation_is_honoured(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.png", RGB, exif=exif)
    np.testing.assert_array_equal(read_image(path, View()), np.rot90(RGB, -1))


def test_image_size_crops_the_centre_and_resizes(tmp_path):
    halves = np.zeros((40, 80, 3), np.uint8)
    halves[:, :20], halves[:, 60:] = (255, 0, 0), (0, 0, 255)
    path = save(tmp_path / "a.png", halves)
    assert read_image(path, View(10)).shape == (10, 10, 3)
    assert read_image(path, View(10)).max() == 0
    np.testing.assert_array_equal(read_image(path, View(40)), halves[:, 20:60])
    with pytest.raises(ValueError, match="image size 0"):
        read_images([path], image_size=0)


def test_resizing_is_antialiased(tmp_path):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert (
        np.abs(read_image(save(tmp_path / "a.png", stripes), View(16)).astype(int) - 127).max() < 20
    )


def test_folder_is_recursive_sorted_and_leaves_others_out(tmp_path):
    (tmp_path / "b").mkdir()
    for number, name in enumerate(["b/1.png", "a.png", "c.jpeg"]):
        save(tmp_path / name, np.full((4, 4, 3), 80 * number, np.uint8))
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "._a.png").write_bytes(b"resource fork")
    source = image_folder(tmp_path)
    assert isinstance(source, ImageSource)
    assert source.labels is None
    assert [path.relative_to(tmp_path).as_posix() for path in source.items] == [
        "a.png",
        "b/1.png",
        "c.jpeg",
    ]
    assert len(source) == 3
    assert source.image_shape == (4, 4, 3)
    images = source.take(np.array([2, 0]))
    np.testing.assert_allclose(images.mean((1, 2, 3)), np.array([160, 80]) / 127.5 - 1, atol=0.01)


def test_large_folder_is_read_again_at_each_draw(tmp_path):
    paths = [save(tmp_path / f"{n}.png", np.roll(RGB, n, 0)) for n in range(5)]
    kept, reread = (
        Pictures(paths, View(6), read_image),
        Pictures(paths, View(6), read_image, memory=0),
    )
    indices = np.array([4, 1, 1])
    np.testing.assert_array_equal(kept.take(indices), reread.take(indices), strict=True)
    paths[1].unlink()
    np.testing.assert_array_equal(kept.take(indices)[1], kept.take(indices)[2])
    with pytest.raises(ValueError, match="cannot be read"):
        reread.take(indices)


def test_all_unreadable_images_are_named_in_one_error(tmp_path):
    good = save(tmp_path / "good.png", RGB)
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:-60])
    save(tmp_path / "float.tiff", GREY.astype(np.float32))
    save(tmp_path / "wide.tiff", GREY.astype(np.int32) * 2**20)
    with pytest.raises(ValueError, match="5 of 6 images cannot be read") as error:
        image_folder(tmp_path)
    for name in ("empty.png", "text.jpg", "cut.png", "float.tiff", "wide.tiff"):
        assert name in str(error.value)
    assert "good.png" not in str(error.value)
    with pytest.raises(
        ValueError, match=r"1 of 1 images cannot be read: .*nowhere.png \(No such file"
    ):
        read_images([tmp_path / "nowhere.png"])


def test_many_unreadable_images_are_counted(tmp_path):
    for number in range(25):
        (tmp_path / f"{number:02}.png").touch()
    with pytest.raises(ValueError, match=r"25 of 25 .*09\.png .* and 15 more\."):
        image_folder(tmp_path)


def test_folders_without_images_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        image_folder(tmp_path / "nowhere")
    (tmp_path / "a.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"There is no image in .* \(1 other files\)"):
        image_folder(tmp_path)
    with pytest.raises(ValueError, match="No image file was given"):
        read_images([])


def test_images_of_several_sizes_need_an_image_size(tmp_path):
    save(tmp_path / "a.png", RGB)
    save(tmp_path / "b.png", RGB[:4, :4])
    with pytest.raises(
        ValueError, match=r"1 of 2 images are not 8x6 .*b\.png \(4x4\); give an image size"
    ):
        image_folder(tmp_path)
    assert image_folder(tmp_path, image_size=4).image_shape == (4, 4, 3)


def test_halves_of_paired_pictures(tmp_path):
    """pix2pix's layout: two pictures side by side in one file, in a folder a split."""
    pair = np.concatenate([np.full((6, 6, 3), 30), np.full((6, 6, 3), 220)], axis=1).astype(
        np.uint8
    )
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        save(tmp_path / split / "1.png", pair)
    for half, value in (("left", 30), ("right", 220)):
        source = load_dataset(f"{half}:{tmp_path}", split="test", image_size=4)
        assert source.image_shape == (4, 4, 3)
        np.testing.assert_allclose(source.take([0]), value / 127.5 - 1, atol=1e-6)
    assert load_dataset(f"left:{tmp_path}").image_shape == (6, 6, 3)


def test_transparency_is_laid_over_a_chosen_colour(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    for colour, pixel in (
        ("white", (255, 255, 255)),
        ("red", (255, 0, 0)),
        ("#102030", (16, 32, 48)),
    ):
        assert tuple(read_image(tmp_path / "clear.png", View(background=colour))[0, 0]) == pixel
    with pytest.raises(ValueError, match="background 'no colour': expected a colour"):
        image_folder(tmp_path, background="no colour")


def test_cyclegans_layout_is_read_where_it_lies(tmp_path):
    for name, value in {"trainA": 10, "trainB": 20, "testA": 30, "testB": 40}.items():
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4), (value,) * 3).save(tmp_path / name / "1.png")
    for side, split, value in (
        ("A", "train", 10),
        ("B", "train", 20),
        ("A", "test", 30),
        ("B", "test", 40),
    ):
        source = load_dataset(f"{side}:{tmp_path}", split=split)
        assert len(source) == 1
        assert round(float((source.take([0]).mean() + 1) * 127.5)) == value

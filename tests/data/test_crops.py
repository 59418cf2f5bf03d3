"""Parts of files, and crops of pictures as they are: nothing beside them is read."""

import pickle

import numpy as np
import pytest
import tifffile
from PIL import Image

import formats as study
from ddib_jax.data import batch_at, crop_folder, load_dataset
from ddib_jax.data.formats import Box, Slice, find_files, read_file, read_part
from ddib_jax.data.formats import tiff_parts as parts
from ddib_jax.data.sources import ImageSource

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 60000, (3, 2, 70, 90, 3)).astype(np.uint16)
PICTURE = STACK[0, 0]
PLANES = np.moveaxis(PICTURE, -1, 0)
LAYOUTS = {
    "as it is": (PICTURE, {"photometric": "rgb"}),
    "tiles": (PICTURE, {"tile": (32, 32), "compression": "zlib", "predictor": True}),
    "strips": (PICTURE, {"rowsperstrip": 16, "compression": "zlib", "photometric": "rgb"}),
    "planes": (PLANES, {"planarconfig": "separate", "compression": "zlib", "rowsperstrip": 16}),
    "tiled planes": (PLANES, {"planarconfig": "separate", "compression": "zlib", "tile": (32, 48)}),
    "ImageJ": (STACK[..., 0], {"imagej": True, "metadata": {"axes": "ZCYX"}}),
    "OME": (STACK, {"ome": True, "metadata": {"axes": "ZCYXS"}, "tile": (32, 32)}),
    "OME, packed": (STACK[..., 0], {"ome": True, "metadata": {"axes": "ZCYX"}, "compression": 8}),
    "the other byte first": (PICTURE, {"bigtiff": True, "byteorder": ">", "tile": (32, 32)}),
}
BOXES = (Box(0, 0, 70, 90), Box(13, 29, 20, 40), Box(60, 80, 10, 10), Box(31, 31, 2, 2))


def opened(path):
    [file], _ = find_files(sorted(path.iterdir()) if path.is_dir() else [path])
    return file


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_part_is_that_of_the_whole(layout, tmp_path):
    values, options = LAYOUTS[layout]
    path = tmp_path / ("a.ome.tif" if "ome" in options else "a.tif")
    if "metadata" not in options:
        options = {"photometric": "rgb", **options}
    tifffile.imwrite(path, values, **options)
    file = opened(path)
    for number, whole in enumerate(read_file(file)):
        for box in BOXES:
            part = read_part(Slice(file, number), box)
            np.testing.assert_array_equal(part, whole[box.rows, box.columns])


@pytest.mark.parametrize("kind", study.KINDS)
def test_a_part_of_every_kind_of_file(kind, tmp_path):
    pytest.importorskip({"NIfTI": "nibabel", "DICOM": "pydicom"}.get(kind.split()[0][:5], "numpy"))
    file = opened(study.KINDS[kind][0](tmp_path, np.random.default_rng(0)))
    for number, whole in enumerate(read_file(file)):
        part = read_part(Slice(file, number), Box(3, 5, 10, 12))
        np.testing.assert_array_equal(part, whole[3:13, 5:17])


def test_nothing_but_the_tiles_of_a_part_is_read(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, tile=(16, 16), compression="zlib")
    one, seen, read = Slice(opened(tmp_path / "a.tif"), 0), [], parts._Segments._read
    read_part(one, Box(0, 0, 1, 1))
    monkeypatch.setattr(parts._Segments, "_read", lambda *args: seen.append(args) or read(*args))
    read_part(one, Box(16, 20, 16, 16))
    assert len(seen) == 2


def test_tiles_that_a_file_leaves_out_are_no_data(tmp_path):
    values = np.zeros((32, 32), np.uint8)
    tiles = (None if number else values[:16, :16] + 7 for number in range(4))
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(tiles, shape=(32, 32), dtype=np.uint8, tile=(16, 16), compression="zlib")
    found = read_part(Slice(opened(tmp_path / "a.tif"), 0), Box(8, 8, 16, 16))[..., 0]
    expected = np.zeros((16, 16))
    expected[:8, :8] = 7
    np.testing.assert_array_equal(found, expected)


def test_strips_that_are_too_large_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "MOST_UNPACKED", 10_000)
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, rowsperstrip=70, compression="zlib")
    with pytest.raises(ValueError, match=r"packed in strips of 0 MB.*save it in tiles"):
        read_part(Slice(opened(tmp_path / "a.tif"), 0), Box(0, 0, 1, 1))


def test_a_packing_that_is_not_installed_is_named(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, tile=(16, 16), compression="zlib")

    def without(self):
        raise ValueError("requires the 'imagecodecs' package")

    monkeypatch.setattr(parts._Segments, "check", without)
    with pytest.raises(ImportError, match=r"install ddib_jax\[tiff\]"):
        read_part(Slice(opened(tmp_path / "a.tif"), 0), BOXES[1])


def bytes_of(*shape):
    return RNG.integers(0, 256, shape, np.uint8)


def folder_of(path, **pictures):
    """Pictures of several sizes and kinds, as bytes [h w 3], and a folder of them."""
    path.mkdir()
    for name, pixels in pictures.items():
        if name.startswith("t"):
            tifffile.imwrite(path / f"{name}.tif", pixels, tile=(16, 16), compression="zlib")
        else:
            Image.fromarray(pixels).save(path / f"{name}.png")
    return path


def unit(pixels):
    return pixels.astype(np.float32) / 127.5 - 1


def is_part_of(crop, pixels, side):
    windows = np.lib.stride_tricks.sliding_window_view(unit(pixels), (side, side, 3))
    return bool((np.abs(windows - crop) < 1e-6).all(axis=(-3, -2, -1)).any())


def test_crops_tile_the_pictures_and_are_drawn_anywhere(tmp_path):
    tiff, png = bytes_of(40, 33, 3), bytes_of(16, 20, 3)
    source = crop_folder(folder_of(tmp_path / "in", p=png, t=tiff), image_size=16)
    assert isinstance(source, ImageSource)
    assert (source.image_shape, len(source)) == ((16, 16, 3), 1 + 2 * 2)
    np.testing.assert_allclose(source.take([0])[0], unit(png[:, :16]), atol=1e-6)
    for index, (top, left) in enumerate([(0, 0), (0, 17), (24, 0), (24, 17)]):
        expected = unit(tiff[top : top + 16, left : left + 16])
        np.testing.assert_allclose(source.take([1 + index])[0], expected, atol=1e-6)
    indices = [0, 3, 3, 2]
    drawn = source.take(indices, rng=np.random.default_rng(1))
    for crop, index in zip(drawn, indices, strict=True):
        assert is_part_of(crop, tiff if index else png, 16)
    assert not np.array_equal(drawn[1], drawn[2])
    half = source.take(indices, rng=np.random.default_rng(1), part=slice(2, None))
    np.testing.assert_array_equal(half, drawn[2:])
    elsewhere = pickle.loads(pickle.dumps(source))  # as a worker process has it
    again, _ = batch_at(elsewhere, 3, batch_size=6, seed=0)
    np.testing.assert_array_equal(again, batch_at(source, 3, batch_size=6, seed=0)[0])


def test_a_picture_beyond_the_bound_is_cropped_where_nothing_is_decoded_whole(tmp_path):
    folder = folder_of(tmp_path / "in", t=bytes_of(40, 40, 3))
    assert len(crop_folder(folder, image_size=16, max_pixels=100)) == 4
    folder_of(tmp_path / "more", p=bytes_of(40, 40, 3))
    with pytest.raises(ValueError, match=r"40x40: more than the 100 pixels"):
        crop_folder(tmp_path / "more", image_size=16, max_pixels=100)


def test_crops_of_declared_files(tmp_path):
    (tmp_path / "in").mkdir()
    values = np.linspace(0, 1000, 40 * 48).reshape(40, 48).astype(np.uint16)
    tifffile.imwrite(tmp_path / "in" / "a.tif", values, metadata=None)
    np.save(tmp_path / "in" / "b.npy", np.stack([values, values]))
    with pytest.warns(UserWarning, match=r"of the values lie outside of the range 100 to 1000"):
        source = crop_folder(tmp_path / "in", image_size=16, declared=("100", "p100"))
    assert (len(source), source.image_shape) == (3 * 6, (16, 16, 1))
    assert source.scale.low == (100,)
    assert source.scale.high == (1000,)
    assert 0 < source.scale.outside < 0.2
    expected = source.scale.to_unit(values[:16, :16, None].astype(np.float32))
    np.testing.assert_array_equal(source.take([6])[0], expected)


def test_crops_avoid_missing_values(tmp_path):
    (tmp_path / "in").mkdir()
    values = RNG.integers(0, 1000, (64, 64)).astype(np.float32)
    values[:, 20:] = np.nan
    values[:8] = np.nan
    np.save(tmp_path / "in" / "a.npy", values)
    source = crop_folder(tmp_path / "in", image_size=16, declared=("0", "p100"))
    assert source.scale.high[0] <= 1000
    assert np.isfinite(source.take(range(len(source)))).all()
    assert np.isfinite(source.take([0] * 20, rng=np.random.default_rng(0))).all()
    values[:, 4:] = np.nan
    np.save(tmp_path / "in" / "a.npy", values)
    source = crop_folder(tmp_path / "in", image_size=16, declared=("0", "1000"))
    with pytest.raises(ValueError, match=r"none of 100 crops of 16x16 was without missing"):
        source.take([0])


def test_a_half_and_a_photograph_on_its_side(tmp_path):
    pixels = bytes_of(16, 40, 3)
    folder = folder_of(tmp_path / "in", t=pixels)
    right = crop_folder(folder, image_size=16, half="right").take([0])[0]
    np.testing.assert_allclose(right, unit(pixels[:, 20:36]), atol=1e-6)
    (tmp_path / "jpeg").mkdir()
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(pixels).save(tmp_path / "jpeg" / "a.jpg", exif=exif)
    assert len(crop_folder(tmp_path / "jpeg", image_size=16)) == 2


def test_labels_are_those_of_the_pictures(tmp_path):
    (tmp_path / "in").mkdir()
    folder_of(tmp_path / "in" / "cats", t=bytes_of(32, 16, 3))
    folder_of(tmp_path / "in" / "dogs", t=bytes_of(16, 16, 3))
    source = load_dataset(tmp_path / "in", image_size=16, crop="window")
    assert source.classes == ("cats", "dogs")
    assert source.labels.tolist() == [0, 0, 1]


def test_what_cannot_be_cropped_is_named(tmp_path):
    folder = folder_of(tmp_path / "in", t=bytes_of(40, 40, 3), p=bytes_of(9, 40, 3))
    with pytest.raises(ValueError, match=r"1 of 2 images are smaller .*/p.png \(40x9\)"):
        crop_folder(folder, image_size=16)
    with pytest.raises(ValueError, match="give --image-size"):
        load_dataset(folder, crop="window")
    with pytest.raises(ValueError, match="never cropped"):
        load_dataset("five", crop="window")
    path = folder / "t.tif"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"1 of 2 images cannot be read: .*t.tif"):
        crop_folder(folder, image_size=8)
    source = crop_folder(folder, image_size=8, skip_unreadable=True)
    assert len(source.unreadable) == 1
    assert len(source) == 5

"""Twelve kinds of file read and written, and what is wrong with others."""

import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

import formats as study
from ddib_jax.data.formats import (
    Header,
    PictureFile,
    find_files,
    is_file,
    read_file,
    stem,
    write_file,
)
from ddib_jax.data.resizing import Window
from ddib_jax.data.scale import Scale

NEEDS = {"NIfTI, int16 with slope": "nibabel", "DICOM series, 12 bits": "pydicom"}
NEW = ["ImageType", "SOPInstanceUID", "SeriesInstanceUID"]
"""Of DICOM, what says that an image is another one."""


def made(kind, folder):
    """A file of a kind of the study, with its header, and its range as a scale."""
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind])
    make, (low, high) = study.KINDS[kind]
    path = make(folder, np.random.default_rng(0))
    [file], unreadable = find_files(sorted(path.iterdir()) if path.is_dir() else [path])
    assert unreadable == []
    channels = file.header.shape[2]
    return file, Scale(file.header.dtype, (float(low),) * channels, (float(high),) * channels)


def opened(path):
    [file], _ = find_files(sorted(path.iterdir()) if path.is_dir() else [path])
    return file


@pytest.mark.parametrize("kind", study.KINDS)
def test_a_file_is_written_as_it_was(kind, tmp_path):
    file, scale = made(kind, tmp_path)
    values = read_file(file)
    assert values.shape == (file.header.slices, *file.header.shape)
    (tmp_path / "out").mkdir()
    path = write_file(tmp_path / "out", "a", file.header, values, scale)
    again = opened(path)
    np.testing.assert_array_equal(read_file(again), values)
    different = study.differences(file.header, again.header)
    assert different == (NEW if file.header.format == "dicom" else [])


@pytest.mark.parametrize("kind", study.KINDS)
def test_a_header_is_json(kind, tmp_path):
    header = made(kind, tmp_path)[0].header
    assert Header.from_json(header.to_json()) == header
    with pytest.raises(ValueError, match="header cannot be read"):
        Header.from_json("{}")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_sixteen_bits_is_exact(tmp_path, channels):
    rng = np.random.default_rng(channels)
    values = rng.integers(0, 2**16, (1, 5, 7, channels)).astype(np.float32)
    scale = Scale("uint16", (0.0,) * channels, (65535.0,) * channels)
    header = Header("png", ".png", "uint16", (5, 7, channels))
    file = opened(write_file(tmp_path, "a", header, values, scale))
    assert file.header.kind.startswith("uint16")
    np.testing.assert_array_equal(read_file(file), values)
    with Image.open(file.path) as image:  # as other programs see it: colours by the higher byte
        seen = np.asarray(image).reshape(5, 7, -1)[..., 0]
    first = values[0, ..., 0]
    np.testing.assert_array_equal(seen, first if channels == 1 else first // 256)


def test_a_palette_is_looked_up(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(colours).quantize(256).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_file(opened(tmp_path / "a.png"))[0], colours)


def test_results_of_a_jpeg_are_png(tmp_path):
    Image.fromarray(np.full((6, 8), 77, np.uint8)).save(tmp_path / "a.jpg")
    file = opened(tmp_path / "a.jpg")
    path = write_file(tmp_path, "b", file.header, read_file(file), Scale("uint8", (0.0,), (255.0,)))
    assert path.name == "b.png"
    assert read_file(opened(path))[0, 0, 0, 0] == 77


@pytest.mark.parametrize(
    ("array", "shape", "slices"),
    [
        (np.zeros((24, 32)), (24, 32, 1), 1),
        (np.zeros((24, 32, 13)), (24, 32, 13), 1),
        (np.zeros((5, 24, 32)), (24, 32, 1), 5),
        (np.zeros((5, 24, 8, 2)), (24, 8, 2), 5),
    ],
)
def test_the_axes_of_an_array(tmp_path, array, shape, slices):
    np.save(tmp_path / "a.npy", array)
    file = opened(tmp_path / "a.npy")
    assert (file.header.shape, file.header.slices) == (shape, slices)
    scale = Scale("float64", (0.0,) * shape[2], (1.0,) * shape[2])
    path = write_file(tmp_path, "b", file.header, read_file(file), scale)
    assert np.load(path).shape == array.shape


def test_a_target_of_other_channels_keeps_the_header(tmp_path):
    file, _ = made("GeoTIFF, 13 bands", tmp_path)
    values = read_file(file)[..., :3] // 256
    colours = Scale("uint8", (0.0,) * 3, (255.0,) * 3)
    again = opened(write_file(tmp_path, "b", file.header, values, colours))
    assert again.header.kind == "uint8 of 3 channels"
    assert again.header.fields["tags"] == file.header.fields["tags"]
    np.testing.assert_array_equal(read_file(again), values)


def test_what_a_format_cannot_hold_becomes_tiff(tmp_path):
    header = Header("png", ".png", "uint8", (4, 4, 1))
    values = np.linspace(-1, 1, 16, dtype=np.float32).reshape(1, 4, 4, 1)
    with pytest.warns(UserWarning, match="png hold no float32 of 1 channels: the results are TIFF"):
        path = write_file(tmp_path, "a", header, values, Scale("float32", (-1.0,), (1.0,)))
    np.testing.assert_array_equal(read_file(opened(path)), values)


def test_geography_moves_with_the_window(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    file, scale = made("GeoTIFF, 13 bands", tmp_path)
    values = read_file(file)
    window = Window(4, 8, 16, 16, (8, 8))
    from ddib_jax.data.formats import format_named

    moved = format_named(file.header).moved(file.header, window)
    path = write_file(tmp_path, "b", moved, values[:, :8, :8], scale)
    with rasterio.open(file.path) as before, rasterio.open(path) as after:
        assert (after.crs, after.nodata) == (before.crs, before.nodata)
        assert after.transform @ (0, 0) == before.transform @ (8, 4)
        assert after.transform @ (8, 8) == before.transform @ (24, 20)


def test_a_volume_keeps_its_place_in_a_window(tmp_path):
    pytest.importorskip("nibabel")
    import nibabel

    from ddib_jax.data.formats import format_named

    file, scale = made("NIfTI, int16 with slope", tmp_path)
    moved = format_named(file.header).moved(file.header, Window(4, 8, 16, 16, (8, 8)))
    path = write_file(tmp_path, "b", moved, read_file(file)[:, :8, :8], scale)
    before, after = nibabel.load(file.path).affine, nibabel.load(path).affine
    # the corner of the first new voxel is that of the old one at column 8 and row 4
    np.testing.assert_allclose(after @ [-0.5, -0.5, 0, 1], before @ [7.5, 3.5, 0, 1], atol=1e-4)
    np.testing.assert_allclose(after @ [7.5, 7.5, 2, 1], before @ [23.5, 19.5, 2, 1], atol=1e-4)


def test_a_series_keeps_its_place_in_a_window(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    from ddib_jax.data.formats import format_named

    file, scale = made("DICOM series, 12 bits", tmp_path)
    moved = format_named(file.header).moved(file.header, Window(4, 8, 16, 16, (8, 8)))
    path = write_file(tmp_path, "b", moved, read_file(file)[:, :8, :8], scale)
    data = pydicom.dcmread(sorted(path.iterdir())[0])
    assert list(data.PixelSpacing) == [1.4, 1.4]
    np.testing.assert_allclose(data.ImagePositionPatient[:2], (-94.05, -96.85), atol=1e-5)


def test_a_series_lies_along_the_patient(tmp_path):
    file, _ = made("DICOM series, 12 bits", tmp_path)
    names = [entry["path"].rpartition("/")[2] for entry in file.header.fields["files"]]
    assert names == [f"slice-{number}.dcm" for number in (3, 2, 1, 0)]


def test_names():
    assert is_file("A.NII.GZ")
    assert is_file("b.tiff")
    assert not is_file("c.gz")
    assert not is_file("d.txt")
    assert stem("x/A.nii.gz") == "A"
    assert stem("a.b.png") == "a.b"


# What is wrong with a file is said in one sentence.


def values_at(path):
    files, _ = find_files([path] if path.is_file() else sorted(path.iterdir()))
    return read_file(files[0])


def fault(path):
    with pytest.raises(ValueError, match=r".") as error:
        values_at(path)
    said = str(error.value)
    assert "\n" not in said
    return said


@pytest.mark.parametrize("part", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("kind", [kind for kind in study.KINDS if "DICOM" not in kind])
def test_a_file_that_is_cut_short(kind, part, tmp_path):
    file, _ = made(kind, tmp_path)
    data = file.path.read_bytes()
    file.path.write_bytes(data[: int(part * len(data))])
    fault(file.path)


@pytest.mark.parametrize("part", [0.05, 0.5, 0.95])
def test_a_dicom_that_is_cut_short(part, tmp_path):
    file, _ = made("DICOM series, 12 bits", tmp_path)
    data = file.path.read_bytes()
    shutil.rmtree(tmp_path / "series")
    (tmp_path / "a.dcm").write_bytes(data[: int(part * len(data))])
    fault(tmp_path / "a.dcm")


def test_pages_that_are_missing(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for _ in range(3):
            writer.write(np.ones((20, 24), np.uint16), contiguous=False, metadata=None)
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: len(data) * 2 // 3])
    assert "cut short" in fault(tmp_path / "a.tif")


def test_pages_of_unequal_sizes(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for side in (20, 24):
            writer.write(np.ones((side, side), np.uint16), metadata=None)
    assert "pages are not of one size and type (20x20, 24x24)" in fault(tmp_path / "a.tif")


def test_slices_of_unequal_sizes(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    made("DICOM series, 12 bits", tmp_path)
    path = tmp_path / "series" / "slice-0.dcm"
    data = pydicom.dcmread(path)
    data.Rows, data.PixelData = 12, data.PixelData[: 12 * 32 * 2]
    data.save_as(path)
    said = fault(tmp_path / "series")
    assert "slices of one series are not of one size and type" in said
    assert "32x12" in said
    assert "32x24" in said


def test_a_slice_that_is_missing_is_warned_of(tmp_path):
    made("DICOM series, 12 bits", tmp_path)
    (tmp_path / "series" / "slice-1.dcm").unlink()
    with pytest.warns(UserWarning, match="lie 2.5 to 5 mm apart: one may be missing"):
        opened(tmp_path / "series")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(tmp_path, value):
    array = np.zeros((20, 24), np.float32)
    array[3, 4:7] = value
    tifffile.imwrite(tmp_path / "a.tif", array)
    assert "3 of its 480 values are NaN or infinite: fill them" in fault(tmp_path / "a.tif")


def test_values_that_are_no_data(tmp_path):
    array = np.zeros((20, 24), np.uint16)
    array[:2] = 65535
    tifffile.imwrite(tmp_path / "a.tif", array, extratags=study.GEOGRAPHY, metadata=None)
    assert "48 of its 480 values are 65535, which it says is no data" in fault(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy", "a.npz", "a.nii", "a.dcm", "a.jpg"])
def test_a_file_of_something_else(tmp_path, name):
    (tmp_path / name).write_bytes(b"This is a letter, and long enough for any header. " * 20)
    assert "1 of 1 files cannot be read" in fault(tmp_path / name)


def test_complex_numbers(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((20, 24), complex))
    assert "its values are complex128: expected whole numbers or floats" in fault(
        tmp_path / "a.npy"
    )


@pytest.mark.parametrize(
    ("module", "name", "extra"),
    [("nibabel", "a.nii", "ddib_jax[nifti]"), ("pydicom", "a.dcm", "ddib_jax[dicom]")],
)
def test_a_library_that_is_missing(tmp_path, monkeypatch, module, name, extra):
    import sys

    (tmp_path / name).write_bytes(b"...")
    monkeypatch.setitem(sys.modules, module, None)
    assert f"install {extra}" in fault(tmp_path / name)


def test_a_compression_that_needs_a_library(tmp_path):
    Image.fromarray(np.zeros((20, 24), np.uint8)).save(tmp_path / "a.tif", compression="tiff_lzw")
    pytest.importorskip("tifffile")
    try:
        import imagecodecs  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match=r"install ddib_jax\[tiff\]"):
            read_file(opened(tmp_path / "a.tif"))


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    from ddib_jax.data.declared import Outputs
    from ddib_jax.data.results import Results

    scale = Scale("float32", (0.0,), (1.0,))
    out = tmp_path / "out"
    files = Outputs.plain(["a"], (64, 64, 1), scale)
    results = Results(out, ["a"], {}, files=files, scale=scale)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile.TiffWriter, "write", full)
    with pytest.raises(OSError, match="No space left"):
        results.write(0, np.zeros((1, 64, 64, 1), np.float32))
    assert not out.exists()


def test_a_picture_file_is_its_path(tmp_path):
    file = PictureFile(tmp_path / "a.tif", Header("tiff", ".tif", "uint8", (1, 1, 1)))
    assert str(file) == str(tmp_path / "a.tif")

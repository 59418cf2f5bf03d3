"""Declared ranges, and folders of files in their own units."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from ddib_jax.data import image_folder, load_dataset
from ddib_jax.data.declared import Outputs
from ddib_jax.data.inputs import open_inputs
from ddib_jax.data.resizing import Window, central, resized
from ddib_jax.data.results import Results
from ddib_jax.data.scale import Scale, check_range, declared_scale


def test_units_and_back():
    scale = Scale("uint16", (0.0, 100.0), (65535.0, 300.0))
    values = np.stack([np.arange(0, 65536, 5), np.linspace(100, 300, 13108)], axis=-1)
    unit = scale.to_unit(values.astype(np.float32))
    assert unit.dtype == np.float32
    assert (unit.min(), unit.max()) == (-1, 1)
    np.testing.assert_array_equal(np.rint(scale.to_values(unit))[:, 0], values[:, 0])
    assert Scale.from_json(scale.to_json(), "here") == scale
    assert scale.words() == "0 to 65535, 100 to 300"


def test_values_outside_are_clipped():
    scale = Scale("int16", (-10.0,), (10.0,))
    values = np.asarray([[-20.0], [0.0], [10.0], [11.0]])
    assert scale.to_unit(values).ravel().tolist() == [-1, 0, 1, 1]
    assert scale.share_outside(values) == 0.5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("1",), "a low and a high"),
        (("1", "2", "3"), "a low and a high"),
        (("p1", "p101"), "'p101' is no end of a range"),
        (("nan", "1"), "'nan' is no end of a range"),
        (("few", "1"), "'few' is no end of a range"),
    ],
)
def test_words_that_are_no_range(words, said):
    with pytest.raises(ValueError, match=said):
        check_range(words)


def test_a_range_that_holds_nothing():
    with pytest.raises(ValueError, match="5 to 5 holds nothing"):
        declared_scale(("5", "5"), "uint8", 1, ())
    with pytest.raises(ValueError, match="2 pairs and the images 3 channels"):
        declared_scale(("0", "1", "0", "2"), "uint8", 3, ())


def test_percentiles_are_of_each_channel():
    image = np.stack([np.arange(101.0), 10 * np.arange(101.0)], axis=-1).reshape(1, 101, 2)
    scale = declared_scale(("p1", "p99"), "float32", 2, [image.astype(np.float32)])
    assert (scale.low, scale.high) == ((1, 10), (99, 990))
    mixed = declared_scale(("p1", "200"), "float32", 2, [image.astype(np.float32)])
    assert (mixed.low, mixed.high) == ((1, 10), (200, 200))


@pytest.mark.parametrize("value", [{}, 3, {"dtype": "x", "low": [0], "high": [1]}])
def test_a_damaged_scale(value):
    with pytest.raises(ValueError, match=r"model.json describes its pixels in a way"):
        Scale.from_json(value, "model.json")
    assert Scale.from_json(None, "model.json") is None


def test_a_window_that_keeps_its_size_keeps_its_values():
    values = np.random.default_rng(0).normal(size=(9, 12, 5)).astype(np.float32)
    assert resized(values, central(9, 12, None)) is not None
    np.testing.assert_array_equal(resized(values, central(9, 12, None)), values)
    np.testing.assert_array_equal(resized(values, Window(1, 2, 4, 4, (4, 4))), values[1:5, 2:6])


def test_resizing_is_that_of_pictures():
    grey = np.random.default_rng(0).integers(0, 256, (24, 36)).astype(np.uint8)
    window = central(24, 36, (8, 8))
    assert window == Window(0, 6, 24, 24, (8, 8))
    picture = Image.fromarray(grey).crop((6, 0, 30, 24)).resize((8, 8), Image.Resampling.LANCZOS)
    found = resized(grey[..., None].astype(np.float32), window)[..., 0]
    assert np.abs(found - np.asarray(picture, np.float32)).max() <= 1


def folder_of(path, arrays):
    path.mkdir()
    for name, array in arrays.items():
        tifffile.imwrite(path / name, array, photometric="minisblack", metadata=None)
    return path


def ramp(channels, dtype="uint16", side=20):
    values = np.arange(side * side * channels).reshape(channels, side, side)
    return values.astype(dtype)


@pytest.mark.parametrize("channels", [1, 2, 5, 13])
def test_a_folder_of_any_channels(tmp_path, channels):
    options = {"photometric": "minisblack", "metadata": None}
    if channels > 1:
        options["planarconfig"] = "separate"
    (tmp_path / "in").mkdir()
    for name in "ab":
        tifffile.imwrite(tmp_path / "in" / f"{name}.tif", ramp(channels), **options)
    source = image_folder(tmp_path / "in", declared=("0", "6000"))
    assert source.image_shape == (20, 20, channels)
    assert source.scale == Scale("uint16", (0.0,) * channels, (6000.0,) * channels)
    expected = np.moveaxis(ramp(channels).astype(np.float32), 0, -1) / 3000 - 1
    np.testing.assert_allclose(source.take([1])[0], expected, atol=1e-6)


def test_slices_are_images_and_folders_classes(tmp_path):
    for label in ("ill", "well"):
        (tmp_path / label).mkdir(parents=True)
        np.save(tmp_path / label / "scan.npy", np.zeros((4, 20, 24), np.int16))
    source = load_dataset(tmp_path, declared=("-1000", "2000"), image_size=8)
    assert (len(source), source.image_shape) == (8, (8, 8, 1))
    assert source.classes == ("ill", "well")
    assert source.labels.tolist() == [0] * 4 + [1] * 4
    assert np.allclose(source.take(range(8)), -1 / 3)


def test_eight_bit_grey_is_one_channel_where_a_range_is_declared(tmp_path):
    Image.fromarray(ramp(1, "uint8")[0]).save(tmp_path / "a.png")
    assert image_folder(tmp_path).image_shape == (20, 20, 3)
    assert image_folder(tmp_path, declared=("0", "255")).image_shape == (20, 20, 1)


def test_without_a_range_arrays_are_no_images(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 4)))
    with pytest.raises(
        FileNotFoundError, match=r"\.npy, \.nii, \.dcm \.\.\. where a range is declar"
    ):
        image_folder(tmp_path)


def test_files_of_several_types_are_named(tmp_path):
    folder = folder_of(
        tmp_path / "in",
        {"a.tif": ramp(1)[0], "b.tif": ramp(1, "uint8")[0], "c.tif": ramp(1)[0]},
    )
    said = (
        r"not of one type and number of channels: 2 of uint16 of 1 channel \(a.tif, c.tif\);"
        r" 1 of uint8 of 1 channel \(b.tif\)"
    )
    with pytest.raises(ValueError, match=said):
        image_folder(folder, declared=("0", "255"))


def test_what_is_clipped_is_warned_of(tmp_path):
    folder = folder_of(tmp_path / "in", {"a.tif": ramp(1)[0]})
    with pytest.warns(UserWarning, match=r"49\.8% of the values lie outside of the range 0 to 200"):
        source = image_folder(folder, declared=("0", "200"))
    assert source.scale.outside == pytest.approx(0.4975)


def test_percentiles_clip_what_they_are_asked_to(tmp_path, recwarn):
    folder = folder_of(tmp_path / "in", {"a.tif": ramp(1)[0]})
    source = image_folder(folder, declared=("p2", "p98"))
    assert source.scale.outside == pytest.approx(0.04, abs=0.005)
    assert not [w for w in recwarn if "outside" in str(w.message)]
    open_inputs([str(folder)], (20, 20, 1), split="test", limit=None, scale=source.scale)
    assert not [w for w in recwarn if "outside" in str(w.message)]


def test_unreadable_files_are_left_out_where_that_is_said(tmp_path):
    folder = folder_of(tmp_path / "in", {"a.tif": ramp(1)[0], "b.tif": ramp(1)[0]})
    nan = np.full((20, 20), np.nan, np.float32)
    np.save(folder / "c.npy", nan)
    (folder / "d.tif").write_bytes((folder / "a.tif").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"1 of 4 files cannot be read: .*d.tif \(it is cut short"):
        image_folder(folder, declared=("0", "400"))
    (folder / "d.tif").unlink()
    np.save(folder / "c.npy", ramp(1)[0])
    source = image_folder(folder, declared=("0", "400"), skip_unreadable=True)
    assert len(source) == 3


def inputs_of(path, channels=1, **options):
    options = {"scale": Scale("uint16", (0.0,) * channels, (400.0,) * channels), **options}
    return open_inputs([str(path)], (20, 20, channels), split="test", limit=None, **options)


def test_inputs_say_what_does_not_fit(tmp_path):
    folder = folder_of(tmp_path / "in", {"a.tif": ramp(1)[0]})
    with pytest.raises(ValueError, match="has 1 channel, and the model takes 3"):
        inputs_of(folder, channels=3)
    with pytest.raises(ValueError, match="leave --range out"):
        inputs_of(folder, declared=("0", "1"))
    with pytest.raises(ValueError, match="A percentile is of training images"):
        inputs_of(folder, scale=None, declared=("p1", "p99"))
    with pytest.raises(FileNotFoundError, match="a model of a declared range takes these alone"):
        inputs_of("five")
    np.save(tmp_path / "b.npy", np.zeros((3, 20, 20), np.uint16))
    with pytest.raises(ValueError, match="is a volume, whose slices are written together"):
        open_inputs(
            [str(tmp_path / "b.npy")] * 2,
            (20, 20, 1),
            split="test",
            limit=None,
            count=2,
            scale=Scale("uint16", (0.0,), (400.0,)),
        )


def test_bytes_for_a_model_of_wider_numbers_are_warned_of(tmp_path):
    folder = folder_of(tmp_path / "in", {"a.tif": ramp(1, "uint8")[0]})
    with pytest.warns(UserWarning, match="is uint8 and the model's training images were uint16"):
        inputs_of(folder)


def test_a_volume_is_written_when_its_last_slice_is_there(tmp_path):
    np.save(tmp_path / "scan.npy", np.arange(3 * 400, dtype=np.uint16).reshape(3, 20, 20) % 400)
    images = inputs_of(tmp_path / "scan.npy")
    assert images.names == ["scan-000", "scan-001", "scan-002"]
    out = tmp_path / "out"
    results = Results(out, images.names, {}, files=images.outputs(images.scale), scale=images.scale)
    results.write(0, images.take(0, 2))
    assert not list(out.glob("*.npy"))
    results.write(2, images.take(2, 3))
    np.testing.assert_array_equal(np.load(out / "scan.npy"), np.load(tmp_path / "scan.npy"))


def test_what_files_of_latents_keep(tmp_path):
    np.save(tmp_path / "scan.npy", np.zeros((3, 20, 20), np.uint16))
    images = inputs_of(tmp_path / "scan.npy")
    arrays = images.to_arrays(overlap=0.5)
    files, scale = Outputs.from_arrays(arrays, 3, "l.npz")
    assert (files, scale) == (images.outputs(images.scale), images.scale)
    assert Outputs.from_arrays({}, 3, "l.npz") == (None, None)
    for name in arrays:
        broken = {key: array for key, array in arrays.items() if key != name}
        with pytest.raises(ValueError, match=r"l.npz describes the files"):
            Outputs.from_arrays(broken, 3, "l.npz")
    with pytest.raises(ValueError, match=r"l.npz describes the files"):
        Outputs.from_arrays(arrays, 2, "l.npz")


def test_a_named_data_set_has_its_own_range():
    with pytest.raises(ValueError, match="'five' has a range of its own"):
        load_dataset("five", declared=("0", "255"))

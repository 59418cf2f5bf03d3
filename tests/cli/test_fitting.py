"""Pictures of any size through models of 8 x 8: padded, resized, and in windows."""

import numpy as np
import pytest
import tifffile
from PIL import Image

import formats as study
from ddib_jax.data.fitting import Fits, placed, restored
from ddib_jax.data.formats import find_files, read_file
from ddib_jax.data.scale import Scale

from .conftest import scaled

pytestmark = pytest.mark.slow


@pytest.fixture
def large(tmp_path):
    """Pictures of 20 x 12 and of 10 x 9."""
    folder, rng = tmp_path / "large", np.random.default_rng(0)
    folder.mkdir()
    for name, size in (("a", (12, 20)), ("b", (9, 10))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A model of 16-bit grey, 8 x 8."""
    folder = tmp_path_factory.mktemp("wide")
    scaled(folder, "grey", 0, Scale("uint16", (0.0,), (65535.0,)))
    return folder / "grey"


@pytest.fixture
def scenes(tmp_path):
    """A GeoTIFF of 20 x 12 and 16 bits, and a volume of three slices of 10 x 9."""
    folder, rng = tmp_path / "scenes", np.random.default_rng(0)
    folder.mkdir()
    values = rng.integers(0, 65535, (12, 20), np.uint16)
    tifffile.imwrite(folder / "a.tif", values, extratags=study.GEOGRAPHY, metadata=None)
    np.save(folder / "scan.npy", rng.integers(0, 65536, (3, 9, 10, 1), np.uint16))
    return folder


QUICK = "--solver ddim --steps 2 --no-film"


@pytest.mark.parametrize(
    ("fit", "sizes"),
    [("crop", ((8, 8), (8, 8))), ("pad", ((8, 5), (8, 7))), ("resize", ((20, 12), (10, 9)))],
)
def test_pictures_are_fitted_and_results_freed(ddib, models, large, tmp_path, fit, sizes):
    out = tmp_path / "out"
    code, _, said = ddib(
        "translate", large, "--source", models / "here", "--target", models / "there",
        f"--fit {fit} --out", out, QUICK,
    )  # fmt: skip
    assert code == 0, said
    assert tuple(Image.open(out / f"{name}.png").size for name in "ab") == sizes


def test_pictures_of_several_sizes_are_taken_in_windows(ddib, models, large, tmp_path):
    out = tmp_path / "out"
    code, _, said = ddib(
        "translate", large, "--source", models / "here", "--target", models / "there",
        "--fit tile --overlap 0.25 --report --out", out, QUICK,
    )  # fmt: skip
    assert code == 0, said
    assert [Image.open(out / f"{name}.png").size for name in "ab"] == [(20, 12), (10, 9)]
    assert (out / "run" / "index.html").is_file()


def test_a_large_picture_comes_back_to_the_bit(ddib, models, large, tmp_path):
    latents, out, words = tmp_path / "z.npz", tmp_path / "out", "--fit tile --steps 2 --solver"
    (large / "b.png").unlink()
    code, _, said = ddib(
        "encode", large, "--model", models / "here", f"{words} lattice-heun --aux --out", latents
    )
    assert code == 0, said
    code, said, _ = ddib(
        "decode", latents, "--model", models / "here", f"{words} lattice-heun --out", out
    )
    assert code == 0, said
    assert "1 of 1 images came back to the bit" in said
    assert np.array_equal(Image.open(out / "a.png"), Image.open(large / "a.png"))


def test_what_cannot_be_fitted_is_refused(ddib, models, large, tmp_path):
    Image.new("RGB", (30, 7)).save(large / "c.png")
    code, _, said = ddib(
        "translate", large, "--source", models / "here", "--target", models / "there",
        "--fit tile --out", tmp_path / "out",
    )  # fmt: skip
    assert code == 1
    assert "c.png (30x7 pixels, smaller than the model's window of 8x8: pad or resize it" in said
    assert said.count("\n") == 1
    (large / "c.png").unlink()
    code, _, said = ddib(
        "encode", large, "--model", models / "here", "--fit tile --out", tmp_path / "z.npz"
    )
    assert code == 1
    assert "of 2 sizes (10x9, 20x12" in said or "of 2 sizes" in said


@pytest.mark.parametrize(
    ("fit", "sizes"),
    [("pad", ((5, 8), (7, 8))), ("resize", ((12, 20), (9, 10))), ("tile", ((12, 20), (9, 10)))],
)
def test_files_in_their_own_units_are_fitted(ddib, wide, scenes, tmp_path, fit, sizes):
    out = tmp_path / "out"
    code, _, said = ddib(
        "translate", scenes, "--source", wide, "--target", wide, f"--fit {fit} --out", out, QUICK
    )
    assert code == 0, said
    [before], [after] = (find_files([folder / "a.tif"])[0] for folder in (scenes, out))
    [volume], _ = find_files([out / "scan.npy"])
    assert (after.header.dtype, after.header.shape) == ("uint16", (*sizes[0], 1))
    assert (volume.header.slices, volume.header.shape) == (3, (*sizes[1], 1))
    assert read_file(after).std() > 0
    old, new = (
        {code: value for code, _, _, value in file.header.fields["tags"]}
        for file in (before, after)
    )
    assert (new[34735], new[42113]) == (old[34735], old[42113])
    # the whole picture covers the whole ground, in however many pixels
    assert new[33922] == old[33922]
    assert new[33550][0] * sizes[0][1] == pytest.approx(old[33550][0] * 20)
    assert new[33550][1] * sizes[0][0] == pytest.approx(old[33550][1] * 12)


@pytest.mark.parametrize("fit", ["pad", "resize", "tile"])
def test_latents_know_how_their_images_were_fitted(ddib, wide, scenes, tmp_path, fit):
    """Decoding needs no option, and gives pictures of their own size and kind."""
    latents, out = tmp_path / "z.npz", tmp_path / "out"
    small = np.random.default_rng(1).integers(0, 65536, (7, 6), np.uint16)
    tifffile.imwrite(scenes / "a.tif", small, description="small", metadata=None)
    (scenes / "scan.npy").unlink()
    if fit == "tile":
        tifffile.imwrite(scenes / "a.tif", np.tile(small, (2, 2)))
    way = "--solver lattice-heun --steps 2"
    words = f"--fit {fit} --overlap 0.25 --aux --out"
    code, _, said = ddib("encode", scenes, "--model", wide, way, words, latents)
    assert code == 0, said
    code, _, said = ddib("decode", latents, "--model", wide, way, "--out", out)
    assert code == 0, said
    before, after = (tifffile.imread(folder / "a.tif") for folder in (scenes, out))
    if fit == "resize":
        assert after.shape == before.shape
    else:
        np.testing.assert_array_equal(after, before)
    for words in ("--fit resize", "--fit tile --overlap 0.5", "--fit pad"):
        code, _, said = ddib("decode", latents, "--model", wide, way, words, "--out", out)
        same = words.startswith(f"--fit {fit}")
        assert (code == 0) is (same and "0.5" not in words), said
        if code:
            assert said.count("\n") == 1 + said.count("older files")
            wrong = "--overlap 0.25, and another one" if same else f"with --fit {fit}, which"
            assert wrong in said


@pytest.mark.parametrize("fit", ["pad", "tile"])
def test_pictures_and_their_latents_are_swept(ddib, wide, scenes, tmp_path, fit):
    """A reference and a coupling of frequencies are made for the picture's own size."""
    (scenes / "scan.npy").unlink()
    legs = f"--source {wide} --target {wide}"
    words = "--perturb add-noise --coefficients 0 0.1 --couple low-pass:1 --steps 2 --solver ddim"
    fitted = f"--fit {fit} --overlap 0.25 --out"
    code, _, said = ddib("sweep", scenes, legs, words, fitted, tmp_path / "out")
    assert code == 0, said
    code, _, said = ddib(
        "encode", scenes, "--model", wide, "--steps 2 --solver ddim", fitted, tmp_path / "z.npz"
    )
    assert code == 0, said
    code, _, said = ddib("sweep", tmp_path / "z.npz", legs, words, "--out", tmp_path / "again")
    assert code == 0, said
    for name in ("a_0.tif", "a_0.1.tif"):
        found, again = (tifffile.imread(tmp_path / out / name) for out in ("out", "again"))
        assert found.shape == ((12, 20) if fit == "tile" else (5, 8))
        assert np.abs(found.astype(int) - again).max() <= 8
    assert (tmp_path / "out" / "run" / "run.json").is_file()


def test_a_training_on_windows_of_large_files(ddib, scenes, tmp_path):
    """In worker processes too; the model that it makes takes the files whole, in windows."""
    (scenes / "scan.npy").unlink()
    network = (
        "--channel-mult 1 --num-res-blocks 0 --attention-resolutions 1 --rank 4 --steps 2"
        " --batch-size 2 --warmup 1 --reference 0"
    )
    data = "--range 0 65535 --crop window --image-size 8 --workers 1"
    out = tmp_path / "model"
    code, _, said = ddib("train --data", scenes, "--out", out, data, network)
    assert code == 0, said
    code, _, said = ddib(
        "translate", scenes, "--source", out, "--target", out, "--fit tile --out",
        tmp_path / "out", QUICK,
    )  # fmt: skip
    assert code == 0, said
    assert tifffile.imread(tmp_path / "out" / "a.tif").shape == (12, 20)


def test_what_files_of_latents_keep_of_fits():
    fits = Fits("tile", 0.25, (placed((12, 20), (8, 8), "tile"), placed((9, 8), (8, 8), "resize")))
    arrays = fits.to_arrays()
    assert Fits.from_arrays(arrays, 2, "l.npz") == fits
    assert Fits.from_arrays(fits.chosen(slice(1)).to_arrays(), 1, "l.npz") == fits.chosen(slice(1))
    assert Fits.from_arrays({"pixels/names": np.zeros(2)}, 2, "l.npz") is None
    for name in arrays:
        broken = {key: array for key, array in arrays.items() if key != name}
        with pytest.raises(ValueError, match=r"l.npz says in a way that cannot be read"):
            Fits.from_arrays(broken, 2, "l.npz")
    with pytest.raises(ValueError, match="those of other latents"):
        Fits.from_arrays(arrays, 3, "l.npz")


def full_tiff(writer, *args, **options):
    writer._fh.write(b"a part")
    raise OSError(28, "No space left on device")


def full_npy(file, *args):
    file.write(b"a part")
    raise OSError("270 requested and 6 written")  # as NumPy says it


@pytest.mark.parametrize(
    ("name", "place", "write", "full"),
    [("a.tif", tifffile.TiffWriter, "write", full_tiff), ("scan.npy", np, "save", full_npy)],
)
def test_a_disk_that_fills_up_leaves_nothing_unfinished(
    ddib, wide, scenes, tmp_path, monkeypatch, name, place, write, full
):
    """A part of a file was written; what is complete before it stays."""
    out, pixels = tmp_path / "out", np.random.default_rng(2).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(scenes / "0.png")
    monkeypatch.setattr(place, write, full)
    code, _, said = ddib(
        "translate", scenes / "0.png", scenes / name, "--source", wide, "--target", wide,
        "--fit tile --batch-size 1 --out", out, QUICK,
    )  # fmt: skip
    assert code == 1
    line = said.splitlines()[-1]
    assert str(out) in line
    assert "what is complete stays" in line.lower()
    assert [path.name for path in out.iterdir()] == ["0.png"]


def test_a_window_of_another_model_that_is_larger_than_the_picture(ddib, models, large, tmp_path):
    (large / "a.png").unlink()
    way = "--solver ddim --steps 2 --out"
    code, _, said = ddib(
        "encode", large, "--model", models / "here", "--fit tile", way, tmp_path / "z.npz"
    )
    assert code == 0, said
    code, _, said = ddib(
        "decode", tmp_path / "z.npz", "--model", models / "large", way, tmp_path / "out"
    )
    assert code == 1
    assert "window of 16 x 16 pixels is larger than a picture of 9 x 10; enlarge it" in said
    assert said.count("\n") == 1


def test_a_volume_of_unequal_slices_is_refused(ddib, wide, tmp_path):
    with tifffile.TiffWriter(tmp_path / "scan.tif") as writer:
        for side in (9, 10):
            writer.write(np.ones((side, 10), np.uint16), metadata=None)
    code, _, said = ddib(
        "translate", tmp_path / "scan.tif", "--source", wide, "--target", wide,
        "--fit tile --out", tmp_path / "out", QUICK,
    )  # fmt: skip
    assert code == 1
    assert "its pages are not of one size and type (10x10, 9x10)" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [(20, 12), (5, 6), (8, 8), (3, 30), (16, 16)])
@pytest.mark.parametrize("fit", ["pad", "resize"])
def test_a_result_is_where_its_picture_was(size, fit):
    place = placed(size, (8, 8), fit)
    assert place.shape == (8, 8)
    shape = restored(np.zeros((8, 8, 3), np.float32), place).shape[:2]
    shrunk = min(1, 8 / size[0], 8 / size[1])
    expected = size if fit == "resize" else tuple(max(1, round(shrunk * n)) for n in size)
    assert shape == expected

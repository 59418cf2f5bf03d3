"""Pictures as they are, through the commands: trained, encoded, decoded, translated, sampled."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

import formats as study
from ddib_jax import pretrained
from ddib_jax.cli.pixels import scale_of
from ddib_jax.data.formats import find_files, read_file
from ddib_jax.data.scale import Scale

from .conftest import scaled, tiny_model

OPTIONS = "--steps 4 --grid uniform --batch-size 4"


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Models of 16-bit grey, of 5 float channels, and of 8-bit RGB in a declared range."""
    folder = tmp_path_factory.mktemp("wide")
    scaled(folder, "grey", 0, Scale("uint16", (0.0,), (65535.0,)))
    scaled(folder, "colour", 1, Scale("uint8", (0.0,) * 3, (255.0,) * 3))
    scaled(folder, "other", 2, Scale("float32", (-1000.0,), (2000.0,)))
    return folder


@pytest.fixture
def greys(tmp_path):
    """Two grey TIFFs of 16 bits, and a volume."""
    folder = tmp_path / "greys"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in "ab":
        values = rng.integers(0, 65536, (8, 8), np.uint16)
        tifffile.imwrite(
            folder / f"{name}.tif", values, compression="zlib", description=name, metadata=None
        )
    np.save(folder / "scan.npy", rng.integers(0, 65536, (3, 8, 8, 1), np.uint16))
    return folder


@pytest.mark.slow
def test_sixteen_bits_come_back_to_the_bit(ddib, wide, greys, tmp_path):
    way = f"--model {wide / 'grey'} --solver lattice-heun --steps 4 --batch-size 4"
    code, out, err = ddib("encode", greys, "--out", tmp_path / "l.npz", "--aux", way)
    assert (code, err) == (0, ""), err
    code, out, err = ddib("decode", tmp_path / "l.npz", "--out", tmp_path / "back", way)
    assert code == 0, err
    assert "5 of 5 images came back to the bit" in out
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == [
        "a.tif",
        "b.tif",
        "scan.npy",
    ]
    for name in ("a.tif", "b.tif", "scan.npy"):
        [before], [after] = (find_files([place / name])[0] for place in (greys, tmp_path / "back"))
        assert study.differences(before.header, after.header) == []
        np.testing.assert_array_equal(read_file(before), read_file(after))


@pytest.mark.slow
def test_a_translation_is_in_the_targets_units(ddib, wide, greys, tmp_path):
    models = f"--source {wide / 'grey'} --target {wide / 'other'}"
    code, out, err = ddib("translate", greys, "--out", tmp_path / "out", models, OPTIONS)
    assert code == 0, err
    assert "5 translations" in out
    found = tifffile.imread(tmp_path / "out" / "a.tif")
    assert (found.dtype, found.shape) == (np.float32, (8, 8))
    assert found.min() >= -1000
    assert found.max() <= 2000
    assert found.max() - found.min() > 100
    volume = np.load(tmp_path / "out" / "scan.npy")
    assert (volume.dtype, volume.shape) == (np.float32, (3, 8, 8, 1))
    assert (tmp_path / "out" / "run" / "run.json").is_file()


@pytest.mark.slow
def test_grey_becomes_colour_and_the_other_way(ddib, wide, greys, tmp_path):
    models = f"--source {wide / 'grey'} --target {wide / 'colour'}"
    code, _, err = ddib("translate", greys / "a.tif", "--out", tmp_path / "to", models, OPTIONS)
    assert code == 0
    assert "the source's latents have 1 and the target's 3 channels" in err.lower()
    assert "are drawn by the seed" in err
    found = tifffile.imread(tmp_path / "to" / "a.tif")
    assert (found.dtype, found.shape) == (np.uint8, (8, 8, 3))
    models = f"--source {wide / 'colour'} --target {wide / 'grey'}"
    code, _, err = ddib(
        "translate", tmp_path / "to" / "a.tif", "--out", tmp_path / "from", models, OPTIONS
    )
    assert code == 0
    assert "no way back restores them" in err
    assert tifffile.imread(tmp_path / "from" / "a.tif").dtype == np.uint16


def test_pairs_and_couplings_need_like_channels(ddib, wide, greys, tmp_path):
    models = f"--source {wide / 'grey'} --target {wide / 'colour'}"
    where = ("translate", greys, "--out", tmp_path / "out", models)
    code, _, err = ddib(*where, "--solver lattice-heun --aux")
    assert code == 1
    assert "unlike numbers of channels; leave it out" in err
    code, _, err = ddib(*where, "--couple low-pass:1", OPTIONS)
    assert code == 1
    assert "leave the coupling out" in err


def test_a_sweep_of_unlike_sides(ddib, wide, greys, tmp_path):
    models = f"--source {wide / 'grey'} --target {wide / 'colour'}"
    words = "--perturb add-noise --coefficients 0 0.1"
    code, _, err = ddib("sweep", greys / "a.tif", "--out", tmp_path / "out", models, words, OPTIONS)
    assert code == 0, err
    assert tifffile.imread(tmp_path / "out" / "a_0.1.tif").shape == (8, 8, 3)


def test_a_range_that_the_command_declares(ddib, models, greys, tmp_path):
    code, _, err = ddib(
        "translate",
        greys,
        "--out",
        tmp_path / "out",
        f"--source {models / 'grey'} --target {models / 'grey'} --range 0 65535",
        OPTIONS,
    )
    assert code == 0, err
    assert tifffile.imread(tmp_path / "out" / "b.tif").dtype == np.uint16


def test_samples_have_the_models_type(ddib, wide, tmp_path):
    for name, suffix, dtype in (("grey", "png", np.uint16), ("other", "tif", np.float32)):
        out = tmp_path / name
        code, _, err = ddib("sample --count 2 --model", wide / name, "--out", out, OPTIONS)
        assert code == 0, err
        [file], _ = find_files([out / f"sample-00001.{suffix}"])
        assert file.header.dtype == np.dtype(dtype).name


@pytest.mark.slow
def test_training_stores_the_range(ddib, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        values = 1000 * rng.random((2, 8, 8)).astype(np.float32)
        tifffile.imwrite(
            folder / f"{number}.tif", values, photometric="minisblack", planarconfig="separate"
        )
    network = (
        "--channel-mult 1 --num-res-blocks 0 --attention-resolutions 1 --rank 4 --steps 2"
        " --batch-size 2 --warmup 1 --reference 0"
    )
    out = tmp_path / "model"
    code, _, err = ddib("train --data", folder, "--out", out, "--range p1 p99", network)
    assert code == 0, err
    scale = scale_of(pretrained.open(str(out)))
    assert (scale.dtype, scale.channels) == ("float32", 2)
    assert 0 < scale.low[0] < 30 < 970 < scale.high[1] < 1000
    assert scale.outside == pytest.approx(0.02, abs=0.01)
    assert json.loads((out / "model.json").read_text())["image_shape"] == [8, 8, 2]
    code, _, err = ddib("convert", out, "--to ddib --out", tmp_path / "copy")
    assert code == 0, err
    assert scale_of(pretrained.open(str(tmp_path / "copy"))) == scale


def test_a_scale_of_other_channels_than_the_model(tmp_path):
    facts = {"pixels": Scale("uint8", (0.0,) * 2, (255.0,) * 2).to_json()}
    path = pretrained.save_model(tmp_path / "m", tiny_model(0), facts=facts)
    with pytest.raises(ValueError, match="gives a range for 2 channels, and its images have 3"):
        scale_of(pretrained.open(str(path)))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("--range 0 few", 2, "--range is 0 few; expected LOW HIGH, each a number or a percentile"),
        ("--range 0 p101", 2, "--range is 0 p101; expected LOW HIGH"),
        ("--range 0", 2, "--range is 0; expected LOW HIGH"),
        ("--range 9 3", 1, "The range 9 to 3 holds nothing"),
        ("--range -5 3 0 1", 1, "The range has 2 pairs and the images 1 channels"),
    ],
)
def test_words_that_are_no_range(ddib, tmp_path, words, code, said):
    (tmp_path / "in").mkdir()
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / "in" / "a.png")
    found, _, err = ddib("train --data", tmp_path / "in", "--out", tmp_path / "m", words)
    assert found == code
    assert said in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err


def test_a_data_set_has_no_range(ddib, tmp_path):
    code, _, err = ddib("train --data five --range 0 255 --out", tmp_path / "m")
    assert code == 1
    assert "'five' has a range of its own" in err


@pytest.mark.slow
def test_a_cyclegan_knows_the_units_of_both_domains(ddib, greys, tmp_path):
    rng = np.random.default_rng(1)
    (tmp_path / "floats").mkdir()
    for index in range(3):
        values = rng.uniform(-1000, 2000, (8, 8)).astype(np.float32)
        tifffile.imwrite(tmp_path / "floats" / f"{index}.tif", values)
    small = "--batch-size 2 --width 8 --blocks 1 --layers 1 --steps 2"
    ranges = "--range-a 0 65535 --range-b -1000 2000"
    made = tmp_path / "gan"
    trained = ("train-cyclegan --a", greys, "--b", tmp_path / "floats", small)
    code, _, err = ddib(*trained, ranges, "--out", made)
    assert code == 0, err
    translate = ("translate", greys, "--method cyclegan --model", made / "ab")
    code, _, err = ddib(*translate, "--out", tmp_path / "out")
    assert code == 0, err
    found = tifffile.imread(tmp_path / "out" / "a.tif")
    assert (found.dtype, found.shape) == (np.float32, (8, 8))
    assert found.min() < 0
    back = ("translate", tmp_path / "floats", "--method cyclegan --model", made / "ba")
    assert ddib(*back, "--out", tmp_path / "back")[0] == 0
    assert tifffile.imread(tmp_path / "back" / "0.tif").dtype == np.uint16
    # 8-bit colours on the other side have three channels: the grey is repeated, and comes back grey
    colours = tmp_path / "colours"
    colours.mkdir()
    for index in range(2):
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(colours / f"{index}.png")
    unlike = ("train-cyclegan --a", greys, "--b", colours, small, "--range-a 0 65535")
    unlike_made = tmp_path / "unlike"
    code, out, err = ddib(*unlike, "--out", unlike_made)
    assert code == 0, err
    assert "One domain is grey, the other has 3 channels" in out
    translate = ("translate", greys, "--method cyclegan --model", unlike_made / "ab")
    assert ddib(*translate, "--out", tmp_path / "coloured")[0] == 0
    assert np.asarray(Image.open(tmp_path / "coloured" / "a.tif")).shape == (8, 8, 3)
    back = ("translate", colours, "--method cyclegan --model", unlike_made / "ba")
    assert ddib(*back, "--out", tmp_path / "greyed")[0] == 0
    found = np.asarray(Image.open(tmp_path / "greyed" / "0.png"))
    assert (found.dtype.itemsize, found.shape) == (2, (8, 8))
    # and two and three can be made one of neither way
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    for index in range(2):
        np.save(pairs / f"{index}.npy", rng.uniform(0, 1, (8, 8, 2)).astype(np.float32))
    two = ("train-cyclegan --a", pairs, "--b", colours, small, "--range-a 0 1")
    code, _, err = ddib(*two, "--out", tmp_path / "no")
    assert code == 1
    assert "The domains have 2 and 3 channels" in err

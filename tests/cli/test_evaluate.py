"""`ddib evaluate`: pairs by name or sets, tables and a page; and what cannot be compared."""

import csv
import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from ddib_jax.metrics import mae, psnr, ssim
from ddib_jax.runs import read_run


@pytest.fixture
def folders(tmp_path):
    """Folders of six results and references of 16 x 20, and one larger pair; the third is worst."""
    rng = np.random.default_rng(0)
    for folder in ("results", "references"):
        (tmp_path / folder).mkdir()
    for index in range(6):
        size = (24, 16) if index == 5 else (20, 16)
        reference = rng.integers(40, 200, (size[1], size[0], 3))
        noise = rng.integers(-30, 31, reference.shape) * (2 if index == 3 else 1)
        for folder, pixels in (("results", reference + noise), ("references", reference)):
            path = tmp_path / folder / f"image-{index}.png"
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
    return tmp_path


def test_pairs_have_scores_cases_and_a_page(ddib, folders, tmp_path):
    results, references, out = folders / "results", folders / "references", tmp_path / "scores"
    Image.new("RGB", (4, 4)).save(references / "alone.png")
    code, said, warned = ddib("evaluate", results, references, "--dice 128 --out", out)
    assert code == 0, warned
    assert "1 of 7 pictures" in warned
    assert "alone" in warned
    for word in ("Mean absolute error", "PSNR", "SSIM", "Dice above 128", "Histogram drift"):
        assert word in said
    run = read_run(out)
    rows = {row.name: row for row in run.metrics}
    assert rows["mae"].low < rows["mae"].value < rows["mae"].high
    assert rows["mae"].n == 6
    assert rows["ms_ssim"].value is None  # smaller than its coarsest window
    assert run.arrays["worst_names"][0] == "image-3"
    assert run.arrays["worst_error"].shape == (3, 16, 20, 1)
    with (out / "tables" / "images.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert lines[0]["image"] == "image-3"
    errors = [float(line["mae"]) for line in lines]
    assert errors == sorted(errors, reverse=True)
    assert np.mean(errors) == pytest.approx(rows["mae"].value)
    assert (out / "tables" / "scores.csv").is_file()
    page = (out / "index.html").read_text()
    assert "The worst pairs" in page
    assert "Every pair" in page


def test_names_that_had_to_change_are_followed(ddib, folders, tmp_path):
    results, out = folders / "results", tmp_path / "scores"
    (results / "image-0.png").rename(results / "image-0-2.png")
    (results / "names.json").write_text(json.dumps({"image-0-2": "somewhere/image-0.tif"}))
    code, said, warned = ddib("evaluate", results, folders / "references", "--out", out)
    assert (code, "6 results" in said) == (0, True), warned


def test_sets_are_compared_without_pairs(ddib, folders, tmp_path):
    for path in (folders / "results").iterdir():
        path.rename(path.with_name(f"other-{path.name}"))
    words = ("evaluate", folders / "results", folders / "references", "--out", tmp_path / "scores")
    code, _, said = ddib(*words)
    assert code == 1
    assert "--unpaired" in said
    assert said.count("\n") == 1
    code, said, _ = ddib(*words, "--unpaired")
    assert code == 0
    assert [row.name for row in read_run(tmp_path / "scores").metrics] == ["set_histogram_drift"]
    assert "in pairs" not in said


def test_pairs_of_two_sizes_are_refused(ddib, folders, tmp_path):
    Image.new("RGB", (9, 9)).save(folders / "references" / "image-2.png")
    code, _, said = ddib(
        "evaluate", folders / "results", folders / "references", "--out", tmp_path / "scores"
    )
    assert code == 1
    assert said == (
        "ddib: The pair 'image-2' has a result of 16 x 20 x 3 and a reference of 9 x 9 x"
        " 3; give both in one size.\n"
    )
    assert not (tmp_path / "scores").exists()


def test_a_picture_that_is_cut_short_is_named(ddib, folders, tmp_path):
    path = folders / "results" / "image-1.png"
    path.write_bytes(path.read_bytes()[:200])
    code, _, said = ddib(
        "evaluate", folders / "results", folders / "references", "--out", tmp_path / "scores"
    )
    assert code == 1
    assert f"{path} cannot be read" in said


# Files in their own units.


def values_of(folders, values, name="image", suffix=".tif"):
    """Arrays of results and references as files, one of each a row; those of `values` [n 2 ...]."""
    for folder in ("results", "references"):
        for path in (folders / folder).iterdir():
            path.unlink()
    for index, pair in enumerate(values):
        for folder, array in zip(("results", "references"), pair, strict=True):
            path = folders / folder / f"{name}-{index}{suffix}"
            if suffix == ".npy":
                np.save(path, array)
            else:
                planes = {"planarconfig": "contig"} if array.ndim == 3 else {}
                tifffile.imwrite(path, array, photometric="minisblack", metadata=None, **planes)
    return folders / "results", folders / "references", "--out", folders / "scores"


def rows_of(folders):
    return {row.name: row for row in read_run(folders / "scores").metrics}


def test_sixteen_bits_are_measured_at_sixteen_bits(ddib, folders):
    """By the range of their type, and five channels by all of them."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 65536, (3, 16, 20, 5)).astype(np.float64)
    found = np.clip(truth + rng.integers(-90, 91, truth.shape), 0, 65535)
    pairs = np.stack([found, truth], axis=1).astype(np.uint16)
    code, said, warned = ddib("evaluate", *values_of(folders, pairs))
    assert code == 0, warned
    assert "values from 0 to 65535" in said
    rows = rows_of(folders)
    assert rows["mae"].value == pytest.approx(mae(found, truth).mean(), rel=1e-4)
    assert rows["psnr"].value == pytest.approx(
        psnr(found, truth, data_range=65535.0).mean(), rel=1e-4
    )
    assert rows["psnr"].value > 60  # which bytes cannot resolve
    assert (folders / "scores" / "index.html").is_file()
    code, _, said = ddib("evaluate", *values_of(folders, pairs), "--data-range 1")
    assert code == 1
    assert "say which values are black and white (--range LOW HIGH) instead" in said


def test_a_declared_range_is_that_of_the_figures(ddib, folders):
    rng = np.random.default_rng(0)
    truth = rng.uniform(-1000, 2000, (3, 16, 20)).astype(np.float32)
    found = np.clip(truth + rng.normal(0, 30, truth.shape), -1000, 2000).astype(np.float32)
    words = values_of(folders, np.stack([found, truth], axis=1))
    code, _, said = ddib("evaluate", *words)
    assert code == 1
    assert "is float32 of 1 channel, whose type does not say what its values may be" in said
    assert said.count("\n") == 1
    code, said, warned = ddib("evaluate", *words, "--range -1000 2000 --dice 300")
    assert (code, warned) == (0, "")
    assert "values from -1000 to 2000" in said
    rows = rows_of(folders)
    assert rows["mae"].value == pytest.approx(mae(found, truth).mean(), rel=1e-4)
    pictures = 1000 + found[..., None], 1000 + truth[..., None]  # from 0, as SSIM is defined
    assert rows["ssim"].value == pytest.approx(ssim(*pictures, data_range=3000.0).mean(), rel=1e-4)
    above = [(found > 300) & (truth > 300), found > 300, truth > 300]
    both, one, other = (part.sum(axis=(1, 2)) for part in above)
    assert rows["dice_300"].value == pytest.approx((2 * both / (one + other)).mean(), abs=1e-3)
    code, _, warned = ddib("evaluate", *words, "--range 0 1000")
    assert code == 0
    assert "lie outside of the range 0 to 1000 and are clipped" in warned


def test_slices_of_a_volume_count_as_one(ddib, folders):
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 1, (4, 3, 16, 20, 1))
    found = truth + np.asarray([0.1, 0.02, 0.03, 0.04]).reshape(4, 1, 1, 1, 1)
    words = values_of(folders, np.stack([found, truth], axis=1), suffix=".npy")
    code, said, warned = ddib("evaluate", *words, "--range -1 2")
    assert code == 0, warned
    assert "12 results beside 12 references" in said
    rows = rows_of(folders)
    assert rows["mae"].n == 4
    assert rows["mae"].value == pytest.approx(0.0475, rel=1e-3)
    with (folders / "scores" / "tables" / "images.csv").open() as file:
        assert next(csv.DictReader(file))["image"].startswith("image-0-00")
    np.save(folders / "results" / "image-2.npy", found[2, :2])
    code, _, said = ddib("evaluate", *words, "--range -1 2")
    assert code == 1
    assert "has 3 slices in" in said
    assert "of which 2 have one of the same number in" in said


def test_values_that_fill_a_small_part_of_their_type_are_warned_of(ddib, folders):
    values = np.random.default_rng(0).integers(0, 4096, (2, 2, 16, 20)).astype(np.uint16)
    code, _, warned = ddib("evaluate", *values_of(folders, values))
    assert code == 0
    assert "The values fill 0.062 of the range of their type" in warned


def test_results_of_pairs_are_no_pictures(ddib, folders):
    """What `ddib translate --aux` keeps beside its results."""
    np.savez(folders / "results" / "pairs.npz", a=np.zeros(3), b=np.zeros(3))
    (folders / "results" / "run").mkdir()
    (folders / "results" / "run" / "run.json").write_text("{}")
    code, _, warned = ddib(
        "evaluate", folders / "results", folders / "references", "--out", folders / "scores"
    )
    assert (code, warned) == (0, "")

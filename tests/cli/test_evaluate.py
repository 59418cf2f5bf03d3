"""`ddib evaluate`: pairs by name or sets, tables and a page; and what cannot be compared."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

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

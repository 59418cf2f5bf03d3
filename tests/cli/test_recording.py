"""The runs that commands write of their own work, and their pages."""

import json
import shlex
import warnings

import numpy as np
import pytest
from PIL import Image

from ddib_jax import pretrained
from ddib_jax.cli.recording import nearest_training_images
from ddib_jax.data import image_files, load_dataset
from ddib_jax.data.png import to_bytes
from ddib_jax.diagnosis import memorised, nearest_known
from ddib_jax.runs import read_run

FEW = "--steps 3 --batch-size 2"


@pytest.fixture
def ends(models):
    return ("--source", models / "here", "--target", models / "there", FEW)


@pytest.mark.slow
def test_a_translation_is_a_run(ddib, ends, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my pictures").symlink_to(pictures)
    code, out, err = ddib("translate", tmp_path / "my pictures", *ends, "--out out")
    assert (code, err) == (0, "")
    assert "`ddib report out` makes a page of it." in out
    run = read_run(tmp_path / "out" / "run")
    assert run.name == "translation"
    assert run.title == "From here to there"
    words = shlex.split(run.command)
    assert words[:3] == ["ddib", "translate", str(tmp_path / "my pictures")]
    for name, place in (("source", None), ("translation", tmp_path / "out")):
        assert run.arrays[name].shape == (5, 8, 8, 3)
        for stem, image in zip(run.arrays["names"], run.arrays[name], strict=True):
            if place is not None:
                assert np.array_equal(np.asarray(Image.open(place / f"{stem}.png")), image)
    assert run.arrays["latent"].shape == (5, 8, 8, 3)
    assert run.arrays["film"].shape[:2] == (1, 7)
    levels = run.arrays["film_levels"]
    assert levels[0] == levels[-1] == 0
    assert levels.argmax() == 3
    rows = {row.name: row for row in run.metrics}
    assert rows["latent_mean"].target == "near 0"
    assert rows["latent_variance"].n == 5
    assert rows["round_trip"].value > 0
    assert dict(run.tables["cost"].rows)["Network evaluations an image, to encode"] == 3
    assert run.config["steps"] == 3
    assert "nearest" not in run.arrays
    assert "is not known" in run.texts["nearest"]


@pytest.mark.slow
def test_a_page_is_made_at_once_or_later_and_no_image_of_the_folder(ddib, ends, pictures, tmp_path):
    out = tmp_path / "out"
    code, said, _ = ddib("translate", pictures, *ends, "--out", out, "--report")
    page = out / "run" / "index.html"
    assert code == 0
    assert f"The page is {page}." in said
    words = page.read_text("utf-8")
    page.unlink()
    code, said, err = ddib("report", out)
    assert (code, err) == (0, "")
    assert page.read_text("utf-8") == words
    # Results are images for another command, and the page and its figures are not.
    with warnings.catch_warnings(action="error"):
        made = {path.name for path in out.glob("*.png")}
        assert {path.name for path in image_files(out)} == made - {"sheet.png"}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["translate", "sweep"])
def test_films_may_be_left_out(ddib, ends, pictures, tmp_path, command):
    more = "--perturb blur --coefficients 0 1" if command == "sweep" else ""
    out = tmp_path / "out"
    code, _, err = ddib(command, pictures, *ends, more, "--no-film --report --out", out)
    assert (code, err) == (0, "")
    run = read_run(out / "run")
    assert "film" not in run.arrays
    assert "round_trip" not in {row.name for row in run.metrics}


@pytest.mark.slow
def test_ways_without_a_latent_have_none(ddib, models, pictures, tmp_path):
    there = ("--target", models / "there", FEW, "--out")
    assert ddib("translate", pictures, "--method sdedit", *there, tmp_path / "edited")[0] == 0
    run = read_run(tmp_path / "edited" / "run")
    assert run.title == "To there by SDEdit"
    assert not {"latent", "film"} & set(run.arrays)
    assert run.metrics == ()
    assert run.config["noise"] == 1.0
    coupled = ("--couple low-pass:2 --source", models / "here", *there, tmp_path / "coupled")
    assert ddib("translate", pictures, *coupled, "--report")[0] == 0
    run = read_run(tmp_path / "coupled" / "run")
    assert run.arrays["film_levels"].argmax() == len(run.arrays["film_levels"]) - 1
    assert "factor" not in run.config


@pytest.mark.slow
def test_a_sweep_is_a_run_with_an_explorer(ddib, ends, pictures, tmp_path):
    words = ("--perturb blur --coefficients 0 1 2 --then rotate=90 --out", tmp_path / "out")
    code, out, err = ddib("sweep", pictures, *ends, *words)
    assert (code, err) == (0, "")
    explorer = tmp_path / "out" / "run" / "explorer.html"
    assert f"The explorer is {explorer}." in out
    run = read_run(explorer.parent)
    assert run.title == "From here to there: a sweep of blur and then rotate=90"
    assert run.arrays["translation"].shape == (5, 3, 8, 8, 3)
    for stem, images in zip(run.arrays["names"], run.arrays["translation"], strict=True):
        for label, image in zip(("0", "1", "2"), images, strict=True):
            found = Image.open(tmp_path / "out" / f"{stem}_{label}.png")
            assert np.array_equal(np.asarray(found), image)
    deviations = [float(row[2]) for row in run.tables["latents"].rows]
    assert deviations == sorted(deviations, reverse=True)
    assert len({row[4] for row in run.tables["latents"].rows}) == 3
    latents = tmp_path / "latents.npz"
    assert ddib("encode", pictures, "--model", ends[1], FEW, "--out", latents)[0] == 0
    again = ("sweep", latents, *ends, "--perturb rotate --report --out", tmp_path / "again")
    assert ddib(*again)[0] == 0
    run = read_run(tmp_path / "again" / "run")
    assert not {"source", "film"} & set(run.arrays)


@pytest.mark.slow
def test_samples_are_a_run(ddib, models, tmp_path):
    words = ("sample --model", models / "grey", "--count 3", FEW, "--out", tmp_path / "out")
    assert ddib(*words, "--report")[0] == 0
    run = read_run(tmp_path / "out" / "run")
    assert run.arrays["sample"].shape == (3, 8, 8, 1)
    assert list(run.arrays["film_levels"] == 0) == [False, False, False, True]
    assert list(run.arrays["names"]) == [f"sample-0000{index}" for index in range(3)]


def test_training_images_are_looked_for_where_they_are_at_hand(models):
    """Of a sevens' model its sevens; of a folder's its pictures; of others nothing is known."""
    sevens = load_dataset("seven", split="train").take([3, 4000])
    found = nearest_training_images(pretrained.open("seven"), sevens)
    assert np.array_equal(found.images, to_bytes(sevens))
    assert (found.distance == 0).all()
    assert found.searched == found.total == 6265
    assert nearest_training_images(pretrained.open("seven"), sevens[:, :8, :8]) is None
    assert nearest_training_images(pretrained.open(models / "here"), sevens) is None
    assert nearest_training_images(None, sevens) is None


def test_training_images_of_a_folder_are_looked_through(pictures, monkeypatch):
    images = load_dataset(str(pictures), image_size=8).take([1])
    found = nearest_known(str(pictures), images)
    assert found.distance == 0
    assert found.total == len(image_files(pictures))
    assert nearest_known(str(pictures / "gone"), images) is None
    monkeypatch.setattr(memorised, "_FILES", 2)
    assert nearest_known(str(pictures), images) is None


@pytest.mark.parametrize("command", ["translate", "sweep"])
def test_a_folder_called_run_of_somebody_elses_is_refused_before_the_work(
    ddib, ends, pictures, tmp_path, command
):
    mine = tmp_path / "out" / "run" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    more = "--perturb blur" if command == "sweep" else ""
    code, _, err = ddib(command, pictures, *ends, more, "--out", tmp_path / "out")
    assert code == 1
    assert "exists and is not a run" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["run"]


def test_no_run_is_one_sentence(ddib, tmp_path):
    code, _, err = ddib("report", tmp_path / "nowhere")
    assert code == 1
    assert err.count("\n") == 1
    assert "holds no finished run (run.json is missing)" in err
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps({"format": 1}))
    code, _, err = ddib("report", tmp_path)
    assert code == 1
    assert err.count("\n") == 1

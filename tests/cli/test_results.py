"""What commands do to files: nothing is lost, nothing replaced, nothing left out without a word."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from ddib_jax.cli.sweep import _labels
from ddib_jax.data.inputs import Reading, open_inputs

FEW = "--steps 2 --batch-size 2"


@pytest.fixture
def ends(models):
    return ("--source", models / "here", "--target", models / "there", FEW)


def content(folder):
    """The files below a folder by name, those of runs left out."""
    files = [path for path in folder.rglob("*") if path.is_file() and "run" not in path.parts]
    return {path.name: path.read_bytes() for path in files}


@pytest.mark.slow
@pytest.mark.parametrize("out", ["pictures", "pictures/", "pictures/new", ".", "pictures/../link"])
def test_results_among_their_images_are_refused(ddib, ends, pictures, tmp_path, out, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(pictures)
    before = content(tmp_path)
    for words in ((f"translate {pictures}", *ends), ("translate left:pictures", *ends)):
        code, _, err = ddib(*words, f"--out {out}")
        assert code == 1
        assert "name a folder apart from them" in err
        assert err.count("\n") == 1
    code, _, err = ddib(f"train --data pictures --out {out}")
    assert code == 1
    assert "name a folder apart from them" in err
    assert content(tmp_path) == before


@pytest.mark.slow
def test_the_folder_of_a_picture_is_refused(ddib, ends, pictures, models):
    before = content(pictures)
    code, _, err = ddib("translate", pictures / "a-rgb.png", *ends, "--out", pictures)
    assert code == 1
    assert "which a result could replace" in err
    assert content(pictures) == before


@pytest.mark.parametrize(
    "words",
    [
        "translate five --source nowhere --target nowhere --out /proc/there",
        "encode five --model nowhere --out /proc/there.npz",
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_models_are_read(ddib, words):
    code, _, err = ddib(words)
    assert code == 1
    assert err.startswith("ddib: Nothing can be written to /proc/there")


@pytest.mark.slow
def test_the_users_sheet_and_equal_names_are_kept(ddib, ends, tmp_path, pictures):
    folder = tmp_path / "mine"
    for place in ("cats/1.png", "dogs/1.png", "sheet.png", "con.png"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pictures / "a-rgb.png", folder / place)
    code, out, err = ddib("translate", folder, *ends, "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    assert set(content(tmp_path / "out")) == {
        "cats-1.png",
        "dogs-1.png",
        "sheet-2.png",
        "con_.png",
        "sheet.png",
        "names.json",
    }
    changed = json.loads((tmp_path / "out" / "names.json").read_text())
    assert changed == {"sheet-2": f"{folder}/sheet.png", "con_": f"{folder}/con.png"}
    assert "2 names could not stay as they were" in out
    code, _, err = ddib("translate", pictures, *ends, "--out", tmp_path / "out")
    assert code == 0
    assert "is not empty (7 older files or folders)" in err


@pytest.mark.slow
def test_names_in_latents_are_no_paths(ddib, models, pictures, tmp_path):
    good = tmp_path / "good.npz"
    ddib("encode", pictures, "--model", models / "here", "--out", good, FEW)
    arrays = dict(np.load(good))
    names = np.array(["../escaped", "/outside", "same", "same", "same"])
    np.savez(tmp_path / "bad.npz", **{**arrays, "names": names})
    np.savez(tmp_path / "short.npz", **{**arrays, "names": names[:3]})
    decode = ("--model", models / "here", FEW, "--out", tmp_path / "in" / "out")
    assert ddib("decode", tmp_path / "bad.npz", *decode)[0] == 0
    assert sorted(content(tmp_path / "in")) == [
        "_._escaped.png",
        "_outside.png",
        "names.json",
        "same-2.png",
        "same-3.png",
        "same.png",
    ]
    code, _, err = ddib("decode", tmp_path / "short.npz", *decode)
    assert code == 1
    assert "names and latents differ in number" in err


def test_coefficients_that_print_alike_keep_their_files():
    assert _labels((0.0, 1, 0.5)) == ["0", "1", "0.5"]
    assert _labels((0.1234567, 0.1234568, 2.0)) == ["0.1234567", "0.1234568", "2"]


def test_a_limit_reads_no_more_and_unreadable_files_are_listed(ddib, ends, pictures, tmp_path):
    (pictures / "b-bad.png").touch()
    assert len(open_inputs([str(pictures)], (8, 8, 3), split="test", limit=1)) == 1
    with pytest.raises(ValueError, match="1 of 2 images cannot be read"):
        open_inputs([str(pictures)], (8, 8, 3), split="test", limit=2)
    code, out, _ = ddib("translate", pictures, *ends, "--skip-unreadable --out", tmp_path / "out")
    assert code == 0
    assert "1 files could not be read and are left out" in out
    assert "5 translations lie in" in out
    listed = (tmp_path / "out" / "unreadable.txt").read_text()
    assert listed == f"{pictures}/b-bad.png (no known image format)\n"


def test_splits_and_prefixes_are_inputs_of_every_command(tmp_path):
    def names(word, split="test"):
        return open_inputs([word], (4, 4, 3), split=split, limit=None).names

    for place in ("photos/train/a", "photos/test/c", "h2z/testA/d", "pairs/val/e"):
        path = tmp_path / f"{place}.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(np.zeros((4, 8, 3), np.uint8)).save(path)
    assert names(f"{tmp_path}/photos") == ["c"]
    assert names(f"{tmp_path}/photos", "train") == ["a"]
    assert names(f"A:{tmp_path}/h2z") == ["d"]
    with pytest.warns(UserWarning, match="its val is taken for it"):
        assert names(f"left:{tmp_path}/pairs") == ["e"]
    wide = open_inputs([f"{tmp_path}/photos"], (4, 8, 3), split="test", limit=None)
    assert wide.take(0, 1).shape == (1, 4, 8, 3)
    with pytest.raises(ValueError, match=r"pixels .*\(--max-pixels\)"):
        open_inputs(
            [f"{tmp_path}/photos"],
            (4, 4, 3),
            split="test",
            limit=None,
            reading=Reading(max_pixels=31),
        )


def test_batches_are_written_as_they_come(ddib, ends, pictures, tmp_path, monkeypatch):
    from ddib_jax import translation

    calls, translate = [], translation.translate_with_latents

    def stopped(*args, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return translate(*args, **options)

    monkeypatch.setattr(translation, "translate_with_latents", stopped)
    code, _, err = ddib("translate", pictures, *ends, "--out", tmp_path / "out")
    assert code == 130
    assert err == "ddib: stopped by Ctrl-C; what is complete stays.\n"
    assert len(content(tmp_path / "out")) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--method sdedit --source five --target five", "SDEdit has no use for --source"),
        ("--method ilvr --source-class 3 --target five", "ILVR has no use for --source-class"),
        ("--method sdedit --model five --target five", "has one model; name it as --target"),
        ("--method cyclegan --model m --target five", "CycleGAN has no use for --target"),
        ("--method cyclegan --model m --steps 3", "CycleGAN has no use for --steps"),
    ],
)
def test_options_of_what_was_not_chosen_are_refused(ddib, tmp_path, words, said):
    code, _, err = ddib("translate five", words, "--out", tmp_path / "out")
    assert code == 1
    assert said in err

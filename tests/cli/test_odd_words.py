"""Words and moments of a command line that mean something else than they seem to."""

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ddib_jax import cli, translation
from ddib_jax.cli import entry
from ddib_jax.cli.registry import COMMANDS
from ddib_jax.cli.sample import Sample
from ddib_jax.cli.train_classifier import TrainClassifier
from ddib_jax.conditioning import Classes
from ddib_jax.data import load_dataset
from ddib_jax.data.inputs import open_inputs
from ddib_jax.trainer import check_place, note_data

FEW = "--steps 2 --batch-size 2"


@pytest.mark.parametrize(
    "words",
    [
        ["--out", ""],
        ["--out="],
        ["--out", "o", ""],
        ["", "--out", "o"],
        ["--out", "o", "--seed", ""],
        ["--prompt", "a", "--out", ""],
        ["--prompt", "a", "--out", "o", ""],
    ],
)
def test_an_empty_word_is_no_place(words, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.parse(["encode", "five", "--model", "five", *words])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "is empty; is a variable of the shell not set?" in said
    assert said.count("\n") == 1


def test_a_prompt_may_be_empty():
    told = cli.parse(["translate", "a", "--out", "o", "--source-prompt", "", "--target-prompt="])
    assert (told.models.source_prompt, told.models.target_prompt) == ("", "")
    words = ["sample", "--model", "m", "--out", "o", "--prompt", "cat", "", "--negative", ""]
    sampled = cli.parse(words)
    assert (sampled.prompt, sampled.negative) == (("cat", ""), "")


def test_a_home_folder_behind_an_equals_sign():
    options = cli.parse(["sample", "--model=~/models/a", "--out=~/out"])
    assert options.out == Path.home() / "out"
    assert options.model == str(Path.home() / "models" / "a")


@pytest.mark.slow
@pytest.mark.parametrize("out", ["a.png", "new/a.JPG", "model.pt", "latents.npz"])
@pytest.mark.parametrize(
    "command", ["translate five --source five --target five", "sample --model five"]
)
def test_a_folder_is_not_named_like_a_file(ddib, tmp_path, monkeypatch, command, out):
    monkeypatch.chdir(tmp_path)
    code, _, err = ddib(command, "--out", out)
    assert code == 1
    assert "is the name of a file: name a directory" in err
    assert not list(tmp_path.iterdir())


def ended_by(error, ddib, monkeypatch):
    def run(self):
        raise error

    monkeypatch.setattr(Sample, "run", run)
    return ddib("sample --model five --out o")


def test_a_reader_that_has_enough_is_no_error(ddib, monkeypatch):
    error = BrokenPipeError(errno.EPIPE, "Broken pipe")
    assert ended_by(error, ddib, monkeypatch) == (141, "", "")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "o/a.png"),
            "No space left on device (o/a.png); what is complete stays, make room and start again.",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "Permission denied (x)."),
        (OSError("one of ours"), "one of ours"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_errors_of_the_system_are_sentences(ddib, monkeypatch, error, said):
    assert ended_by(error, ddib, monkeypatch) == (1, "", f"ddib: {said}\n")


def test_ctrl_c_while_modules_are_imported(ddib, monkeypatch):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(entry, "parse", interrupted)
    assert ddib("sample") == (130, "", "ddib: stopped by Ctrl-C; nothing had begun.\n")


def test_a_class_whose_name_is_anothers_number():
    classes = Classes(("0", "1", "10", "2"), 4)
    with pytest.warns(
        UserWarning, match=r"'2' is the class of that name, which is number 3"
    ) as said:
        assert classes(("2",)).tolist() == [3]
    assert "not number 2 (10)" in str(said[0].message)
    assert classes(("0", "1", "10", "3")).tolist() == [0, 1, 2, 3]


@pytest.mark.usefixtures("unchecked")  # a checkpoint of nothing but its words
def test_a_name_of_a_class_may_hold_a_comma():
    words = ("red, white", "blue")
    checkpoint = SimpleNamespace(conditioner=Classes(words, 2))
    for label, found in (
        ("red, white", ("red, white",)),
        ("blue,1", ("blue", "1")),
        ("all", words),
    ):
        sample = Sample(model="m", out=Path("o"), label=label)
        assert sample._words(checkpoint) == found  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
def test_a_file_of_arrays_is_no_picture(ddib, tmp_path, models):
    path = tmp_path / "latents.npz"
    np.savez(path, a=np.zeros(1))
    words = ("translate", path, "--source", models / "here", "--target", models / "there")
    code, _, err = ddib(*words, "--out", tmp_path / "out")
    assert code == 1
    assert f"is a NumPy file and no picture: images in it are npz:{path}" in err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("clip.MP4", "a video: export its frames"),
        ("a.zip", "an archive: unpack it"),
        ("IMG_1.HEIC", "a format to be converted first"),
        ("a.png", "no known image format"),
    ],
)
def test_what_no_picture_is(tmp_path, name, said):
    (tmp_path / name).write_bytes(b"no picture at all")
    with pytest.raises(ValueError, match=rf"1 of 1 images cannot be read: .*{name} \({said}\)"):
        open_inputs([str(tmp_path / name)], (8, 8, 3), split="test", limit=None)


def test_arrays_of_no_name_are_not_those_of_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("test.npz", images=np.zeros((1, 8, 8, 3), np.uint8))
    for word in ("npz:", "npz"):
        with pytest.raises(ValueError, match="names no file"):
            open_inputs([word], (8, 8, 3), split="test", limit=None)
    assert len(open_inputs(["npz:."], (8, 8, 3), split="test", limit=None)) == 1


@pytest.mark.slow
def test_pictures_of_one_stem_keep_their_results(ddib, tmp_path, models):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.png", "a.jpg", "A.bmp"):
        Image.new("RGB", (8, 8)).save(folder / name)
    words = ("translate", folder, "--source", models / "here", "--target", models / "there", FEW)
    code, out, _ = ddib(*words, "--out", tmp_path / "out")
    assert code == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 4
    changed = json.loads((tmp_path / "out" / "names.json").read_text())
    assert len(changed) == 2
    assert "2 names could not stay as they were" in out


@pytest.mark.slow
def test_what_a_stopped_decoding_has_made_stays(ddib, tmp_path, models, pictures, monkeypatch):
    here = ("--model", models / "here")
    latents, alike = tmp_path / "latents.npz", tmp_path / "alike.npz"
    assert ddib("encode", pictures, *here, FEW, "--out", latents)[0] == 0
    assert ddib("encode", pictures, *here, "--steps 2 --batch-size 5 --out", alike)[0] == 0
    with np.load(latents) as two, np.load(alike) as five:
        np.testing.assert_allclose(two["latents"], five["latents"], atol=1e-5)
        arrays = dict(two)
    calls, decode = [], translation.decode

    def stopped(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return decode(*args, **options)

    monkeypatch.setattr(translation, "decode", stopped)
    names = np.array(["a/b", "c", "d", "e", "f"])
    np.savez(latents, **{**arrays, "names": names})
    code, *_ = ddib("decode", latents, *here, FEW, "--out", tmp_path / "out")
    assert code == 130
    assert sorted(os.listdir(tmp_path / "out")) == ["a_b.png", "c.png", "names.json"]
    for changed, said in (
        ({"latents": arrays["latents"][:0], "names": names[:0]}, "it holds no latent"),
        ({"latents": arrays["latents"] * np.nan}, "latents hold values that are not finite"),
        ({"latents": arrays["latents"][:, :4]}, "takes latents of 8 x 8 x 3; these are of 4 x 8"),
    ):
        np.savez(latents, **{**arrays, **changed})
        code, _, err = ddib("decode", latents, *here, FEW, "--out", tmp_path / "no")
        assert code == 1
        assert said in err


def test_a_model_is_not_replaced_by_a_training_that_cannot_go_on(tmp_path):
    out = tmp_path / "out"
    for place in ("model.json", "ab/model.json"):
        (out / place).parent.mkdir(parents=True, exist_ok=True)
        (out / place).touch()
    (out / "training" / "steps").mkdir(parents=True)  # its checkpoints were removed to make room
    for models in (("",), ("ab", "ba")):
        with pytest.raises(ValueError, match=r"and .* no checkpoint of a training that made it"):
            check_place(out, models=models)
    with pytest.raises(ValueError, match="no checkpoint of a training"):
        TrainClassifier(out=out).run()
    check_place(out, models=("ba",))
    (out / "training" / "steps" / "20").mkdir()
    check_place(out)


@pytest.mark.parametrize("data", ["checkerboard", "folder", "npz:many.npz"])
def test_a_classifier_is_of_labelled_images(tmp_path, monkeypatch, pictures, data):
    monkeypatch.chdir(tmp_path)
    pictures.rename("folder")
    images = np.zeros((11, 8, 8, 3), np.uint8)
    np.savez("many.npz", images=images, labels=np.arange(11))
    with pytest.raises(ValueError, match="has no images with labels of at most 10 classes"):
        TrainClassifier(out=tmp_path / "out", data=data).run()
    [example] = COMMANDS["train-classifier"].examples
    load_dataset(cli.parse(example.split()[1:]).data)
    with pytest.raises(ValueError, match="is a file: give its folder"):
        load_dataset("folder/a-rgb.png")


def test_images_that_came_or_went_are_told(tmp_path, recwarn):
    note_data(tmp_path, [5, 7], fresh=True)
    note_data(tmp_path, [5, 7], fresh=False)
    note_data(tmp_path, [4, 7], fresh=True)
    assert not recwarn
    with pytest.warns(UserWarning, match="had 4 and 7 images when .* have 6 and 7 now"):
        note_data(tmp_path, [6, 7], fresh=False)
    recwarn.clear()
    note_data(tmp_path, [6, 7], fresh=False)
    assert not recwarn


@pytest.mark.parametrize("words", ["--generator unet --blocks 9", "--downs 3"])
def test_options_of_the_other_generator_are_refused(ddib, tmp_path, pictures, words):
    folders = ("train-cyclegan --a", pictures, "--b", pictures)
    code, _, err = ddib(*folders, words, "--out", tmp_path / "out")
    assert code == 1
    assert "is an option of the generator" in err


def test_a_model_is_not_replaced_by_a_converted_one(ddib, tmp_path, models):
    for name in ("model.pt", "flags.json", "classes.json"):
        out = tmp_path / name.replace(".", "-")
        out.mkdir()
        (out / name).write_text("mine")
        code, _, err = ddib("convert", models / "here", "--to guided-diffusion --out", out)
        assert code == 1
        assert f"holds a model already ({name})" in err
        assert (out / name).read_text() == "mine"


def test_frames_behind_the_first_are_told(tmp_path, recwarn):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    names = ("film.gif", "pages.tif", "film.png", "film.webp", "phone.mpo")
    for name in names:
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "one.gif")
    images = open_inputs([str(tmp_path)], (8, 8, 3), split="test", limit=None)
    assert len(images) == 7
    [said] = [str(w.message) for w in recwarn if "several frames" in str(w.message)]
    assert said.startswith("4 of 7 images hold several frames or pages, of which the first is read")
    assert "phone" not in said

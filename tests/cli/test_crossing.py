"""translate, encode, decode and sample: shipped models, tiny ones, and wrong input."""

import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from ddib_jax.pretrained import SHIPPED

FEW = "--steps 3 --batch-size 4"


@pytest.mark.slow
def test_shipped_models_translate_a_data_set(ddib, tmp_path):
    code, out, err = ddib(
        "translate five --source five --target seven --limit 3 --out", tmp_path / "out", FEW
    )
    assert (code, err) == (0, "")
    assert "3 translations lie in" in out
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["five-00000.png", "five-00001.png", "five-00002.png", "run", "sheet.png"]
    assert Image.open(tmp_path / "out" / names[0]).size == (32, 32)


@pytest.mark.slow
def test_every_kind_of_picture_is_translated(ddib, models, pictures, tmp_path):
    here, there = models / "here", models / "there"
    code, _out, err = ddib(
        "translate", pictures, "--source", here, "--target", there, "--out", tmp_path / "out", FEW
    )
    assert (code, err) == (0, "")
    assert {path.name for path in pictures.iterdir()} | {"run", "sheet.png"} == {
        path.name for path in (tmp_path / "out").iterdir()
    }


@pytest.mark.slow
def test_latents_travel(ddib, models, pictures, tmp_path):
    """Encoding and decoding by two parties is translation; decoding by the first gives all back."""
    here, there, latents = models / "here", models / "there", tmp_path / "latents.npz"
    many = "--steps 40 --batch-size 4"
    assert ddib("encode", pictures, "--model", here, "--out", latents, many)[0] == 0
    assert ddib("decode", latents, "--model", there, "--out", tmp_path / "decoded", many)[0] == 0
    assert ddib("decode", latents, "--model", here, "--out", tmp_path / "back", many)[0] == 0
    code, *_ = ddib(
        "translate",
        pictures,
        "--source",
        here,
        "--target",
        there,
        "--out",
        tmp_path / "direct",
        many,
    )
    assert code == 0
    for path in (tmp_path / "decoded").iterdir():
        two, one = (
            np.asarray(Image.open(folder / path.name), int)
            for folder in (path.parent, tmp_path / "direct")
        )
        assert np.abs(two - one).max() <= 1
    given, back = (
        np.asarray(Image.open(folder / "a-rgb.png"), int)
        for folder in (pictures, tmp_path / "back")
    )
    assert np.abs(given - back).max() <= 2
    stored = np.load(latents)
    assert stored["latents"].dtype == np.float32
    assert 0.3 < stored["latents"].std() < 3


@pytest.mark.slow
def test_an_auxiliary_state_travels_with_its_latents(ddib, models, pictures, tmp_path):
    """Its own model gives the pictures back to the byte; another one uses the latents alone."""
    here, there, latents = models / "here", models / "there", tmp_path / "latents.npz"
    way = "--solver rex-midpoint --grid log-uniform"
    assert ddib("encode", pictures, "--model", here, "--out", latents, "--aux", way, FEW)[0] == 0
    assert ddib("decode", latents, "--model", here, "--out", tmp_path / "back", way, FEW)[0] == 0
    given, back = (
        np.asarray(Image.open(folder / "a-rgb.png"), int)
        for folder in (pictures, tmp_path / "back")
    )
    assert np.abs(given - back).max() == 0
    code, out, err = ddib(
        "decode", latents, "--model", there, "--out", tmp_path / "there", way, FEW
    )
    assert code == 0
    assert "auxiliary state is of no use here" in out
    code, _, err = ddib(
        "decode",
        latents,
        "--model",
        here,
        "--out",
        tmp_path / "no",
        "--solver o-belm --grid log-uniform",
        FEW,
    )
    assert code == 1
    assert err.startswith("ddib: The auxiliary state is that of")
    assert err.count("\n") == 1
    code, _, err = ddib(
        "decode", latents, "--model", here, "--out", tmp_path / "no", way, "--steps 4"
    )
    assert code == 1
    assert "made on another grid, of 3 steps" in err
    code, _, err = ddib(
        "encode", pictures, "--model", here, "--out", tmp_path / "no.npz", "--aux", FEW
    )
    assert code == 1
    assert "'dpmpp-2m' has no auxiliary state; reversible solvers are o-belm" in err


def test_sample(ddib, models, tmp_path):
    arguments = ("sample --model", models / "grey", "--count 3", FEW)
    for name in ("one", "two"):
        assert ddib(*arguments, "--out", tmp_path / name)[0] == 0
    pictures = list((tmp_path / "one").glob("*.png"))
    assert len(pictures) == 4
    for path in pictures:
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            "translate {pictures} --source nowhere --target {there} --out {out}",
            "There is no model 'nowhere'",
        ),
        (
            "translate {pictures} --source {here} --target {large} --out {out}",
            "cannot meet: the source makes latents of 8 x 8 x 3",
        ),
        (
            "translate {pictures} --source {grey} --target {large} --out {out}",
            "the target decodes 16 x 16 x 3; train both at one size. Numbers of channels may",
        ),
        (
            "translate missing.png --source {here} --target {there} --out {out}",
            "There is no 'missing.png'",
        ),
        ("translate --source {here} --target {there} --out {out}", "There is nothing to read"),
        ("translate {empty} --source {here} --target {there} --out {out}", "no image in"),
        (
            "translate {broken} --source {here} --target {there} --out {out}",
            "1 of 2 images cannot be read",
        ),
        (
            "translate five --source {here} --target {there} --out {out}",
            "has images of 32 x 32 x 3; the model takes 8 x 8 x 3",
        ),
        (
            "translate {pictures} --source {here} --target {there} --out {out} --solver leapfrog",
            "known are euler",
        ),
        (
            "translate {pictures} --source {here} --target {there} --out {out} --grid fine",
            "known are karras",
        ),
        ("encode {pictures} --model {here} --out {out}.npy", "Latents are written as .npz"),
        ("decode {pictures}/a-rgb.png --model {here} --out {out}", "it is no .npz file"),
        ("decode missing.npz --model {here} --out {out}", "There is no file missing.npz"),
        (
            "sample --model digit-classifier --out {out}",
            "holds a classifier model; a diffusion model is needed",
        ),
    ],
)
def test_bad_input_is_one_sentence(ddib, models, pictures, tmp_path, arguments, sentence):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    shutil.copy(pictures / "a-rgb.png", tmp_path / "broken")
    (tmp_path / "broken" / "half.png").write_bytes((pictures / "a-rgb.png").read_bytes()[:60])
    places = {name: models / name for name in ("here", "there", "grey", "large")}
    places |= {
        "pictures": pictures,
        "empty": tmp_path / "empty",
        "broken": tmp_path / "broken",
        "out": tmp_path / "out",
    }
    before = set(tmp_path.rglob("*"))
    code, _out, err = ddib(*arguments.format(**places).split())
    assert code == 1
    assert err.startswith("ddib: ")
    assert err.count("\n") == 1
    assert sentence in err
    assert set(tmp_path.rglob("*")) == before, "something half-written was left behind"


def test_latents_of_another_shape_are_refused(ddib, models, pictures, tmp_path):
    ddib("encode", pictures, "--model", models / "here", "--out", tmp_path / "latents.npz", FEW)
    code, _, err = ddib(
        "decode",
        tmp_path / "latents.npz",
        "--model",
        models / "large",
        "--out",
        tmp_path / "out",
        FEW,
    )
    assert code == 1
    assert "takes latents of 16 x 16 x 3; these are of 8 x 8 x 3" in err


def test_a_model_that_gives_nan_is_named(ddib, models, pictures, tmp_path):
    broken = shutil.copytree(models / "here", tmp_path / "nan-model")
    weights = load_file(broken / "weights.safetensors")
    weights["params/out.2/bias"] = np.full_like(weights["params/out.2/bias"], np.nan)
    save_file(weights, broken / "weights.safetensors")
    code, _, err = ddib("sample --model", broken, "--count 2 --out", tmp_path / "out", FEW)
    assert code == 1
    assert "2 of 2 images are not finite" in err
    assert not (tmp_path / "out").exists()


def test_shipped_models_are_small():
    """Those of the founding study; the models of points have a budget of their own."""
    files = [
        path
        for name in ("five", "seven", "digit-classifier")
        for path in (SHIPPED / name).iterdir()
    ]
    assert len(files) == 8
    assert sum(path.stat().st_size for path in files) < 16e6

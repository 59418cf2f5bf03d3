"""`ddib translate` by coupled bridges, SDEdit and ILVR, and options that do not go together."""

import jax
import numpy as np
import pytest
from PIL import Image

import ddib_jax
from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.cli.crossing import read_inputs
from ddib_jax.data.png import to_bytes
from ddib_jax.perturbations import get_perturbation

pytestmark = pytest.mark.slow


def test_coupled_bridges_from_the_command_line(ddib, models, pictures, tmp_path):
    words = (
        "translate",
        pictures,
        "--source",
        models / "here",
        "--target",
        models / "there",
        "--steps 3",
    )
    assert ddib(*words, "--couple low-pass:2 --out", tmp_path / "coupled")[0] == 0
    coupled = np.asarray(Image.open(tmp_path / "coupled" / "a-rgb.png"), int)
    for options, said in (
        ("--couple high-pass:99", "no frequency from 99 up to below 8 in images of 8 x 8"),
        ("--couple low-pass:x", "counted in whole numbers, not 'x'"),
        ("--couple tie", "'tie' is no coupling; known are low-pass:N, high-pass:N"),
        ("--couple mask:missing.png", "missing.png"),
        ("--couple low-pass:1 --trajectory gif", "leave the trajectory out"),
        ("--solver exact-dpmpp-2m --trajectory gif", "has no states between the ends of a grid"),
        ("--couple low-pass:1 --method sdedit", "--couple is an option of DDIB"),
        ("--until 1", "no coupling whose end or strength could be set"),
        ("--couple low-pass:1 --until 1000", "between 0 and the end of its bridges at 80, not"),
        ("--factor 3", "--factor is an option of ILVR; leave it out, or say --method ilvr"),
        ("--method magic", "Unknown method 'magic'; known are ddib, sdedit, ilvr, cyclegan"),
        ("--perturb blur", "Say how much: write the perturbation as blur=VALUE"),
        ("--perturb slerp-other=0.5", "give the DDIB a `reference` (--reference"),
        ("--perturb add-noise=0.5 --reference five", "No perturbation looks at --reference"),
        ("--align five", "two names, of the source's and of the target's, not 1"),
        (f"--align {pictures} {pictures} --perturb blur=1", "perturbed already; align them"),
        ("--either-contrast 99", "knows noise levels from 0.002 to 80; choose between an image"),
        ("--either-contrast 2 --trust 2", "take --method ddib, without --either-contrast"),
        ("--either-contrast 2 --trajectory gif", "leave the trajectory out"),
    ):
        code, _, err = ddib(*words, *options.split(), "--out", tmp_path / "no")
        assert code == 1, options
        assert said in err, options
        assert err.count("\n") == 1, options
    swept = (
        "sweep",
        pictures,
        "--source",
        models / "here",
        "--target",
        models / "there",
        "--perturb blur --coefficients 0 1 --steps 3",
    )
    assert ddib(*swept, "--couple low-pass:2 --out", tmp_path / "swept")[0] == 0
    zero = np.asarray(Image.open(tmp_path / "swept" / "a-rgb_0.png"), int)
    assert np.abs(zero - coupled).max() <= 1


def test_aligned_latents_from_the_command_line(ddib, models, pictures, tmp_path):
    pytest.importorskip("ott", reason="extra 'studies'")
    ends = ("--source", models / "here", "--target", models / "there", "--steps 3 --no-film")
    for name, more in (("plain", ()), ("aligned", ("--align", pictures, pictures))):
        assert ddib("translate", pictures, *ends, *more, "--out", tmp_path / name)[0] == 0
    read = lambda name: np.asarray(Image.open(tmp_path / name / "a-rgb.png"), int)
    assert (read("plain") != read("aligned")).any()


def test_an_image_or_its_negative_from_the_command_line(ddib, models, pictures, tmp_path):
    """The pictures' negatives give what the pictures give, up to the rounding of their bytes."""
    negatives = tmp_path / "negatives"
    negatives.mkdir()
    for path in pictures.glob("*.png"):
        image = np.asarray(Image.open(path).convert("RGB"))
        Image.fromarray(255 - image).save(negatives / path.name)
    ends = ("--source", models / "here", "--target", models / "there", "--steps 3")
    for name, folder in (("plain", pictures), ("turned", negatives)):
        words = ("translate", folder, *ends, "--either-contrast 2 --no-film --out", tmp_path / name)
        assert ddib(*words)[0] == 0
    read = lambda name: np.asarray(Image.open(tmp_path / name / "a-rgb.png"), int)
    assert np.abs(read("plain") - read("turned")).max() <= 1


def test_sdedit_and_ilvr_from_the_command_line(ddib, models, pictures, tmp_path):
    words = ("translate", pictures, "--method ilvr --target", models / "there", "--steps 3")
    assert ddib(*words, "--factor 2 --out", tmp_path / "ilvr")[0] == 0
    code, _, err = ddib(*words, "--factor 99 --out", tmp_path / "no")
    assert code == 1
    assert "The factor 99 does not shrink data of" in err
    words = ("translate", pictures, "--method sdedit --target", models / "there", "--steps 3")
    assert ddib(*words, "--noise 0.5 --out", tmp_path / "out")[0] == 0
    code, _, err = ddib(*words, "--noise 500 --out", tmp_path / "no")
    assert code == 1
    assert "outside of what the model knows, 0.002 to 80" in err
    code, _, err = ddib("translate", pictures, "--method sdedit --out", tmp_path / "no")
    assert code == 1
    assert "SDEdit needs the target model" in err
    code, _, err = ddib(
        "translate",
        pictures,
        "--method cyclegan --model",
        models / "here",
        "--out",
        tmp_path / "no",
    )
    assert code == 1
    assert "holds a diffusion model; a generator model is needed here" in err


@pytest.mark.parametrize("name", ["add-noise", "slerp-other"])
def test_the_command_translates_as_python_does(ddib, models, pictures, tmp_path, name):
    """By `ddib translate` and `ddib sweep`, with noise and with a reference."""
    ends = ("--source", models / "here", "--target", models / "there", "--steps 3 --seed 5")
    reference = ("--reference", pictures / "a-rgb.png") if name == "slerp-other" else ()
    assert (
        ddib(
            "translate",
            pictures,
            *ends,
            f"--perturb {name}=0.5",
            *reference,
            "--out",
            tmp_path / "one",
        )[0]
        == 0
    )
    assert (
        ddib(
            "sweep",
            pictures,
            *ends,
            f"--perturb {name} --coefficients 0.5",
            *reference,
            "--out",
            tmp_path / "two",
        )[0]
        == 0
    )
    here, there = (Bridge.over(ddib_jax.load(models / side), steps=3) for side in ("here", "there"))
    paths = sorted(pictures.iterdir())
    names, images = read_inputs([str(pictures)], (8, 8, 3), split="test", limit=None)
    _, other = read_inputs([str(pictures / "a-rgb.png")], (8, 8, 3), split="test", limit=None)
    method = DDIB(here, there, 0.5, perturb=get_perturbation(name), reference=other[0])
    expected = to_bytes(ddib_jax.translate(method, images, key=jax.random.key(5)))
    assert len(names) == len(paths)
    for stem, image in zip(names, expected, strict=True):
        for place, file in (("one", stem), ("two", f"{stem}_0.5")):
            found = np.asarray(Image.open(tmp_path / place / f"{file}.png"), int)
            assert np.abs(found - image).max() <= 1, (place, stem)

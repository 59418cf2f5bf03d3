"""`ddib sweep` from the command line: tiny models, latents that travelled, and bad inputs."""

import numpy as np
import pytest
from PIL import Image

FEW = "--steps 3 --batch-size 4"


def pixels(folder):
    return {
        path.name: np.asarray(Image.open(path), int)
        for path in folder.glob("*.png")
        if path.name != "sheet.png"
    }


@pytest.mark.slow
def test_a_sweep_writes_an_image_for_every_coefficient(ddib, models, pictures, tmp_path):
    legs = ("--source", models / "here", "--target", models / "there")
    command = (
        "sweep",
        pictures,
        *legs,
        "--perturb rotate --then blur=0.5 --coefficients 0 90 --out",
    )
    for said in ("", "is not empty (12 older files or folders)"):  # the second over the first
        code, out, err = ddib(*command, tmp_path / "out", FEW)
        assert code == 0
        assert said in err
        assert bool(said) == bool(err)
        assert "5 images under 2 coefficients lie in" in out
    found = pixels(tmp_path / "out")
    assert set(found) == {
        f"{path.stem}_{label}.png" for path in pictures.iterdir() for label in ("0", "90")
    }
    assert (tmp_path / "out" / "sheet.png").is_file()
    assert any(
        (found[name] != found[name.replace("_0", "_90")]).any() for name in found if "_0" in name
    )


@pytest.mark.slow
def test_nothing_perturbed_is_the_translation(ddib, models, pictures, tmp_path):
    legs = ("--source", models / "here", "--target", models / "there")
    assert ddib("sweep", pictures, *legs, "--perturb none --out", tmp_path / "swept", FEW)[0] == 0
    assert ddib("translate", pictures, *legs, "--out", tmp_path / "translated", FEW)[0] == 0
    swept, translated = pixels(tmp_path / "swept"), pixels(tmp_path / "translated")
    for name, image in translated.items():
        assert np.abs(swept[name.replace(".png", "_0.png")] - image).max() <= 1


@pytest.mark.slow
def test_latents_that_travelled_are_swept(ddib, models, pictures, tmp_path):
    legs, latents = (
        ("--source", models / "here", "--target", models / "there"),
        tmp_path / "latents.npz",
    )
    assert ddib("encode", pictures, "--model", models / "here", "--out", latents, FEW)[0] == 0
    command = "--perturb add-noise --coefficients 0.3 --out"
    assert ddib("sweep", pictures, *legs, command, tmp_path / "images", FEW)[0] == 0
    assert ddib("sweep", latents, *legs, command, tmp_path / "latents", FEW)[0] == 0
    images, again = pixels(tmp_path / "images"), pixels(tmp_path / "latents")
    assert all(np.abs(again[name] - image).max() <= 1 for name, image in images.items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--perturb melt", "Unknown perturbation 'melt'; known are none, normalise"),
        ("--perturb blend-image --coefficients 1.5", "takes a number from 0 to 1"),
        ("--perturb checkerboard-noise --coefficients 1.5", "takes whole numbers"),
        ("--perturb blur --coefficients 1 1", "none twice"),
        ("--perturb blur --then blur-image", "comes before the latent's own"),
        ("--perturb blur --source {there} --latents", "were encoded by another model than"),
        ("--perturb blend-image --latents", "looks at the source images; give images"),
        (
            "--perturb blur --source {large} --target {large} --latents",
            "were encoded by another model than",
        ),
        ("--perturb blur --target {large}", "cannot meet"),
    ],
)
def test_bad_input_is_one_sentence(ddib, models, pictures, tmp_path, options, sentence):
    given = pictures
    if "--latents" in options:
        given, options = tmp_path / "latents.npz", options.replace("--latents", "")
        assert ddib("encode", pictures, "--model", models / "here", "--out", given, FEW)[0] == 0
    words = options.format(**{name: models / name for name in ("there", "large")}).split()
    legs = [
        word
        for name, model in (("--source", "here"), ("--target", "there"))
        if name not in words
        for word in (name, models / model)
    ]
    code, _, err = ddib("sweep", given, *legs, *words, "--out", tmp_path / "out", FEW)
    assert code == 1
    assert err.count("\n") == 1
    assert sentence in err
    assert not (tmp_path / "out").exists()

"""`ddib colours`: trains two small models, writes the picture, and remembers the models."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for name, centre in (("photo", [60, 90, 180]), ("painting", [200, 120, 40])):
        pixels = np.clip(rng.normal(centre, 25, (40, 50, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path


@pytest.mark.slow
def test_a_photo_takes_a_palette(ddib, images):
    options = (
        "--out",
        images / "out.png",
        "--space rgb --training-steps 60 --models",
        images / "models",
    )
    code, out, err = ddib(
        "colours", images / "photo.png", "--like", images / "painting.png", *options
    )
    assert (code, err) == (0, "")
    assert out.count("Learning the colours") == 2
    made, wanted, before = (
        np.asarray(Image.open(images / f"{name}.png")).reshape(-1, 3).astype(float)
        for name in ("out", "painting", "photo")
    )
    assert Image.open(images / "out.png").size == (50, 40)
    assert np.abs(made.mean(0) - wanted.mean(0)).max() < 12
    assert np.abs(made.std(0) - wanted.std(0)).max() < 8
    assert np.corrcoef(made[:, 0], before[:, 0])[0, 1] > 0.9  # what was bright stays bright
    code, out, _ = ddib(
        "colours", images / "photo.png", "--like", images / "painting.png", *options
    )
    assert code == 0
    assert "Learning" not in out


def test_bad_inputs_are_one_sentence(ddib, images):
    Image.new("L", (8, 8), 7).save(images / "grey.png")
    code, _, err = ddib(
        "colours",
        images / "photo.png",
        "--like",
        images / "grey.png",
        "--out",
        images / "o.png",
        "--space rgb --models",
        images / "m",
    )
    assert code == 1
    assert "is grey: it has no palette" in err
    assert not (images / "m").exists()
    code, _, err = ddib(
        "train --data", f"rgb:{images / 'photo.png'}", "--out", images / "m", "--batch-size 4096"
    )
    assert code == 1
    assert "has 2000 points, fewer than a batch of 4096" in err
    for arguments in (
        ("sample", "--model", "moons", "--out", images / "samples"),
        ("diagnose", "moons"),
    ):
        code, _, err = ddib(*arguments)
        assert code == 1
        assert "knows points, not images" in err

"""`ddib translate --trust` and `--domain`: maps beside results, scores, warnings."""

import csv

import numpy as np
import pytest
from PIL import Image

from ddib_jax.data import image_files


@pytest.fixture
def domain(tmp_path):
    folder, rng = tmp_path / "domain", np.random.default_rng(0)
    folder.mkdir()
    for index in range(30):
        pixels = np.clip(rng.normal(128, 40, (8, 8, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:02d}.png")
    return folder


@pytest.mark.slow
def test_maps_scores_and_a_warning(ddib, models, domain, tmp_path):
    given, out = tmp_path / "given", tmp_path / "out"
    given.mkdir()
    (domain / "00.png").rename(given / "like.png")
    Image.new("RGB", (8, 8), "white").save(given / "odd.png")
    code, _, said = ddib(
        "translate", given, "--source", models / "here", "--target", models / "there",
        "--solver ddim --steps 3 --no-film --report --trust 2 --false-alarms 0.1 --domain",
        domain, "--out", out,
    )  # fmt: skip
    assert code == 0, said
    assert "1 of 2 images do not look like the source model's domain" in said
    assert "odd (" in said
    maps = np.asarray(Image.open(out / "trust" / "like.png"))
    assert maps.shape == (8, 8)
    assert maps.max() > 0
    with (out / "run" / "tables" / "trust.csv").open() as file:
        lines = {line["image"]: line for line in csv.DictReader(file)}
    assert (lines["like"]["strange"], lines["odd"]["strange"]) == ("no", "yes")
    assert "How far to trust it" in (out / "run" / "index.html").read_text()
    assert [path.name for path in image_files(out)] == ["like.png", "odd.png"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--trust 2 --method sdedit --target", "look at the source's bridge"),
        ("--false-alarms 0.1 --source five --target", "name some of the source's domain"),
        ("--domain five --fit tile --source five --target", "whole images of the model's own size"),
    ],
)
def test_what_nothing_can_be_said_of_is_refused(ddib, tmp_path, words, sentence):
    code, _, said = ddib("translate five --limit 1 --out", tmp_path / "out", words, "seven")
    assert code == 1
    assert sentence in said
    assert said.count("\n") == 1


def test_too_few_images_of_the_domain_are_refused(ddib, models, domain, tmp_path):
    code, _, said = ddib(
        "translate", domain, "--source", models / "here", "--target", models / "there",
        "--solver ddim --steps 3 --domain", domain, "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 1
    assert "30 images of the domain are too few for a share of 0.05 false alarms" in said

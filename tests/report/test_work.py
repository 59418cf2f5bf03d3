"""The pages of translations, samples and sweeps, and the explorer, from small runs on disk."""

import dataclasses
import json
import re

import numpy as np
import pytest

from ddib_jax.report import EXPLORER, write_explorer, write_report
from ddib_jax.report.page import in_words, setting
from ddib_jax.report.widgets import png_uri
from ddib_jax.runs import FOLDER, MetricRow, Run, Table, read_run, write_run
from tests.report.test_report import Links

RNG = np.random.default_rng(0)
NAME = '<b>"mine"</b> & 1'


def pixels(*shape):
    return RNG.integers(0, 256, shape, np.uint8)


def work(name, arrays, **more):
    """A run as the commands write it, with what every one of them has."""
    return Run(
        name=name,
        title="From five to seven",
        command="ddib translate 'my images' --source five --target seven --out out",
        started="2026-01-02T03:04:05+00:00",
        finished="2026-01-02T03:04:07+00:00",
        seconds=2.0,
        machine={"accelerator": "none"},
        versions={"jax": "0.10.2"},
        config={"batch_size": 64, "report": True, "precision": None, "input": ["a", "b"]},
        tables={"cost": Table(("", "Value"), (("Images", 200),))} | more.pop("tables", {}),
        texts={"summary": "200 translations.", "nearest": "Not known."} | more.pop("texts", {}),
        arrays=arrays,
        **more,
    )


def translated(n=3, channels=3):
    arrays = {
        "source": pixels(n, 8, 8, channels),
        "translation": pixels(n, 8, 8, channels),
        "names": np.asarray([NAME, *(f"image {i}" for i in range(1, n))]),
        "latent": RNG.normal(size=(n, 8, 8, channels)).astype(np.float16),
        "film": pixels(2, 5, 8, 8, channels),
        "film_levels": np.asarray([0.0, 1.0, 80.0, 1.0, 0.0]),
        "nearest": pixels(2, 8, 8, channels),
        "nearest_distance": np.asarray([0.1, 0.3]),
    }
    row = MetricRow("latent_mean", "Latent mean", 0.01, target="near 0", note="0 for N(0, I)")
    return work("translation", arrays, metrics=(row,))


def swept(n=4, k=3, size=8, channels=3):
    arrays = {
        "source": pixels(n, size, size, channels),
        "translation": pixels(n, k, size, size, channels),
        "latent": RNG.normal(size=(n, k, size, size, channels)).astype(np.float16),
        "coefficients": np.asarray([0.0, 0.5, 1.0]),
        "names": np.asarray([NAME, *(f"image {i}" for i in range(1, n))]),
    }
    heads = ("Coefficient", "Mean", "Standard deviation")
    table = Table(heads, tuple((c, 0.0, 1 - c / 4) for c in arrays["coefficients"]))
    return work("sweep", arrays, tables={"latents": table}, texts={"perturbation": "blur"})


def sampled():
    arrays = {"sample": pixels(3, 8, 8, 1), "names": np.asarray(["a", "b", "c"])}
    arrays |= {"film": pixels(2, 3, 8, 8, 1), "film_levels": np.asarray([80.0, 1.0, 0.0])}
    return work("samples", arrays)


def explored(page):
    """The data that an explorer's page holds."""
    return json.loads(re.search(r'id="sweep">(.*?)</script>', page, re.DOTALL)[1])


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("make", [translated, swept, sampled], ids=lambda make: make.__name__)
def test_pages_are_whole_and_fetch_nothing(tmp_path, make, channels):
    run = make() if make is sampled else make(channels=channels)
    page = write_report(write_run(tmp_path / "run", run))
    files = [page] if run.name != "sweep" else [page, page.with_name(EXPLORER)]
    for file in files:
        words = file.read_text("utf-8")
        links = Links()
        links.feed(words)
        assert links.open == []
        assert all(link.startswith("data:image/png;base64,") for link in links.found)
        assert not re.search(r"https?://|@import|url\(|src=\"(?!data:)", words)
        assert NAME not in words
        assert "ddib translate &#x27;my images&#x27;" in words


def test_a_translation_is_shown_before_and_after(tmp_path):
    words = write_report(write_run(tmp_path / "run", translated())).read_text("utf-8")
    assert words.count('<div class="split"') == 3
    assert words.count('type="range"') == 4, "one for each, and one for all"
    for part in (">image<", ">sigma 1<", ">latent<", ">translation<", "near 0", "at least 0.10"):
        assert part in words
    for part in ("<dt>Batch size</dt>", "<dd>yes</dd>", "<dd>a, b</dd>"):
        assert part in words
    assert re.search(r"pairs pixelated", words)
    assert "<code>ddib diagnose</code>" in words


def test_what_a_translation_lacks_is_left_out_or_named(tmp_path):
    run = translated()
    less = {name: run.arrays[name] for name in ("source", "translation", "names")}
    home = write_run(tmp_path / "run", dataclasses.replace(run, arrays=less, metrics=()))
    words = write_report(home).read_text("utf-8")
    assert "On the way" not in words
    assert "Not known." in words
    del less["source"]
    with pytest.raises(ValueError, match="has no array 'source'"):
        write_report(write_run(tmp_path / "run", dataclasses.replace(run, arrays=less)))


def test_a_run_is_found_in_a_folder_of_results(tmp_path):
    home = write_run(tmp_path / FOLDER, translated())
    (tmp_path / "five-00000.png").touch()
    assert write_report(tmp_path) == write_report(home) == home / "index.html"
    with pytest.raises(FileNotFoundError, match="holds no finished run"):
        write_report(tmp_path / "nowhere")


def test_the_explorer_holds_every_image_under_every_coefficient(tmp_path):
    run = swept()
    page = write_explorer(run, tmp_path / EXPLORER).read_text("utf-8")
    data = explored(page)
    assert data["coefficients"] == ["0", "0.5", "1"]
    assert [image["name"] for image in data["images"]] == list(run.arrays["names"])
    for index, image in enumerate(data["images"]):
        assert image["source"] == png_uri(run.arrays["source"][index])
        assert image["translations"] == [png_uri(p) for p in run.arrays["translation"][index]]
        assert len(set(image["latents"])) == 3
    assert data["figures"]["rows"][1] == [0.5, 0.0, 0.875]
    assert "All 4 images of the run are here." in page


def test_a_large_explorer_says_how_many_images_it_leaves_out(tmp_path):
    run = swept(n=4, size=32)
    one = len(json.dumps(explored(write_explorer(run, tmp_path / "a").read_text())["images"][0]))
    page = write_explorer(run, tmp_path / "b", largest=int(2.5 * one)).read_text("utf-8")
    assert len(explored(page)["images"]) == 2
    assert "The first 2 of the run&#x27;s 4 images are here" in page
    assert len(page) < 2.5 * one + 40_000
    alone = write_explorer(run, tmp_path / "c", largest=1).read_text("utf-8")
    assert len(explored(alone)["images"]) == 1


def test_latents_alone_are_swept_without_sources_and_codes_are_shown(tmp_path):
    run = swept()
    arrays = {name: array for name, array in run.arrays.items() if name != "source"}
    arrays["latent"] = RNG.normal(size=(4, 3, 4, 4, 5))  # of a codec: five channels
    home = write_run(tmp_path / "run", dataclasses.replace(run, arrays=arrays))
    write_report(home)
    data = explored((home / EXPLORER).read_text("utf-8"))
    assert data["images"][0]["source"] is None
    assert len(data["images"][0]["latents"]) == 3


def test_options_read_as_words(tmp_path):
    assert in_words("batch_size") == "Batch size"
    assert [setting(v) for v in (True, None, "", 0, [1, 2], {"low_pass": 1})] == [
        "yes",
        "–",
        "–",
        "0",
        "1, 2",
        "Low pass: 1",
    ]
    home = write_run(tmp_path / "run", dataclasses.replace(sampled(), name="my_own_study"))
    assert read_run(home).config["batch_size"] == 64
    assert "my own study" in write_report(home).read_text("utf-8")

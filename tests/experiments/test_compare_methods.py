"""The page of a comparison of methods."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from compare_methods import main
from ddib_jax.report import write_report
from ddib_jax.runs import MetricRow, Run, Table, circumstances, write_run
from pages.compare_methods import dot_figure, layout
from tasks import Config

VALUES = (
    ("DDIB", "Hue error", 10.0, 9.0, 11.0),
    ("CycleGAN", "Hue error", 4.5, 4.0, 5.0),
    ("DDIB", "Fréchet distance", 5.7, None, None),
)


@pytest.fixture
def run():
    import datetime

    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    return Run(
        name="compare_methods",
        title="One translation",
        **circumstances(
            "experiments/compare_methods.py", datetime.datetime.now(datetime.UTC), "1 x cpu"
        ),
        config={},
        metrics=(MetricRow("floor", "Fives into sevens: floor", 1.0),),
        tables={
            "Fives into sevens": Table(
                ("method", "Hue error"), (("DDIB", "10"), ("CycleGAN", "4.5"))
            ),
            "Fives into sevens, figures": Table(
                ("method", "metric", "value", "low", "high"), VALUES
            ),
        },
        texts={},
        arrays={"Fives into sevens: DDIB": images, "Fives into sevens: CycleGAN": images},
    )


def test_a_section_for_every_task(tmp_path, run):
    write_run(tmp_path / "run", run)
    page = write_report(tmp_path / "run", layout=layout).read_text()
    assert "Fives into sevens" in page
    assert page.count("<img") >= 2
    assert "CycleGAN" in page
    assert ", figures" not in page
    names = sorted(path.name for path in (tmp_path / "run" / "figures").iterdir())
    assert names == ["dots-0-dark.png", "dots-0.png", "images-0.png"]


def test_a_task_without_images_is_said(tmp_path, run):
    write_run(tmp_path / "run", dataclasses.replace(run, arrays={}))
    with pytest.raises(ValueError, match="no images of 'Fives into sevens'"):
        write_report(tmp_path / "run", layout=layout)


def test_dots_lie_where_the_figures_are(tmp_path):
    dot_figure(VALUES, tmp_path / "dots.png")
    with Image.open(tmp_path / "dots.png") as figure:
        assert figure.width > 1000
    exchanged = tuple(
        (VALUES[1 - place][0], *row[1:]) if place < 2 else row for place, row in enumerate(VALUES)
    )
    dot_figure(exchanged, tmp_path / "exchanged.png")
    assert (tmp_path / "dots.png").read_bytes() != (tmp_path / "exchanged.png").read_bytes()


def test_methods_are_asked_for_by_words_of_their_names(tmp_path):
    assert Config(methods=("ddib",)).wants("DDIB, coupled by low-pass:3")
    assert Config(methods=("DDIB, c",)).wants("DDIB, coupled by low-pass:3")
    assert not Config(methods=("SDEdit",)).wants("DDIB")
    with pytest.raises(ValueError, match="No method has any of nonsense in its name"):
        main(Config(methods=("nonsense",), count=4, out=tmp_path / "run"))

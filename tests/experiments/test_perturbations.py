"""The page of the perturbation study, from a small run on disk."""

import numpy as np
import pytest

from ddib_jax.report import write_report
from ddib_jax.runs import Table, write_run
from pages.perturbations import layout
from pages.trade_off import frontier
from tests.report.conftest import synthetic_run

SLUGS = ("none", "rotate")


def laboratory_run():
    rng = np.random.default_rng(0)
    images = lambda *shape: rng.integers(0, 256, (*shape, 16, 16, 3), np.uint8)
    swept = {f"{way}/{slug}": images(2, 14) for way in ("ddib", "single") for slug in SLUGS}
    rows = tuple((str(c), "95 % [90, 98]") for c in (0, 5))
    points = tuple(
        (way, slug, float(c), 0.5 + c / 20, None if c else 12.0)
        for way in ("ddib", "single")
        for slug in SLUGS
        for c in (0, 5)
    )
    tables = {
        "experiments": Table(
            ("Experiment", "Title", "About"),
            tuple((slug, f"Title of {slug}", "About it.") for slug in SLUGS),
        ),
        "points": Table(("Way", "Experiment", "Coefficient", "Called 7", "Hue"), points),
        "best": Table(("Way",), (("ddib",),), "The best"),
    } | {name: Table(("Coefficient", "Called 7"), rows) for name in swept}
    texts = {"found": "Colour stays.", "rotate": "Seen: it turns.", "equivariance": "A little."}
    arrays = swept | {
        "source": images(14),
        "equivariance": rng.uniform(size=(3, 2)),
        "expected": images(14),
        "turned": images(14),
    }
    base = synthetic_run(4, "perturbations")
    return type(base)(**vars(base) | {"tables": tables, "texts": texts, "arrays": arrays})


def test_every_experiment_has_its_figures_tables_and_words(tmp_path):
    run = laboratory_run()
    page = write_report(write_run(tmp_path / "run", run), layout=layout).read_text()
    for words in (
        "Title of none",
        "Title of rotate",
        "Seen: it turns.",
        "Colour stays.",
        "The best",
        "95 % [90, 98]",
        "A little.",
    ):
        assert words in page
    assert page.count('<div class="frame wide">') == 2 * len(SLUGS) + 1
    names = {path.stem for path in (tmp_path / "run" / "figures").glob("*.png")}
    assert {
        "trade-off",
        "trade-off-dark",
        "none-ddib",
        "rotate-single",
        "equivariance",
        "equivariance-sheet",
    } <= names


def test_what_is_missing_is_named(tmp_path):
    run = laboratory_run()
    arrays = {name: array for name, array in run.arrays.items() if name != "ddib/rotate"}
    place = write_run(tmp_path / "run", type(run)(**vars(run) | {"arrays": arrays}))
    with pytest.raises(ValueError, match="has no array 'ddib/rotate'"):
        write_report(place, layout=layout)


def test_frontier_holds_what_nothing_beats_in_both():
    hue, share = (
        np.asarray([10.0, 5.0, 20.0, np.nan, 12.0, 20.0]),
        np.asarray([0.5, 0.2, 0.9, 1.0, 0.4, 0.8]),
    )
    assert frontier(hue, share) == [1, 0, 2]

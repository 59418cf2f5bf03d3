"""The page of a diagnosis, from a small run on disk."""

import dataclasses

import matplotlib.figure
import numpy as np
import pytest

from ddib_jax.report import write_report
from ddib_jax.report.curves import CEILING, FLOOR, error_figure
from ddib_jax.runs import write_run
from tests.report.conftest import synthetic_run


def test_curves_stay_on_the_page(tmp_path, monkeypatch):
    """What overflows lies on the upper edge, what is zero on the lower one, and both are drawn."""
    drawn = {}

    def keep(figure, path, **options):
        for plane in figure.axes:
            drawn[plane.get_title(loc="left")] = {
                line.get_label(): line.get_ydata() for line in plane.get_lines()
            }

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", keep)
    curves = {"rising": ([5, 10], [float("inf"), 1e-3]), "exact": ([5, 10], [0.0, None])}
    error_figure(
        {"Panel": curves},
        tmp_path / "x.png",
        ylabel="error",
        reference=("ddim", ([5, 10], [0.1, 0.05])),
    )
    assert list(drawn["Panel"]["rising"]) == [CEILING, 1e-3]
    assert list(drawn["Panel"]["exact"]) == [FLOOR, CEILING]
    assert list(drawn["Panel"]["ddim"]) == [0.1, 0.05]


def test_what_is_missing_is_named(tmp_path):
    run = dataclasses.replace(synthetic_run(4, "diagnosis"), tables={}, texts={})
    with pytest.raises(ValueError, match="has no array 'images'"):
        write_report(write_run(tmp_path / "run", run))
    arrays = {name: np.zeros((2, 4, 4, 3), np.uint8) for name in ("images", "samples")} | {
        "latents": np.zeros((2, 4, 4, 3))
    }
    with pytest.raises(ValueError, match="has no table 'checks'"):
        write_report(write_run(tmp_path / "other", dataclasses.replace(run, arrays=arrays)))

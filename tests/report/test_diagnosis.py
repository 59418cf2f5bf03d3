"""The pages of a diagnosis and of the inversion study, from small runs on disk."""

import dataclasses

import matplotlib.figure
import numpy as np
import pytest

from ddib_jax.report import write_report
from ddib_jax.report.curves import CEILING, FLOOR, error_figure
from ddib_jax.report.diagnosis import QUANTITIES
from ddib_jax.runs import Table, write_run
from tests.report.conftest import synthetic_run

COLUMNS = ("family", "solver", "budget", "steps", "evaluations", *QUANTITIES)


def inversion_run():
    def row(solver, budget):
        plain = budget**-2.0
        family = "Reversible" if solver == "edict" else "One-step"
        return (
            family,
            solver,
            budget,
            budget,
            budget,
            plain,
            "overflow" if solver == "edict" else 1e-7,
            plain,
            plain,
            None,
            plain,
            None,
            budget / 100,
        )

    solvers = ("ddim", "heun", "ab3", "edict", "implicit-midpoint")
    shipped = Table(
        COLUMNS,
        tuple(row(solver, budget) for solver in solvers for budget in (10, 100)),
        "The shipped models",
    )
    stable = Table(("solver", "10 steps"), (("edict", "overflow"),), "Stability")
    return dataclasses.replace(
        synthetic_run(4, "inversion"),
        tables={"shipped": shipped, "stability": stable},
        arrays={},
        texts={},
        metrics=(),
    )


def test_the_inversion_page(tmp_path):
    page = write_report(write_run(tmp_path / "run", inversion_run())).read_text()
    assert "The shipped models" in page
    assert "overflow" in page
    assert "Stability" in page
    names = {path.stem for path in (tmp_path / "run" / "figures").glob("*.png")}
    drawn = {name for name in QUANTITIES if name not in ("handed", "cycle_with_aux")}
    assert names == {f"shipped-{name}{suffix}" for name in drawn for suffix in ("", "-dark")}


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

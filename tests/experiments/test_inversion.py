"""The page of the inversion study, from a small run on disk."""

import dataclasses

import pytest

from ddib_jax.report import write_report
from ddib_jax.runs import Table, write_run
from pages.inversion import QUANTITIES, layout
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


@pytest.mark.slow
def test_the_inversion_page(tmp_path):
    page = write_report(write_run(tmp_path / "run", inversion_run()), layout=layout).read_text()
    assert "The shipped models" in page
    assert "overflow" in page
    assert "Stability" in page
    names = {path.stem for path in (tmp_path / "run" / "figures").glob("*.png")}
    drawn = {name for name in QUANTITIES if name not in ("handed", "cycle_with_aux")}
    assert names == {f"shipped-{name}{suffix}" for name in drawn for suffix in ("", "-dark")}

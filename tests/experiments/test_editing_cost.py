"""The cost of editing, of the smallest network that is told texts."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "editing_cost.py"


@pytest.mark.slow
def test_a_gradient_costs_more_than_it_reads():
    # in a process of its own: types that are checked at run time refuse arrays without numbers
    words = "--model captioned --precision float32 --remat False --methods guided"
    command = [sys.executable, str(SCRIPT), *words.split(), "freecontrol structure"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    column = rows[0].index("TFLOP")
    guided, controlled = (float(row[column]) for row in rows[-2:])
    # three evaluations beside two, and a way back that is shorter than the network
    assert 1.5 * guided < controlled < 2.5 * guided
    assert rows[-1][:3] == ["| freecontrol structure", "no", "3, 1 with a gradient"]

"""The README's commands parse, its Python runs, its pictures are there."""

import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
import tyro

from ddib_jax.cli import parse

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
LINES = [
    line.split("  #")[0].strip()
    for kind, block in BLOCKS
    if kind != "python"
    for line in block.splitlines()
]
COMMANDS = [line for line in LINES if line.startswith("ddib ")]
STUDIES = sorted(set(re.findall(r"python experiments/\w+\.py[^`\n]*", README)))


def test_there_is_something_to_test():
    assert len(COMMANDS) >= 6
    assert len(STUDIES) >= 2
    assert LINES[:2] == ["./launch.sh", "./launch.sh test"]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_parse(line):
    parse(shlex.split(line)[1:])


@pytest.mark.parametrize("line", STUDIES)
def test_studies_parse(line):
    _, script, *arguments = shlex.split(line)
    study = runpy.run_path(str(ROOT / script), run_name="study")
    tyro.cli(study["Config"], args=arguments)


def test_pictures_are_there():
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)


@pytest.mark.slow
def test_python_runs():
    (code,) = [block for kind, block in BLOCKS if kind == "python"]
    assert len([line for line in code.splitlines() if line and not line.startswith("import")]) <= 5
    scope = {}
    exec(code, scope)
    assert scope["sevens"].shape == (16, 32, 32, 3)
    assert np.percentile(np.abs(scope["sevens"]), 99) < 1.25

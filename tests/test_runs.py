import csv
import json
import os
import shutil
import types

import numpy as np
import pytest

from ddib_jax import runs
from ddib_jax.runs import (
    MetricRow,
    Run,
    Table,
    describe_machine,
    installed_versions,
    read_run,
    settings,
    write_run,
)


def small_run(**changes):
    fields = {
        "name": "small",
        "title": "A small run",
        "command": "ddib translate --source five",
        "started": "2026-01-02T03:04:05+00:00",
        "finished": "2026-01-02T03:04:15+00:00",
        "seconds": 10.0,
        "machine": describe_machine("none"),
        "versions": {"numpy": np.__version__},
        "config": {"steps": 18, "nested": {"sigma": [0.1, 2.0]}},
        "metrics": (MetricRow("rmse", "RMSE", 0.1, 0.05, 0.2, "", "lower", 0.3, "a note", 40),),
        "tables": {"Steps": Table(("steps", "error"), ((8, 0.5), (16, None)), "caption")},
        "texts": {"summary": "Größe ≤ 3°"},
        "arrays": {
            "source": np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3),
            "error": np.array([0.5, np.nan]),
        },
    }
    return Run(**(fields | changes))


def same(first, second):
    arrays = first.arrays.keys() == second.arrays.keys() and all(
        np.array_equal(
            first.arrays[k], second.arrays[k], equal_nan=second.arrays[k].dtype.kind == "f"
        )
        and first.arrays[k].dtype == second.arrays[k].dtype
        for k in first.arrays
    )
    rest = [{k: v for k, v in vars(run).items() if k != "arrays"} for run in (first, second)]
    return arrays and rest[0] == rest[1]


def test_a_run_is_read_as_it_was_written(tmp_path):
    run = small_run()
    assert write_run(tmp_path / "deep" / "a run", run) == tmp_path / "deep" / "a run"
    assert same(read_run(tmp_path / "deep" / "a run"), run)


def test_an_older_run_is_replaced_and_other_files_stay(tmp_path):
    home = write_run(tmp_path / "run", small_run())
    (home / "notes.txt").write_text("mine")
    write_run(home, small_run(title="Another", arrays={"only": np.ones(2)}))
    again = read_run(home)
    assert again.title == "Another"
    assert set(again.arrays) == {"only"}
    assert (home / "notes.txt").read_text() == "mine"
    assert os.listdir(tmp_path) == ["run"]


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_tables_are_written_for_other_programs_too(tmp_path):
    tables = {
        "Steps": Table(("steps", "error, relative"), ((8, 0.5), (16, None)), "caption"),
        "a > b: Größe/°, figures": Table(("word",), (('said "yes",\nthen no',), (float("nan"),))),
        "steps": Table(("of another case",), ((True,),)),
        "../..": Table((), ()),
        "x" * 300: Table(("n",), ((np.int64(3),),)),
    }
    home = write_run(tmp_path / "run", small_run(tables=tables))
    written = {path.name: rows_of(path) for path in (home / "tables").iterdir()}
    assert written == {
        "Steps.csv": [["steps", "error, relative"], ["8", "0.5"], ["16", ""]],
        "a-b-Größe-,-figures.csv": [["word"], ['said "yes",\nthen no'], [""]],
        "steps-2.csv": [["of another case"], ["True"]],
        "table.csv": [[]],
        "x" * 100 + ".csv": [["n"], ["3"]],
    }
    assert (home / "tables" / "Steps.csv").read_bytes().startswith(b'steps,"error, relative"\r\n')
    assert read_run(home).tables["Steps"] == tables["Steps"]
    write_run(home, small_run())
    assert [path.name for path in (home / "tables").iterdir()] == ["Steps.csv"]
    assert rows_of(home / "tables" / "Steps.csv")[0] == ["steps", "error"]
    shutil.rmtree(home / "tables")
    assert same(read_run(home), small_run())


def test_what_is_not_finite_is_stored_as_not_measured(tmp_path):
    rows = (MetricRow("a", "A", float("nan"), 0.5, float("inf"), better="lower", target=1.0),)
    config = {"n": np.int64(3), "lr": np.float32(0.5), "path": tmp_path, "pair": (1, 2)}
    home = write_run(tmp_path / "run", small_run(metrics=rows, config=config))
    json.loads((home / "run.json").read_text(), parse_constant=pytest.fail)
    again = read_run(home)
    assert again.metrics[0].value is None
    assert again.metrics[0].high is None
    assert again.metrics[0].low == 0.5
    assert again.metrics[0].met() is None
    assert again.config == {"n": 3, "lr": 0.5, "path": str(tmp_path), "pair": [1, 2]}


@pytest.mark.parametrize("older", [False, True])
def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch, older):
    home = tmp_path / "run"
    if older:
        write_run(home, small_run())

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs.json, "dumps", full)
    with pytest.raises(OSError, match="No space"):
        write_run(home, small_run(title="Never"))
    assert os.listdir(tmp_path) == (["run"] if older else [])
    if older:
        assert same(read_run(home), small_run())


def test_another_directory_is_not_written_into(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is not a run"):
        write_run(tmp_path, small_run())
    with pytest.raises(FileExistsError, match="is not a run"):
        write_run(tmp_path / "precious.txt", small_run())
    assert os.listdir(tmp_path) == ["precious.txt"]


def test_python_objects_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'odd' holds Python objects"):
        write_run(tmp_path / "run", small_run(arrays={"odd": np.array([None])}))
    assert os.listdir(tmp_path) == []


def test_a_missing_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run\.json is missing"):
        read_run(tmp_path / "nowhere")
    home = write_run(tmp_path / "run", small_run())
    (home / "arrays.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"arrays\.npz is missing"):
        read_run(home)


@pytest.mark.parametrize("name", ["run.json", "arrays.npz"])
def test_a_truncated_run_is_refused(tmp_path, name):
    home = write_run(tmp_path / "run", small_run())
    whole = (home / name).read_bytes()
    (home / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="truncated"):
        read_run(home)


def test_files_of_two_runs_and_other_formats_are_refused(tmp_path):
    home, other = (
        write_run(tmp_path / "a", small_run()),
        write_run(tmp_path / "b", small_run(arrays={"x": np.ones(1)})),
    )
    os.replace(other / "arrays.npz", home / "arrays.npz")
    with pytest.raises(ValueError, match="of another run"):
        read_run(home)
    record = json.loads((home / "run.json").read_text())
    (home / "run.json").write_text(json.dumps(record | {"format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        read_run(home)
    (home / "run.json").write_text("[]")
    with pytest.raises(ValueError, match="not a run's record"):
        read_run(home)


@pytest.mark.parametrize(
    ("value", "better", "target", "met"),
    [
        (0.98, "higher", 0.97, True),
        (0.96, "higher", 0.97, False),
        (15, "lower", 15, True),
        (1.0, None, 2.0, None),
        (1.0, "lower", "word", None),
    ],
)
def test_a_target_is_met_or_not(value, better, target, met):
    assert MetricRow("m", "M", value, better=better, target=target).met() is met


@pytest.mark.parametrize(
    ("interval", "met"),
    [((0.3, 0.5), True), ((0.7, 0.9), False), ((0.5, 0.7), None), ((None, 0.7), True)],
)
def test_a_target_is_surely_met_by_a_whole_interval(interval, met):
    row = MetricRow("m", "M", 0.55, *interval, better="lower", target=0.6)
    assert row.met()
    assert row.surely_met() is met


def test_settings_hold_paths_as_words(tmp_path):
    options = types.SimpleNamespace(out=tmp_path, steps=18, sizes=(1, 2))
    assert settings(options) == {"out": str(tmp_path), "steps": 18, "sizes": (1, 2)}
    assert settings(options, leave_out=("out", "sizes")) == {"steps": 18}


def test_versions_of_what_is_absent_are_told():
    assert installed_versions(["numpy", "no-such-distribution-here"]) == {
        "numpy": np.__version__,
        "no-such-distribution-here": "absent",
    }

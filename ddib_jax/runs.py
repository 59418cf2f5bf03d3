"""What a finished run looks like on disk: `run.json` (words and figures) and `arrays.npz` (images
and vectors).

It knows no jax, so that a report is made wherever a run can be copied to.
"""

import datetime
import hashlib
import json
import math
import os
import platform
import shlex
import sys
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Shaped

from ddib_jax.files import drafted

FORMAT = 1
RECORD = "run.json"
ARRAYS = "arrays.npz"


@dataclass(frozen=True)
class MetricRow:
    """One measured figure: its name and label, value with the ends of its 95 % interval, unit, and
    what was wanted of it.

    `value` None means "not measured"; `unit` "proportion" is a proportion in [0, 1]; `target` is a number to
    reach or a word for the reader; `n` is the number of images behind the value.
    """

    name: str
    label: str
    value: float | int | None
    low: float | int | None = None
    high: float | int | None = None
    unit: str = ""
    better: Literal["higher", "lower"] | None = None
    target: float | int | str | None = None
    note: str = ""
    n: int | None = None

    def met(self) -> bool | None:
        """Whether the value reaches a numeric target; None where there is no such target, direction
        or value.
        """
        if self.value is None or self.better is None or not isinstance(self.target, int | float):
            return None
        return self.value >= self.target if self.better == "higher" else self.value <= self.target


@dataclass(frozen=True)
class Table:
    """A small table of a run: column heads, and rows of numbers, words or None."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Run:
    """A finished run: what was run, where and when, its settings, its figures, tables, words and
    arrays.

    `name` is the study's name, which chooses the layout of its report; `started` and `finished` are
    ISO 8601 times; `seconds` is the wall time; `texts` maps a heading to a paragraph.
    """

    name: str
    title: str
    command: str
    started: str
    finished: str
    seconds: float
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    config: Mapping[str, Any]
    metrics: tuple[MetricRow, ...] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    arrays: Mapping[str, Shaped[np.ndarray, "..."]] = field(default_factory=dict)


def describe_machine(accelerator: str) -> dict[str, Any]:
    """The machine in words, from `platform`: system, processor, CPU count, Python, and the
    accelerator as the caller has it.
    """
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "accelerator": accelerator,
        "python": platform.python_version(),
    }


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """The installed version of every named distribution, from `importlib.metadata`; "absent" where
    it is not installed.
    """
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "absent"
    return versions


def circumstances(script: str, started: datetime.datetime, accelerator: str) -> dict[str, Any]:
    """How a study's run came about, for `Run(**circumstances(...), ...)`: command, times, machine
    and versions, as of now.

    script: the study's file, run by Python, or `ddib`.
    """
    finished = datetime.datetime.now(datetime.UTC)
    return {
        "command": shlex.join(
            [*(["python"] if script.endswith(".py") else []), script, *sys.argv[1:]]
        ),
        "started": started.isoformat(timespec="seconds"),
        "finished": finished.isoformat(timespec="seconds"),
        "seconds": (finished - started).total_seconds(),
        "machine": describe_machine(accelerator),
        "versions": installed_versions(["ddib-jax", "jax", "jaxlib", "flax", "numpy"]),
    }


def _plain(value: Any) -> Any:
    """JSON's own kinds only: NaN and infinities become null, numpy scalars numbers, paths and the
    like words.
    """
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | np.ndarray):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _may_hold_run(directory: Path) -> bool:
    return {path.name for path in directory.iterdir()} <= {ARRAYS} or (directory / RECORD).is_file()


def write_run(directory: str | os.PathLike[str], run: Run) -> Path:
    """Write a run so that a directory never holds half of one: into a hidden sibling first, then
    renamed into place.

    An older run of that directory is replaced; other files in it stay. NaN and infinite figures are
    stored as null, "not measured". Returns the directory.

    Raises:
        FileExistsError: the path is a file, or a directory that holds something and no run.
        ValueError: an array holds Python objects.
        OSError: the disk is full or not writable; an older run is then still whole.
    """
    target = Path(directory)
    if target.exists() and not (target.is_dir() and _may_hold_run(target)):
        raise FileExistsError(
            f"{target} exists and is not a run; give an empty or a new directory."
        )
    unfit = [name for name, array in run.arrays.items() if np.asarray(array).dtype.hasobject]
    if unfit:
        raise ValueError(f"The array '{unfit[0]}' holds Python objects; give numbers.")
    with drafted(target) as draft:
        np.savez_compressed(draft / ARRAYS, **{k: np.asarray(v) for k, v in run.arrays.items()})
        words = {
            key: value
            for key, value in vars(run).items()
            if key not in ("arrays", "metrics", "tables")
        }
        record = {
            "format": FORMAT,
            **_plain(words),
            "metrics": [_plain(asdict(row)) for row in run.metrics],
            "tables": {name: _plain(asdict(table)) for name, table in run.tables.items()},
            "arrays_sha256": _digest(draft / ARRAYS),
        }
        (draft / RECORD).write_text(
            json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8"
        )
    return target


def read_run(directory: str | os.PathLike[str]) -> Run:
    """Read a run that `write_run` wrote, whole or not at all.

    Raises:
        FileNotFoundError: there is no run in the directory.
        ValueError: the run is truncated, of another format, or its two files are not of one run.
    """
    source = Path(directory)
    for name in (RECORD, ARRAYS):
        if not (source / name).is_file():
            raise FileNotFoundError(
                f"{source} holds no finished run ({name} is missing); run the study again or give"
                " another directory."
            )
    try:
        record = json.loads((source / RECORD).read_text("utf-8"))
        if record["format"] != FORMAT:
            raise ValueError(
                f"{source / RECORD} is of format {record['format']}, not {FORMAT}; run the study"
                " again."
            )
        digest = record["arrays_sha256"]
        known = {
            key: record[key]
            for key in Run.__dataclass_fields__
            if key not in ("arrays", "metrics", "tables")
        }
        rows = tuple(MetricRow(**row) for row in record["metrics"])
        tables = {
            name: Table(
                tuple(table["columns"]),
                tuple(tuple(row) for row in table["rows"]),
                table["caption"],
            )
            for name, table in record["tables"].items()
        }
    except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{source / RECORD} is truncated or not a run's record; run the study again."
        ) from error
    if _digest(source / ARRAYS) != digest:
        raise ValueError(
            f"{source / ARRAYS} is truncated or of another run than {RECORD}; run the study again."
        )
    try:
        with np.load(source / ARRAYS, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (zipfile.BadZipFile, ValueError) as error:
        raise ValueError(
            f"{source / ARRAYS} cannot be read as arrays; run the study again."
        ) from error
    return Run(**known, metrics=rows, tables=tables, arrays=arrays)

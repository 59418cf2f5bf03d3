"""A finished run on disk: `run.json` (words and figures), `arrays.npz`, and tables as CSV.

No jax, so that a report is made wherever a run can be copied to.
"""

import csv
import datetime
import hashlib
import itertools
import json
import math
import os
import platform
import re
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
TABLES = "tables"
FOLDER, TRUST = "run", "trust"
OVERVIEWS = ("sheet", "path", "pairs")
"""Names in a run's directory: its record, arrays, and folder of CSV files. In a folder of results:
its own, the folder of their maps of trust, and those of files of all of them."""

_LONGEST = 100
"""Characters of a CSV file's name; file systems take some 250 bytes."""


@dataclass(frozen=True)
class MetricRow:
    """One measured figure of a run."""

    name: str
    label: str
    value: float | int | None
    """None: not measured."""
    low: float | int | None = None
    high: float | int | None = None
    """The ends of the value's 95 % interval, or None."""
    unit: str = ""
    """The unit; "proportion" for a proportion in [0, 1], shown in per cent."""
    better: Literal["higher", "lower"] | None = None
    target: float | int | str | None = None
    """A number to reach, or words for the reader."""
    note: str = ""
    n: int | None = None
    """The number of images behind the value."""
    group: str = ""
    """What kind of figure it is, in a word: rows of one group stand together on a page."""
    variant: str = ""
    """Which way of several the figure is of: rows alike but for it are one line of a page."""

    def met(self) -> bool | None:
        """Whether the value reaches a numeric target, whatever its interval.

        None where there is no such target, no direction or no value.
        """
        return None if self.value is None else self._reaches(self.value)

    def surely_met(self) -> bool | None:
        """Whether the whole interval reaches the target; None where only part of it does.

        Without an interval the value decides; None also where `met` says None.
        """
        if self.met() is None or self.low is None or self.high is None:
            return self.met()
        low, high = self._reaches(self.low), self._reaches(self.high)
        return low if low == high else None

    def _reaches(self, value: float | int) -> bool | None:
        if self.better is None or not isinstance(self.target, int | float):
            return None
        return value >= self.target if self.better == "higher" else value <= self.target


@dataclass(frozen=True)
class Table:
    """A small table of a run: column heads, and rows of numbers, words or None."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Run:
    """A finished run: what was run, where, when and how, and its results.

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


_WORDS = [name for name in Run.__dataclass_fields__ if name not in ("arrays", "metrics", "tables")]
"""The fields of a run that JSON can hold as they are."""


def describe_machine(accelerator: str) -> dict[str, Any]:
    """The machine: system and processor, number of CPUs, Python, and the accelerator as given."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "accelerator": accelerator,
        "python": platform.python_version(),
    }


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """The installed version of every named distribution, "absent" where it is not installed."""
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "absent"
    return versions


def circumstances(script: str, started: datetime.datetime, accelerator: str) -> dict[str, Any]:
    """Command, times, machine and versions of a run that ends now, as arguments of `Run`.

    `script` is the study's file, run by Python, or `ddib`.
    """
    finished = datetime.datetime.now(datetime.UTC)
    python = ["python"] if script.endswith(".py") else []
    return {
        "command": shlex.join([*python, script, *sys.argv[1:]]),
        "started": started.isoformat(timespec="seconds"),
        "finished": finished.isoformat(timespec="seconds"),
        "seconds": (finished - started).total_seconds(),
        "machine": describe_machine(accelerator),
        "versions": installed_versions(["ddib-jax", "jax", "jaxlib", "flax", "numpy"]),
    }


def settings(options: Any, *, leave_out: Iterable[str] = ()) -> dict[str, Any]:
    """The fields of a study's options (a dataclass), its paths as words, for `Run.config`."""
    fields = {name: value for name, value in vars(options).items() if name not in leave_out}
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in fields.items()
    }


def _plain(value: Any) -> Any:
    """The value in JSON's own types: numpy scalars become numbers, paths and the like words.

    NaN and infinities, which JSON has not, become None.
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
    # Arrays alone are what is left where an earlier writing was killed between its files.
    return {path.name for path in directory.iterdir()} <= {ARRAYS} or (directory / RECORD).is_file()


def _write_tables(folder: Path, tables: Mapping[str, Table]) -> set[str]:
    """Write every table as a CSV file; returns the files' names."""
    folder.mkdir()
    names: set[str] = set()
    for name, table in tables.items():
        stem = re.sub(r"[^\w.,()+-]+", "-", name).strip("-.")[:_LONGEST] or "table"
        # Compared without case, as file systems may; a number parts names that become the same.
        candidates = (stem if count == 1 else f"{stem}-{count}" for count in itertools.count(1))
        taken = {other.casefold() for other in names}
        file = next(f"{each}.csv" for each in candidates if f"{each}.csv".casefold() not in taken)
        names.add(file)
        with (folder / file).open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([table.columns, *_plain(table.rows)])
    return names


def write_run(directory: str | os.PathLike[str], run: Run) -> Path:
    """Write a run into a hidden sibling of `directory` first, then rename its files into place.

    An older run of that directory is replaced; other files in it stay. NaN and infinite figures are
    stored as null, "not measured". Every table is also written as `tables/NAME.csv` for other
    programs: a row of column heads, UTF-8, RFC 4180, None as an empty cell; characters of a name
    that a file's should not have become dashes. `read_run` does not read these. Returns the
    directory.

    Raises:
        FileExistsError: the path is a file, or a directory that holds something and no run.
        ValueError: an array holds Python objects.
        OSError: the disk is full or not writable; an older run is then still whole.
    """
    target = Path(directory)
    check_directory(target)
    unfit = [name for name, array in run.arrays.items() if np.asarray(array).dtype.hasobject]
    if unfit:
        raise ValueError(f"The array '{unfit[0]}' holds Python objects; give numbers.")
    with drafted(target) as draft:
        arrays: dict[str, Any] = {name: np.asarray(array) for name, array in run.arrays.items()}
        np.savez_compressed(draft / ARRAYS, **arrays)
        files = _write_tables(draft / TABLES, run.tables)
        record = {
            "format": FORMAT,
            **_plain({name: getattr(run, name) for name in _WORDS}),
            "metrics": [_plain(asdict(row)) for row in run.metrics],
            "tables": {name: _plain(asdict(table)) for name, table in run.tables.items()},
            "arrays_sha256": _digest(draft / ARRAYS),
        }
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
        (draft / RECORD).write_text(text + "\n", "utf-8")
    for older in (target / TABLES).glob("*.csv"):
        if older.name not in files:
            older.unlink()
    return target


def check_directory(directory: str | os.PathLike[str]) -> None:
    """Raise FileExistsError where the path is a file, or a directory of something else than a run.

    An empty directory may become one, and an older run be replaced.
    """
    target = Path(directory)
    if target.exists() and not (target.is_dir() and _may_hold_run(target)):
        raise FileExistsError(
            f"{target} exists and is not a run; give an empty or a new directory."
        )


def find_run(directory: str | os.PathLike[str]) -> Path:
    """The directory of the run that `directory` is or holds; raises FileNotFoundError for none."""
    places = (Path(directory), Path(directory, FOLDER))
    found = next((place for place in places if (place / RECORD).is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f"{directory} holds no finished run ({RECORD} is missing); name another directory, or"
            " run the study or the command again."
        )
    return found


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
        words = {name: record[name] for name in _WORDS}
        metrics = tuple(MetricRow(**row) for row in record["metrics"])
        tables = {name: _table(table) for name, table in record["tables"].items()}
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
    return Run(**words, metrics=metrics, tables=tables, arrays=arrays)


def _table(record: Mapping[str, Any]) -> Table:
    rows = tuple(tuple(row) for row in record["rows"])
    return Table(tuple(record["columns"]), rows, record["caption"])

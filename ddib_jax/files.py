"""Directories that are written whole or not at all, and files of JSON."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def drafted(directory: str | os.PathLike[str]) -> Iterator[Path]:
    """A hidden directory beside `directory`, whose files move there when the block ends well.

    Files of the same paths are replaced one by one by renaming, others stay; after an error in the
    block nothing has changed and the draft is gone. Raises OSError where the disk does not take the
    files, FileExistsError where `directory` is a file.
    """
    target = Path(directory)
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{target} is a file; a directory is to be written there.")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield draft
        target.mkdir(exist_ok=True)
        # File by file, as a directory cannot be renamed onto one that holds something.
        for source in sorted(draft.rglob("*")):
            place = target / source.relative_to(draft)
            if source.is_dir():
                place.mkdir(exist_ok=True)
            else:
                os.replace(source, place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def read_json(path: Path, what: str) -> Any:
    """The value in a JSON file; `what` it should hold, for the error ("the flags of a checkpoint").

    Raises FileNotFoundError where there is no such file, ValueError for anything but JSON in it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}; expected {what} there.")
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); expected {what}.") from error

"""Directories that are written whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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

"""Places to write, tried before any work and written whole or not at all; safe names; JSON."""

import errno
import itertools
import json
import os
import re
import shutil
import socket
import tempfile
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

DRAFT = ".ddib-draft-"
"""What the name of a hidden directory of unfinished files begins with."""

_DRAFTS: set[Path] = set()
_LONGEST = 240
"""Bytes of a file's name: file systems take some 250."""
_UNFIT = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE
)
_OF_PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff"}
_OF_FILES = _OF_PICTURES | {
    ".npz",
    ".npy",
    ".json",
    ".html",
    ".pt",
    ".pth",
    ".ckpt",
    ".safetensors",
}
"""Suffixes that nobody gives a directory."""
_JOINERS = "\u200c\u200d"  # between letters of many scripts, and in pictographs


@contextmanager
def drafted(directory: str | os.PathLike[str]) -> Iterator[Path]:
    """A hidden directory within `directory`, whose files move there when the block ends well.

    It lies within, as a parent may be on another file system or not be writable. Files of the same
    paths are replaced one by one by renaming, others stay; after an error in the block nothing has
    changed and the draft is gone. Raises OSError where the disk does not take the files,
    FileExistsError where `directory` is a file.
    """
    target = Path(os.path.realpath(directory))
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{directory} is a file; a directory is to be written there.")
    made, draft = _missing(target), None
    try:
        target.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=target))
        _DRAFTS.add(draft)
        yield draft
        # File by file, as a directory cannot be renamed onto one that holds something.
        for source in sorted(draft.rglob("*")):
            place = target / source.relative_to(draft)
            if source.is_dir():
                place.mkdir(exist_ok=True)
            else:
                _move(source, place)
    except BaseException as error:
        _remove(draft)
        _unmake(made)
        if isinstance(error, OSError) and error.filename is None:
            raise _with_place(error, directory) from error
        raise
    _remove(draft)


@contextmanager
def drafted_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path of the same name in a draft; the file written there moves to `path`, as in `drafted`.

    Where `path` is a link, the file that it leads to is replaced.
    """
    target = Path(os.path.realpath(path))
    with drafted(target.parent) as draft:
        yield draft / target.name


def remove_drafts() -> None:
    """Remove the drafts of this process, which is about to end without leaving its blocks."""
    for draft in list(_DRAFTS):
        _remove(draft)


def check_output(
    path: str | os.PathLike[str], *, suffix: str | None = None, what: str = "Results"
) -> None:
    """Raise OSError or ValueError, in one sentence, where nothing can be written to `path`.

    suffix: that of a file, which holds `what`; a directory is to be written without. The place is
    really tried, and left as it was: to be called before anything is computed.
    """
    named, target = Path(path), Path(os.path.realpath(path))
    if suffix is not None and named.suffix.lower() != suffix:
        raise ValueError(f"{what} are written as {suffix}; '{path}' is named otherwise.")
    if suffix is None and named.suffix.lower() in _OF_FILES and not target.is_dir():
        raise ValueError(
            f"{what} are written to a directory; '{path}' is the name of a file: name a directory."
        )
    folder = target if suffix is None else target.parent
    made = _missing(folder)
    try:
        if suffix is None and target.exists() and not target.is_dir():
            raise FileExistsError(f"{path} is a file; a directory is to be written there.")
        if suffix is not None and target.is_dir():
            raise IsADirectoryError(f"{path} is a directory; name a {suffix} file in it.")
        with suppress(FileNotFoundError):
            target.lstat()  # raises what is wrong with the name itself, such as its length
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno is None:
            raise  # a sentence of our own
        raise type(error)(
            f"Nothing can be written to {path} ({error.strerror}); name another place."
        ) from error
    finally:
        _unmake(made)


def lies_in(path: str | os.PathLike[str], directory: str | os.PathLike[str]) -> bool:
    """Whether `path`, which need not exist, is the existing `directory` or lies below it.

    Links are followed, and two names of one directory are one.
    """
    inner = Path(os.path.realpath(path))
    return any(same_place(folder, directory) for folder in (inner, *inner.parents))


def same_place(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether two paths lead to one existing file or directory."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return False


def safe_names(
    names: Iterable[str], *, ending: str = "", reserved: Sequence[str] = ()
) -> list[str]:
    """A file's name for each of `names`, which may come from anywhere, without its `ending`.

    No name is a path, hidden, reserved by an operating system, longer than file systems take
    (in bytes, with the ending), one of `reserved`, or another's, also where capitals and the
    composition of accents do not count. Names that are so already stay as they are; otherwise the
    signs that are unfit become underscores, and a number parts names that would be equal.
    """
    room, names = _LONGEST - len(os.fsencode(ending)), list(names)
    taken, results = {_folded(name) for name in reserved}, [""] * len(names)
    changed = []
    for index, name in enumerate(names):
        folded = _folded(name)
        if folded in taken or _fit(name, room) != name:
            changed.append(index)
        else:
            results[index] = name
            taken.add(folded)
    counters: dict[str, itertools.count] = {}
    for index in changed:
        stem = _fit(names[index], room)
        name, counter = stem, counters.setdefault(_folded(stem), itertools.count(2))
        while _folded(name) in taken:
            number = f"-{next(counter)}"
            name = _cut(stem, room - len(number)) + number
        results[index] = name
        taken.add(_folded(name))
    return results


@contextmanager
def held(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Hold the file at `path` as a lock while the block runs; it ends with the process, too.

    what: is held, for the error: "a training". Raises BlockingIOError, naming the process that
    holds it, where another one does. On systems without POSIX locks nothing is held.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                file.seek(0)
                holder = file.read().strip() or "a process that did not say which"
                raise BlockingIOError(
                    f"Another {what} is at work in {path.parent} ({holder}); wait for its end, stop"
                    " it, or name another directory."
                ) from error
            # A file system without locks: nothing can be held.
        began = time.strftime("%Y-%m-%d %H:%M:%S")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}, since {began}\n")
        file.flush()
        yield


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


def _with_place(error: OSError, directory: str | os.PathLike[str]) -> OSError:
    """An error of a file in a directory that does not say which, as one that does."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
        return OSError(error.errno, error.strerror, str(directory))
    if error.errno is None and str(error).endswith(" written"):  # NumPy's words, without a number
        return OSError(
            f"A file in {directory} could not be written ({error}); is the disk full? What is"
            " complete stays."
        )
    return error


def _missing(directory: Path) -> list[Path]:
    """The directory and those above it that are not there, the innermost first."""
    return [folder for folder in (directory, *directory.parents) if not os.path.lexists(folder)]


def _unmake(made: list[Path]) -> None:
    """Remove new directories that are still empty, the innermost first."""
    for folder in made:
        with suppress(OSError):
            folder.rmdir()


def _remove(draft: Path | None) -> None:
    if draft is not None:
        shutil.rmtree(draft, ignore_errors=True)
        _DRAFTS.discard(draft)


def _move(source: Path, place: Path) -> None:
    """Rename a file; onto another file system, which `place` may lead to, by way of a copy."""
    try:
        os.replace(source, place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        near = place.with_name(f"{DRAFT}{os.getpid()}-{time.monotonic_ns()}")
        try:
            shutil.copyfile(source, near)
            os.replace(near, place)
        finally:
            near.unlink(missing_ok=True)


def _fit(name: str, room: int) -> str:
    """The name without signs that a file's should not have, in at most `room` bytes."""
    strange = lambda sign: (
        sign not in _JOINERS and unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    )
    text = "".join("_" if strange(sign) else sign for sign in _UNFIT.sub("_", name))
    if text.startswith("."):
        text = "_" + text[1:]
    text = _cut(text, room)
    if not text.strip():
        return "unnamed"
    if reserved := _RESERVED.fullmatch(text):
        end = reserved.end(1)
        text = _cut(f"{text[:end]}_{text[end:]}", room)
    return text


def _cut(text: str, room: int) -> str:
    """As much of the text as takes `room` bytes, no sign cut in two."""
    return text.encode()[:room].decode(errors="ignore")


def _folded(name: str) -> str:
    """What two names have in common that some file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())

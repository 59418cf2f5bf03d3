"""Where results go: places that can be written, tried before the work; names of files."""

import os
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import pytest

from ddib_jax.files import check_output, drafted, drafted_file, held, lies_in, safe_names

SECOND = Path("/dev/shm")
"""Another file system than that of the tests' folders, on most systems."""


@pytest.fixture
def elsewhere(tmp_path):
    """A folder on another file system."""
    if not SECOND.is_dir() or os.stat(SECOND).st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("one file system only")
    folder = Path(tempfile.mkdtemp(dir=SECOND))
    yield folder
    shutil.rmtree(folder)


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_link_to_another_file_system_is_written(tmp_path, elsewhere):
    (tmp_path / "link").symlink_to(elsewhere / "not" / "yet")
    check_output(tmp_path / "link")
    assert tree(elsewhere) == []
    with drafted(tmp_path / "link") as draft:
        (draft / "one").write_text("1")
    assert tree(elsewhere) == ["not", "not/yet", "not/yet/one"]
    (tmp_path / "file.npz").symlink_to(elsewhere / "file.npz")
    with drafted_file(tmp_path / "file.npz") as path:
        path.write_text("2")
    assert (elsewhere / "file.npz").read_text() == "2"
    assert (tmp_path / "file.npz").is_symlink()


def test_a_folder_within_may_be_on_another_file_system(tmp_path, elsewhere):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tables").symlink_to(elsewhere)
    with drafted(tmp_path / "out") as draft:
        (draft / "tables").mkdir()
        (draft / "tables" / "one").write_text("1")
    assert tree(elsewhere) == ["one"]


def test_a_folder_in_a_parent_that_cannot_be_written(tmp_path):
    (tmp_path / "parent" / "out").mkdir(parents=True)
    (tmp_path / "parent").chmod(0o555)
    try:
        check_output(tmp_path / "parent" / "out")
        with drafted(tmp_path / "parent" / "out") as draft:
            (draft / "one").write_text("1")
    finally:
        (tmp_path / "parent").chmod(0o755)
    assert tree(tmp_path / "parent") == ["out", "out/one"]


@pytest.mark.parametrize(
    ("place", "suffix", "said"),
    [
        ("file", None, "file is a file; a directory is to be written there"),
        ("file/below/it", None, "Nothing can be written to .*file/below/it"),
        ("folder", ".npz", r"Results are written as \.npz"),
        ("folder.npz", ".npz", r"folder.npz is a directory; name a \.npz file in it"),
        ("file/latents.npz", ".npz", "Nothing can be written to"),
        ("loop", None, "Nothing can be written to"),
        ("x" * 300, None, r"Nothing can be written to .* \(File name too long\)"),
        (f"new/{'é' * 130}/latents.npz", ".npz", r"\(File name too long\)"),
        ("/proc/nowhere", None, "Nothing can be written to /proc/nowhere"),
        ("/proc/latents.npz", ".npz", "Nothing can be written to /proc/latents.npz"),
    ],
)
def test_what_cannot_be_written_is_refused_at_once(tmp_path, place, suffix, said):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    before = tree(tmp_path)
    with pytest.raises((OSError, ValueError), match=said):
        check_output(tmp_path / place, suffix=suffix)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("place", ["new/folder", "folder", "folder/", "folder/../other", "."])
def test_what_can_be_written_is_left_as_it_was(tmp_path, place, monkeypatch):
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    check_output(place)
    check_output(f"{place}/latents.npz", suffix=".npz")
    assert tree(tmp_path) == ["folder"]


def test_what_lies_in_a_folder(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a")
    for inside in ("a", "a/", "a/b", "a/b/../new/one", "link", "link/new"):
        assert lies_in(tmp_path / inside, tmp_path / "a")
    for outside in ("ab", "a/../new", "."):
        assert not lies_in(tmp_path / outside, tmp_path / "a")


NAMES = [
    "plain",
    "Mr. Smith (2), 50 %",
    "../escaped",
    "/etc/passwd",
    "..",
    "",
    "   ",
    ".hidden",
    "a\\b",
    "c:d",
    "new\nline",
    "null\0byte",
    "sheet",
    "SHEET",
    "con",
    "Lpt1.old",
    "Plain",
    "café",
    unicodedata.normalize("NFD", "café"),
    "漢" * 200,
    "x" * 300,
    "x" * 301,
    "\udcff",
    "\u202egnp.exe",
    "same",
    "same",
    "same-2",
    "same",
    "👩\u200d🚀",
]


def test_names_are_safe_unique_and_short(tmp_path):
    names = safe_names(NAMES, ending=".png", reserved=("sheet",))
    for name in names:
        (tmp_path / f"{name}.png").write_text(name)
    assert len(list(tmp_path.iterdir())) == len(NAMES)
    folded = {unicodedata.normalize("NFC", name).casefold() for name in names}
    assert len(folded) == len(NAMES)
    assert "sheet" not in folded
    assert not [name for name in names if name.startswith(".") or len(f"{name}.png".encode()) > 250]
    assert names[0] == "plain"
    assert names[1] == "Mr. Smith (2), 50 %"
    assert names[2] == "_._escaped"
    assert names[NAMES.index("same-2")] == "same-2"
    assert names[NAMES.index("👩\u200d🚀")] == "👩\u200d🚀"
    assert names[NAMES.index("con")] == "con_"
    assert safe_names(names, ending=".png", reserved=("sheet",)) == names


def test_a_lock_is_held_by_one_process(tmp_path):
    program = (
        "import sys, time\nfrom ddib_jax.files import held\n"
        "with held(sys.argv[1], 'training'): print('held', flush=True); time.sleep(60)"
    )
    lock = tmp_path / "out" / "lock"
    other = subprocess.Popen(
        [sys.executable, "-c", program, lock], stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "held\n"
        words = rf"Another training is at work in .*out \(process {other.pid} on "
        with pytest.raises(BlockingIOError, match=words), held(lock, "training"):
            pytest.fail("two hold it")
    finally:
        other.kill()
        other.communicate()
    with held(lock, "training"):
        assert f"process {os.getpid()} on" in lock.read_text()

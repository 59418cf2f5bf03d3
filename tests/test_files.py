"""A directory is written whole or not at all; JSON is read, or refused by name."""

import pytest

from ddib_jax.files import drafted, read_json


def hidden(directory):
    return [path for path in directory.iterdir() if path.name.startswith(".")]


def test_a_new_directory_appears_when_all_is_written(tmp_path):
    with drafted(tmp_path / "a" / "b") as draft:
        (draft / "one").write_text("1")
        assert hidden(tmp_path / "a" / "b") == list((tmp_path / "a" / "b").iterdir()) == [draft]
    assert (tmp_path / "a" / "b" / "one").read_text() == "1"
    assert not hidden(tmp_path / "a" / "b")


def test_files_of_the_same_names_are_replaced_and_others_stay(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("one", "other"):
        (tmp_path / "b" / name).write_text("old")
    with drafted(tmp_path / "b") as draft:
        (draft / "one").write_text("new")
        assert (tmp_path / "b" / "one").read_text() == "old"
    assert {path.name: path.read_text() for path in (tmp_path / "b").iterdir()} == {
        "one": "new",
        "other": "old",
    }
    assert not hidden(tmp_path / "b")


def test_files_in_folders_move_too_and_others_stay(tmp_path):
    (tmp_path / "b" / "folder").mkdir(parents=True)
    for name in ("one", "other"):
        (tmp_path / "b" / "folder" / name).write_text("old")
    with drafted(tmp_path / "b") as draft:
        for folder in ("folder", "new"):
            (draft / folder).mkdir()
            (draft / folder / "one").write_text("new")
    files = {path: path.read_text() for path in (tmp_path / "b").rglob("*") if path.is_file()}
    assert {path.relative_to(tmp_path / "b").as_posix(): text for path, text in files.items()} == {
        "folder/one": "new",
        "folder/other": "old",
        "new/one": "new",
    }
    assert not hidden(tmp_path / "b")


def interrupted(target, error):
    with drafted(target) as draft:
        (draft / "one").write_text("new")
        raise error


@pytest.mark.parametrize("error", [OSError("the disk is full"), KeyboardInterrupt()])
def test_after_an_error_nothing_has_changed(tmp_path, error):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "one").write_text("old")
    for target in (tmp_path / "b", tmp_path / "new"):
        with pytest.raises(type(error)):
            interrupted(target, error)
    assert (tmp_path / "b" / "one").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_file_in_the_place_is_refused_before_any_work(tmp_path):
    (tmp_path / "b").write_text("a file")
    with (
        pytest.raises(FileExistsError, match="b is a file; a directory is to be written there"),
        drafted(tmp_path / "b"),
    ):
        pytest.fail("the block ran")
    assert (tmp_path / "b").read_text() == "a file"
    assert not hidden(tmp_path)


def test_json_is_read_or_refused(tmp_path):
    path = tmp_path / "options.json"
    with pytest.raises(FileNotFoundError, match=r"There is no .*options\.json; expected options"):
        read_json(path, "options")
    path.write_text('{"a": [1, null]}')
    assert read_json(path, "options") == {"a": [1, None]}
    for damaged in (b"{", b"\xff"):
        path.write_bytes(damaged)
        with pytest.raises(
            ValueError, match=r"options\.json is not valid JSON \(.*expected options"
        ):
            read_json(path, "options")

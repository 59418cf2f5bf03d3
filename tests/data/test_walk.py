"""What a folder holds: links, hidden folders, every suffix; splits, classes and domains."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddib_jax.data import image_files, image_folder, load_dataset, suffixes
from ddib_jax.data.folder import read_image
from ddib_jax.data.pictures import View

RGB = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)


def pictures(folder, *names, size=(4, 4)):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RGB).resize(size).save(path)
    return folder


def stems(source):
    return [path.relative_to(path.parents[1]).with_suffix("").as_posix() for path in source.items]


def test_links_are_followed_and_loops_end(tmp_path):
    pictures(tmp_path / "disk", "dogs/a.png", "dogs/b.png", "loose.png")
    animals = pictures(tmp_path / "animals", "cats/a.png")
    (animals / "dogs").symlink_to(tmp_path / "disk" / "dogs")
    (animals / "dogs" / "up").symlink_to(animals)
    (animals / "cats" / "here").symlink_to(".")
    (animals / "cats" / "b.png").symlink_to(tmp_path / "disk" / "loose.png")
    (animals / "cats" / "gone.png").symlink_to("nowhere.png")
    (animals / "cats" / "self").symlink_to("self")
    with pytest.warns(UserWarning, match="2 x link that leads nowhere.*2 x link back") as said:
        source = load_dataset(animals)
    assert source.classes == ("cats", "dogs")
    assert stems(source) == ["cats/a", "cats/b", "dogs/a", "dogs/b"]
    assert "gone.png" in str(said[0].message)


def test_hidden_and_system_folders_are_left_out(tmp_path, recwarn):
    left_out = (".hidden", ".ipynb_checkpoints", ".Trash-0", "__MACOSX", "@eaDir")
    pictures(tmp_path, "a.png", "._a.png", *(f"{folder}/b.png" for folder in left_out))
    (tmp_path / "Thumbs.db").touch()
    assert [path.name for path in image_files(tmp_path)] == ["a.png"]
    assert not recwarn
    assert len(image_files(tmp_path / ".hidden")) == 1


@pytest.mark.parametrize("suffix", [".jfif", ".avif", ".jp2", ".tga", ".TIF", ".jpe", ".pbm"])
def test_every_suffix_that_is_read_is_taken(tmp_path, suffix):
    if suffix.lower() not in suffixes():
        pytest.skip("Pillow was built without it")
    pictures(tmp_path, f"a{suffix}")
    [path] = image_files(tmp_path)
    assert read_image(path, View()).shape == (4, 4, 3)


def test_all_else_is_counted_and_named(tmp_path):
    pictures(tmp_path, "a.png")
    for name in ("b.heic", "c.HEIC", "notes.txt", "README", "page.eps", "data.h5"):
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe.png")
    words = r"7 other files \(2 \.heic, 1 without a suffix, 1 \.h5, 1 \.txt, 1 \.eps, 1 \.png\)"
    with pytest.warns(UserWarning, match="Left out in") as said:
        assert len(image_files(tmp_path)) == 1
    assert sorted(words.replace("\\", "")) == sorted(str(said[0].message).split(": ")[1][:-1])


def silently(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_dataset(*args, **options)


def test_splits_by_their_names(tmp_path):
    pictures(tmp_path / "a", "train/1.png", "test/2.png")
    pictures(tmp_path / "b", "Train/1.png", "VAL/2.png")
    pictures(tmp_path / "c", "train/x/1.png", "train/y/1.png")
    for name in "ab":
        assert stems(silently(tmp_path / name))[0].endswith("/1")
    assert stems(silently(tmp_path / "a", split="test")) == ["test/2"]
    with pytest.warns(UserWarning, match="has no folder test: its VAL is taken for it"):
        assert stems(load_dataset(tmp_path / "b", split="test")) == ["VAL/2"]
    assert silently(tmp_path / "c").classes == ("x", "y")
    with pytest.raises(FileNotFoundError, match=r"none named test or val .* take the split train"):
        load_dataset(tmp_path / "c", split="test")


@pytest.mark.parametrize("name", ["train", "test", "Val"])
def test_a_class_may_be_called_like_a_split(tmp_path, name):
    pictures(tmp_path, "car/1.png", "plane/1.png", f"{name}/1.png")
    with pytest.warns(UserWarning, match=f"{name} is taken for a class, like car, plane beside"):
        source = load_dataset(tmp_path)
    assert sorted(source.classes) == sorted(("car", "plane", name))
    assert len(source) == 3
    assert len(silently(tmp_path / name)) == 1


def test_what_lies_beside_splits_is_named(tmp_path):
    pictures(tmp_path, "train/1.png", "test/1.png", "raw/1.png", "loose.png")
    with pytest.warns(UserWarning, match="left out: raw, the images beside them"):
        assert stems(load_dataset(tmp_path)) == ["train/1"]


@pytest.mark.parametrize("present", [("trainA", "trainB"), ("testA", "testB", "trainA", "trainB")])
def test_roots_of_two_domains_are_refused_with_the_right_spelling(tmp_path, present):
    pictures(tmp_path, *(f"{name}/1.png" for name in present))
    for root in (tmp_path, str(tmp_path), f"{tmp_path}/", f"left:{tmp_path}"):
        with pytest.raises(ValueError, match=f"write A:{tmp_path} or B:{tmp_path} for one of"):
            load_dataset(root)
    assert stems(silently(f"B:{tmp_path}", split="train")) == ["trainB/1"]


def test_prefixes_of_what_is_not_there(tmp_path):
    pictures(tmp_path, "valA/1.png")
    assert stems(silently(f"A:{tmp_path}", split="test")) == ["valA/1"]
    with pytest.raises(FileNotFoundError, match=r"no folder testB or valB .* its folders are valA"):
        load_dataset(f"B:{tmp_path}", split="test")
    for word in ("A:nowhere", "left:nowhere", "left:"):
        with pytest.raises(FileNotFoundError, match="names no folder"):
            load_dataset(word)


def test_a_name_comes_before_a_folder_and_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "five", "1.png")
    with pytest.warns(UserWarning, match=r"'five' is the data set of that name; write \./five"):
        assert len(load_dataset("five", split="test")) == 892
    for folder in (Path("five"), "./five", "five/", tmp_path / "five"):
        assert len(silently(folder)) == 1


def test_limits_limit_what_is_read(tmp_path):
    pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "c.png").write_bytes(b"no picture")
    assert len(image_folder(tmp_path, limit=2)) == 2
    with pytest.raises(ValueError, match=r"1 of 3 images cannot be read.*\(--skip-unreadable\)"):
        image_folder(tmp_path)


def test_unreadable_files_may_be_left_out(tmp_path):
    pictures(tmp_path, "x/a.png", "y/c.png")
    (tmp_path / "x" / "b.png").touch()
    source = image_folder(tmp_path, skip_unreadable=True)
    assert stems(source) == ["x/a", "y/c"]
    assert source.labels.tolist() == [0, 1]
    assert source.take([0, 1]).shape == (2, 4, 4, 3)
    assert source.unreadable == [f"{tmp_path}/x/b.png (no known image format)"]
    (tmp_path / "y" / "c.png").write_bytes(b"")
    with pytest.raises(ValueError, match="1 of 1 images cannot be read"):
        image_folder(tmp_path / "y", skip_unreadable=True)


def test_the_bound_on_pixels_is_stated_and_adjustable(tmp_path):
    pictures(tmp_path, "a.png", size=(40, 30))
    for bound in (1199, 500, 100):
        with pytest.raises(ValueError, match=rf"more than the {bound} pixels .*\(--max-pixels\)"):
            image_folder(tmp_path, max_pixels=bound)
    assert len(image_folder(tmp_path, max_pixels=1200)) == 1


def test_a_range_that_is_hardly_filled_is_said(tmp_path):
    for name, largest in (("a", 4095), ("b", 65535)):
        pixels = np.linspace(0, largest, 16).astype(np.uint16).reshape(4, 4)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    with pytest.warns(UserWarning, match=r"1 of 2 images .*at most 4095 of 65535; in .*a\.png"):
        image_folder(tmp_path)


def test_a_part_of_any_shape_is_cropped(tmp_path):
    halves = np.zeros((40, 80, 3), np.uint8)
    halves[:, :20], halves[:, 60:] = 255, 255
    Image.fromarray(halves).save(tmp_path / "a.png")
    path = tmp_path / "a.png"
    np.testing.assert_array_equal(read_image(path, View((40, 80))), halves)
    np.testing.assert_array_equal(read_image(path, View((40, 40))), read_image(path, View(40)))
    assert read_image(path, View((10, 20))).shape == (10, 20, 3)
    assert read_image(path, View((20, 5))).max() == 0

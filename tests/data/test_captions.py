"""Captions of folders: a file of metadata, a text beside each picture, and what is wrong there."""

import json
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from ddib_jax.data import (
    Captioned,
    CaptionedPictures,
    batch_at,
    captions_at,
    image_files,
    image_folder,
    load_dataset,
)

SAID = {"a.png": "a red square", "b/c.png": "Ein grünes Quadrat", "b/d.jpg": ""}


@pytest.fixture
def folder(tmp_path):
    """Three pictures whose first channel is their number times 40."""
    for number, name in enumerate(SAID):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (40 * number, 0, 0)).save(path)
    return tmp_path / "pictures"


def described(folder, entries, name="metadata.jsonl"):
    lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def entries(said=SAID):
    return [{"file_name": name, "text": text} for name, text in said.items()]


def write_texts(folder, said=SAID):
    for name, text in said.items():
        (folder / name).with_suffix(".txt").write_text(f"{text}\n", encoding="utf-8")


@pytest.mark.parametrize("kind", ["metadata", "two files of metadata", "texts"])
def test_a_folder_has_captions(folder, kind, recwarn):
    match kind:
        case "metadata":  # in another order, with what else a data set may say of its pictures
            described(folder, ["", *({**entry, "width": 4} for entry in entries()[::-1])])
        case "two files of metadata":
            described(folder, entries()[:1])
            inner = {name.removeprefix("b/"): text for name, text in [*SAID.items()][1:]}
            described(folder / "b", entries(inner))
        case "texts":
            write_texts(folder)
    source = load_dataset(folder)
    assert isinstance(source, Captioned)
    assert isinstance(source, CaptionedPictures)
    assert source.captions(range(3)) == [*SAID.values()]
    assert (
        source.captions([2, 0, 1], rng=np.random.default_rng(0), part=slice(1, None))
        == [*SAID.values()][:2]
    )
    assert [path.name for path in image_files(folder)] == ["a.png", "c.png", "d.jpg"]
    assert not recwarn
    assert pickle.loads(pickle.dumps(source)).captions([1]) == ["Ein grünes Quadrat"]


def test_metadata_may_lie_above_the_splits(folder, recwarn):
    """As Hugging Face's ImageFolder has them: each split takes its own, wherever others are."""
    for split in ("train", "test"):
        shutil.copytree(folder, folder.parent / "data" / split)
    data = folder.parent / "data"
    said = {f"train/{name}": text for name, text in SAID.items()}
    elsewhere = {"validation/a.png": "of a split that was not fetched"}
    described(data, entries(said | {f"test/{name}": "of a test" for name in SAID} | elsewhere))
    assert load_dataset(data, split="train").captions(range(3)) == [*SAID.values()]
    assert load_dataset(data, split="test").captions([1]) == ["of a test"]
    assert image_folder(data / "train").captions([0]) == ["a red square"]
    described(data / "test", entries())  # what lies in the folder itself comes first
    assert load_dataset(data, split="test").captions([0]) == ["a red square"]
    assert not recwarn


def test_a_batch_has_the_captions_of_its_pictures(folder):
    described(folder, entries())
    source = image_folder(folder)
    told = captions_at(source, 3, batch_size=6, seed=1)
    numbers = {text: number for number, text in enumerate(SAID.values())}
    images, _ = batch_at(source, 3, batch_size=6, seed=1)
    reds = np.round((images[:, 0, 0, 0] + 1) * 127.5 / 40)
    assert [numbers[text] for text in told] == reds.tolist()
    assert captions_at(source, 3, batch_size=6, seed=1, shard=(1, 2)) == told[3:]


def test_without_captions_a_folder_is_no_captioned_source(folder):
    (folder / "notes.txt").write_text("of no picture")
    with pytest.warns(UserWarning, match=r"1 other files \(1 \.txt\)"):
        source = image_folder(folder)
    assert not isinstance(source, Captioned)
    assert len(source) == 3


def test_what_cannot_be_read_is_left_out_with_its_caption(folder):
    described(folder, entries())
    (folder / "a.png").write_bytes(b"no picture")
    source = image_folder(folder, skip_unreadable=True)
    assert len(source) == 2
    assert source.captions(range(2)) == [*SAID.values()][1:]


def test_the_first_pictures_have_their_captions(folder):
    write_texts(folder, {"a.png": "one"})
    assert image_folder(folder, limit=1).captions([0]) == ["one"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (entries()[:1], r"2 of 3 pictures have no caption \(.*c\.png, .*d\.jpg\); add their lines"),
        ([*entries(), {"file_name": "gone.png", "text": "x"}],
         r"1 of 4 captions are of files that are not there \(gone\.png in line 4 of .*\); take"),
        ([*entries(), '{"file_name": "a'], r"metadata\.jsonl, line 4, is not valid JSON"),
        ([*entries(), "[1]"], 'line 4, has no "file_name" that is a text; expected'),
        ([*entries(), {"text": "x"}], 'line 4, has no "file_name"'),
        ([*entries(), {"file_name": "a.png"}], 'line 4, has no "text" that is a text'),
        ([*entries(), {"file_name": "a.png", "text": None}], 'line 4, has no "text"'),
        ([*entries(), {"file_name": "./b/../a.png", "text": "x"}], "line 4, has a second caption"),
    ],
)  # fmt: skip
def test_wrong_metadata_is_one_sentence_when_captions_are_asked_for(folder, lines, words):
    described(folder, lines)
    source = image_folder(folder)
    assert len(source.take(range(3))) == 3  # pictures alone are no matter of captions
    with pytest.raises(ValueError, match=words) as error:
        source.captions([0])
    assert "\n" not in str(error.value)


def test_wrong_texts_are_one_sentence(folder):
    write_texts(folder, {"a.png": "one"})
    words = r"2 of 3 pictures have no caption \(.*\); add a \.txt file beside each"
    with pytest.raises(ValueError, match=words):
        image_folder(folder).captions([0])
    described(folder, entries())
    with pytest.raises(
        ValueError, match=r"in .*metadata\.jsonl and beside the pictures \(.*a\.txt"
    ):
        image_folder(folder).captions([0])
    (folder / "metadata.jsonl").unlink()
    (folder / "a.txt").write_bytes("grün".encode("latin-1"))
    with pytest.raises(ValueError, match=r"a\.txt is no text in UTF-8 \(.*\); convert it"):
        image_folder(folder).captions([0])

"""The registry, and data sets of tensorflow-datasets."""

import importlib
import importlib.util
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ddib_jax.data import (
    DATASETS,
    ColouredDigits,
    Digits,
    ImageSource,
    Pictures,
    load_dataset,
    tfds_digits,
)
from ddib_jax.data.pictures import View


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No IDX files and no prepared tensorflow-datasets."""
    monkeypatch.delenv("DDIB_DATA", raising=False)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)


@pytest.mark.parametrize(
    ("name", "split", "count", "channels"),
    [
        ("five", "train", 5421, 3),
        ("seven", "test", 1028, 3),
        ("digits:5", "test", 892, 3),
        ("digits:7,5", "test", 1920, 3),
        ("mnist:5", "test", 892, 1),
    ],
)
def test_bundled_names_need_nothing(nowhere, name, split, count, channels):
    source = load_dataset(name, split=split)
    assert len(source) == len(source.labels) == count
    assert source.image_shape == (32, 32, channels)


def test_names_of_all_digits(idx_directory, monkeypatch):
    assert len(load_dataset("digits", split="test", directory=idx_directory)) == 10000
    monkeypatch.setenv("DDIB_DATA", str(idx_directory.parent))
    three, some = load_dataset("digits:3", split="test"), load_dataset("mnist:1,2,3", split="test")
    assert isinstance(three, ColouredDigits)
    assert (three.labels == 3).all()
    assert len(three) == 1010
    assert isinstance(some, Digits)
    assert set(some.labels) == {1, 2, 3}


def test_hues_agree_between_bundle_and_idx_files(idx_directory):
    bundle, files = (
        load_dataset("five", split="test"),
        load_dataset("five", split="test", directory=idx_directory),
    )
    np.testing.assert_array_equal(bundle.take(np.arange(9)), files.take(np.arange(9)))
    assert not np.allclose(bundle.hues, load_dataset("five", split="test", seed=1).hues)


def test_missing_mnist_says_how_to_get_it(nowhere):
    with pytest.raises(
        FileNotFoundError, match=r"Digits 3 need all of MNIST.* IDX files .*DDIB_DATA"
    ):
        load_dataset("digits:3")


def test_folders(tmp_path):
    for folder in ("plain", "both/train", "both/test", "half/train"):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("RGB", (8, 6), "red" if "train" in folder else "blue").save(
            tmp_path / folder / "a.png"
        )
    assert isinstance(load_dataset(str(tmp_path / "plain"), split="test"), Pictures)
    assert load_dataset(tmp_path / "plain", image_size=4).image_shape == (4, 4, 3)
    train, test = (load_dataset(tmp_path / "both", split=split) for split in ("train", "test"))
    assert len(train) == len(test) == 1
    assert train.take(np.array([0]))[0, 0, 0, 0] == test.take(np.array([0]))[0, 0, 0, 2] == 1
    with pytest.raises(FileNotFoundError, match="has a folder train but none named test"):
        load_dataset(tmp_path / "half", split="test")


def test_bad_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Unknown data set 'fives'; known are ") as error:
        load_dataset("fives")
    assert all(name in str(error.value) for name in DATASETS)
    with pytest.raises(ValueError, match="Unknown data set"):
        load_dataset(str(tmp_path / "missing"))
    with pytest.raises(ValueError, match="no list of digits"):
        load_dataset("digits:3-5")
    with pytest.raises(ValueError, match="takes nothing after its name"):
        load_dataset("five:3")
    with pytest.raises(ValueError, match="Unknown split 'val'"):
        load_dataset("five", split="val")
    with pytest.raises(ValueError, match="has images of 32, not of 64"):
        load_dataset("five", image_size=64)
    assert load_dataset("five", split="test", image_size=32).image_shape == (32, 32, 3)


def test_importing_data_imports_neither_tensorflow_nor_its_datasets():
    code = (
        "import sys, ddib_jax.data; print(sorted(m for m in sys.modules if"
        " m.startswith('tensorflow')))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert shown.strip() == "[]"


def test_tensorflow_datasets_missing(nowhere):
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'ddib_jax\[tfds\]'"):
        tfds_digits("test")


needs_tfds = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_datasets") is None,
    reason="tensorflow-datasets is not installed",
)


@needs_tfds
def test_tensorflow_datasets_unprepared(tmp_path):
    with pytest.raises(FileNotFoundError, match="prepare it once with `tfds build mnist"):
        tfds_digits("test", data_dir=str(tmp_path))


BLOBS = """
import io
import numpy as np
import tensorflow_datasets as tfds
from PIL import Image


def png(seed, channels):
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (6 + seed, 8, channels), np.uint8)
    Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(file, "png")
    file.seek(0)
    return file


class {name}(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {{
            "image": tfds.features.Image(shape=(None, None, {channels})),
            "label": tfds.features.ClassLabel(names=["cat", "dog"]),
        }}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {{"train": self._generate_examples(5), "validation": self._generate_examples(2)}}

    def _generate_examples(self, count):
        for index in range(count):
            yield index, {{"image": png(index, {channels}), "label": index % 2}}
"""
"""A data set of pictures of unequal sizes, whose PNGs need no TensorFlow to be prepared."""


@pytest.mark.slow
@needs_tfds
@pytest.mark.parametrize(("name", "channels"), [("Blobs", 3), ("Stains", 1)])
def test_any_data_set_of_tensorflow_datasets(tmp_path, monkeypatch, name, channels):
    pytest.importorskip(
        "importlib_resources",
        reason="importlib_resources is not installed, without which nothing is prepared",
    )
    place = tmp_path / name.lower()
    place.mkdir()
    (place / "__init__.py").touch()
    (place / f"{name.lower()}.py").write_text(BLOBS.format(name=name, channels=channels))
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module(f"{name.lower()}.{name.lower()}")
    getattr(module, name)(
        data_dir=tmp_path / "data", file_format="array_record"
    ).download_and_prepare()
    where = f"tfds:{name.lower()}"
    source = load_dataset(where, directory=tmp_path / "data", image_size=4)
    assert (source.image_shape, len(source), source.classes) == ((4, 4, 3), 5, ("cat", "dog"))
    assert isinstance(source, ImageSource)
    assert sorted(source.labels) == [0, 0, 0, 1, 1]
    written = {}
    for seed in range(5):
        with Image.open(module.png(seed, channels)) as picture:
            written[View(4).fitted(picture).tobytes()] = seed % 2
    pixels = np.round((source.take(range(5)) + 1) * 127.5).astype(np.uint8)
    assert {
        image.tobytes(): label for image, label in zip(pixels, source.labels, strict=True)
    } == written
    assert len(load_dataset(where, split="test", directory=tmp_path / "data", image_size=4)) == 2, (
        "the validation split, for want of a test split"
    )
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).take([3]), source.take([3]))
    with pytest.raises(ValueError, match=r"of 5 images are not 8x"):
        load_dataset(where, directory=tmp_path / "data")
    assert "tensorflow" not in sys.modules
    code = (
        f"from ddib_jax.cli.crossing import read_inputs; n, x = read_inputs(['{where}'], (4,"
        " 4, 3), split='train', limit=None); print(n[0], float(x.sum()))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"TFDS_DATA_DIR": str(tmp_path / "data"), "JAX_PLATFORMS": "cpu"},
    )
    stem, total = told.stdout.split()
    assert stem == f"tfds-{name.lower()}-00000", "as ddib translate names it"
    expected = float(source.take(range(5)).sum())
    assert float(total) == pytest.approx(expected, abs=1e-3), "as ddib translate reads it"


@needs_tfds
def test_unknown_data_sets_of_tensorflow_datasets(tmp_path):
    for name in ("no_such_set", "cifar10"):
        with pytest.raises(
            FileNotFoundError,
            match=f"prepare it once with `tfds build {name} --file_format=array_record`",
        ):
            load_dataset(f"tfds:{name}", directory=tmp_path)


@needs_tfds
@pytest.mark.skipif(
    "DDIB_TFDS" not in os.environ, reason="DDIB_TFDS names no folder where MNIST is prepared"
)
def test_tensorflow_datasets_prepared(split, idx_directory):
    from ddib_jax.data import mnist_idx

    digits, files = (
        tfds_digits(split, data_dir=os.environ["DDIB_TFDS"]),
        mnist_idx(idx_directory, split),
    )
    assert digits.pixels.dtype == np.uint8
    assert digits.pixels.shape == files.pixels.shape

    def rows(source):
        return sorted(
            zip(source.labels.tolist(), map(np.ndarray.tobytes, source.pixels), strict=True)
        )

    assert rows(digits) == rows(files)
    assert "tensorflow" not in sys.modules

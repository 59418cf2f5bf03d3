"""The bundle, IDX files, and the two kinds of digit source."""

import gzip
import struct

import numpy as np
import pytest

from ddib_jax.data import ColouredDigits, Digits, ImageSource, bundled_digits, mnist_idx
from ddib_jax.data.bundle import write_bundle
from ddib_jax.data.digit_sets import ASSET, find_digits, parse_digits
from ddib_jax.data.idx import read_idx

COUNTS = {"train": {5: 5421, 7: 6265}, "test": {5: 892, 7: 1028}}


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def test_bundle_counts(split):
    digits = bundled_digits(split)
    assert dict(zip(*np.unique(digits.labels, return_counts=True), strict=True)) == COUNTS[split]
    assert digits.pixels.dtype == np.uint8
    assert digits.pixels.shape[1:] == (28, 28)
    assert (np.diff(digits.positions) > 0).all()


def test_bundle_is_small():
    with ASSET.open("rb") as file:
        assert len(file.read()) < 2.5e6


def test_bundle_is_the_idx_files(split, idx_directory):
    bundle, mnist = bundled_digits(split), mnist_idx(idx_directory, split)
    expected = np.flatnonzero(np.isin(mnist.labels, [5, 7]))
    np.testing.assert_array_equal(bundle.positions, expected)
    np.testing.assert_array_equal(bundle.labels, mnist.labels[expected])
    np.testing.assert_array_equal(bundle.pixels, mnist.pixels[expected])


def test_bundle_is_remade_to_the_bit(tmp_path, idx_directory):
    write_bundle(idx_directory, tmp_path / "again.npz")
    with (
        np.load(tmp_path / "again.npz") as again,
        ASSET.open("rb") as file,
        np.load(file) as bundle,
    ):
        assert sorted(again) == sorted(bundle)
        for name in bundle:
            np.testing.assert_array_equal(again[name], bundle[name], strict=True)
    write_bundle(idx_directory, tmp_path / "twice.npz")
    assert (tmp_path / "twice.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()


def test_grey_digits_are_padded_with_black(fives):
    images = fives.take(np.array([3, 0]))
    assert isinstance(fives, ImageSource)
    assert images.shape == (2, *fives.image_shape) == (2, 32, 32, 1)
    assert images.dtype == np.float32
    np.testing.assert_allclose(
        images[:, 2:-2, 2:-2, 0], fives.pixels[[3, 0]] / 127.5 - 1, atol=1e-6
    )
    edge = np.ones((32, 32), bool)
    edge[2:-2, 2:-2] = False
    assert (images[:, edge] == -1).all()


def test_coloured_digits_are_grey_digits_times_a_colour(fives):
    source = ColouredDigits(fives)
    indices = np.arange(50)
    images = source.take(indices)
    assert isinstance(source, ImageSource)
    assert images.shape == (50, *source.image_shape) == (50, 32, 32, 3)
    assert images.dtype == np.float32
    assert images.min() == -1
    assert images.max() <= 1
    np.testing.assert_allclose(
        images.max(-1, keepdims=True).max((1, 2)), fives.take(indices).max((1, 2)), atol=1e-6
    )
    rank_one = np.linalg.svd((images + 1).reshape(50, -1, 3), compute_uv=False)
    assert (rank_one[:, 1] < 1e-5 * rank_one[:, 0]).all()


def test_evaluation_view_does_not_depend_on_batching_or_subset():
    both = ColouredDigits(bundled_digits("test"))
    fives = ColouredDigits(bundled_digits("test").only([5]))
    whole = fives.take(np.arange(40))
    for index in (0, 7, 39):
        np.testing.assert_array_equal(fives.take(np.array([index]))[0], whole[index])
    places = np.flatnonzero(both.labels == 5)[:40]
    np.testing.assert_array_equal(both.take(places), whole)
    assert (fives.labels == 5).all()


def test_evaluation_hues_depend_on_seed_and_split(fives):
    hues = ColouredDigits(fives, seed=0).hues
    np.testing.assert_array_equal(hues, ColouredDigits(fives, seed=0).hues)
    assert hues.shape == (892,)
    assert hues.min() >= 0
    assert hues.max() < 360
    assert not np.allclose(hues, ColouredDigits(fives, seed=1).hues)
    train = Digits(fives.pixels, fives.labels, fives.positions, "train")
    assert not np.allclose(hues, ColouredDigits(train, seed=0).hues)


def test_training_hues_are_fresh_and_uniform(fives):
    source, indices = ColouredDigits(fives), np.zeros(4000, np.int64)
    rng = np.random.default_rng(0)
    first, second = source.take(indices[:4], rng=rng), source.take(indices[:4], rng=rng)
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(first, source.take(indices[:4], rng=np.random.default_rng(0)))
    brightest = fives.pixels[0].argmax()
    colours = source.take(indices, rng=rng)[:, 2:-2, 2:-2].reshape(4000, -1, 3)[:, brightest]
    strongest = np.bincount(colours.argmax(-1), minlength=3) / 4000
    np.testing.assert_allclose(strongest, 1 / 3, atol=0.03)


def test_only_refuses_what_is_not_there(fives):
    with pytest.raises(ValueError, match=r"no digit of \[3\] in this source, which holds \[5\]\."):
        fives.only([3])


@pytest.mark.parametrize("compress", [gzip.compress, bytes])
def test_read_idx(tmp_path, compress):
    array = np.random.default_rng(0).integers(0, 256, (3, 4, 5), np.uint8)
    (tmp_path / "file").write_bytes(compress(idx(array)))
    np.testing.assert_array_equal(read_idx(tmp_path / "file"), array, strict=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing"),
        (b"<html>", "no IDX file"),
        (idx(np.zeros((2, 2), np.uint8)).replace(b"\x08", b"\x0d", 1), "no IDX file"),
        (idx(np.zeros((2, 2), np.uint8))[:6], "ends inside its IDX header"),
        (idx(np.zeros((2, 2), np.uint8))[:-1], "holds 3 bytes, its header states 4"),
        (idx(np.zeros((2, 2), np.uint8)) + b"\x00", "holds 5 bytes, its header states 4"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1), "holds 0 bytes"),
        (gzip.compress(idx(np.zeros((2, 2), np.uint8)), mtime=0)[:-5], "damaged gzip"),
        (gzip.compress(b"x" * 100, mtime=0)[:12] + b"\xff" * 20, "damaged gzip"),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_idx(tmp_path / "file")


def test_idx_files_must_be_mnist(tmp_path):
    with pytest.raises(FileNotFoundError, match="no t10k-images-idx3-ubyte or"):
        mnist_idx(tmp_path, "test")
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(np.zeros((9, 28, 28), np.uint8)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(9, np.uint8)))
    with pytest.raises(ValueError, match=r"not MNIST's \(10000, 28, 28\)"):
        mnist_idx(tmp_path, "test")
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(np.zeros((10000, 28, 28), np.uint8)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.full(10000, 10, np.uint8)))
    with pytest.raises(ValueError, match=r"labels of .* reach 10"):
        mnist_idx(tmp_path, "test")
    with pytest.raises(ValueError, match="Unknown split 'val'"):
        mnist_idx(tmp_path, "val")


@pytest.mark.parametrize("layout", [".", "mnist", "MNIST/raw"])
def test_digits_are_found_in_idx_folders(tmp_path, monkeypatch, layout):
    folder = tmp_path / layout
    folder.mkdir(parents=True, exist_ok=True)
    labels = (np.arange(10000) % 10).astype(np.uint8)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(
        gzip.compress(idx(np.zeros((10000, 28, 28), np.uint8)), 1)
    )
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(labels))
    assert len(find_digits([1, 3], "test", directory=tmp_path)) == 2000
    assert len(find_digits([5], "test", directory=tmp_path)) == 1000
    monkeypatch.setenv("DDIB_DATA", str(tmp_path))
    assert len(find_digits([1, 5], "test")) == 2000
    assert len(find_digits([5], "test")) == 892


def test_parse_digits():
    assert parse_digits("") == tuple(range(10))
    assert parse_digits("3") == (3,)
    assert parse_digits("7, 1,1") == (1, 7)
    for text in ("12", "a", "1,,2", "1;2", "-1", "²"):
        with pytest.raises(ValueError, match="no list of digits"):
            parse_digits(text)

"""Batches are a pure function of (seed, step)."""

import time

import numpy as np
import pytest

from ddib_jax.data import ColouredDigits, Digits, Points, batch_at, bundled_digits


class Counted:
    """Eleven one-pixel images whose value is their index, plus noise where augmented."""

    image_shape = (1, 1, 1)
    labels, classes = np.arange(11), ()

    def __len__(self):
        return 11

    def take(self, indices, *, rng=None, part=slice(None)):
        noise = 0 if rng is None else rng.random(len(indices))
        return (indices + noise).astype(np.float32).reshape(-1, 1, 1, 1)[part]


def order(steps, batch_size, seed=3):
    return np.concatenate(
        [batch_at(Counted(), step, batch_size=batch_size, seed=seed)[1] for step in range(steps)]
    )


def test_a_batch_is_a_function_of_seed_and_step():
    source = ColouredDigits(bundled_digits("test"))
    first = {step: batch_at(source, step, batch_size=16, seed=0) for step in range(5)}
    for step in (4, 0, 3):
        images, labels = batch_at(source, step, batch_size=16, seed=0)
        np.testing.assert_array_equal(images, first[step][0], strict=True)
        np.testing.assert_array_equal(labels, first[step][1], strict=True)
    assert not np.array_equal(first[0][0], first[1][0])
    assert not np.array_equal(first[0][0], batch_at(source, 0, batch_size=16, seed=1)[0])


def test_labels_belong_to_images():
    images, labels = batch_at(Counted(), 2, batch_size=7, seed=0)
    np.testing.assert_array_equal(np.floor(images.ravel()), labels)


@pytest.mark.parametrize("batch_size", [1, 4, 11, 25])
def test_every_epoch_holds_every_image_once_and_nothing_is_dropped(batch_size):
    stream = order(60, batch_size)
    epochs = stream[: len(stream) // 11 * 11].reshape(-1, 11)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(11), (len(epochs), 1)))
    assert len({tuple(epoch) for epoch in epochs}) > len(epochs) // 2
    np.testing.assert_array_equal(stream[:60], order(60, 1))


@pytest.mark.parametrize("count", [2, 4, 8])
def test_shards_part_the_global_batch(count):
    """Images, labels and augmentation are those of the whole batch, of every kind of source."""
    sources = [
        Counted(),
        bundled_digits("test"),
        ColouredDigits(bundled_digits("test")),
        Points("moons", size=50),
    ]
    for source in sources:
        whole = batch_at(source, 5, batch_size=8, seed=1)
        shards = [
            batch_at(source, 5, batch_size=8, seed=1, shard=(index, count))
            for index in range(count)
        ]
        assert [len(images) for images, _ in shards] == count * [8 // count]
        np.testing.assert_array_equal(np.concatenate([images for images, _ in shards]), whole[0])
        if source.labels is not None:
            np.testing.assert_array_equal(
                np.concatenate([labels for _, labels in shards]), whole[1]
            )


def test_augmentation_is_not_the_generator_of_the_permutation():
    images, labels = batch_at(Counted(), 0, batch_size=11, seed=1)
    permutation_noise = np.random.default_rng([1, 0]).random(11)
    assert not np.allclose(images.ravel() - labels, permutation_noise, atol=1e-3)


def test_bad_requests_are_refused():
    empty = Digits(
        np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.int32), np.zeros(0, np.int64), "test"
    )
    with pytest.raises(ValueError, match="empty"):
        batch_at(empty, 0, batch_size=1, seed=0)
    with pytest.raises(ValueError, match="expected a step >= 0"):
        batch_at(Counted(), -1, batch_size=1, seed=0)
    with pytest.raises(ValueError, match="a batch size >= 1"):
        batch_at(Counted(), 0, batch_size=0, seed=0)
    with pytest.raises(ValueError, match="3 must divide the batch size"):
        batch_at(Counted(), 0, batch_size=4, seed=0, shard=(0, 3))
    with pytest.raises(ValueError, match=r"must lie in \[0, 2\)"):
        batch_at(Counted(), 0, batch_size=4, seed=0, shard=(2, 2))


def test_a_coloured_batch_is_quick():
    source = ColouredDigits(bundled_digits("train"))
    batch_at(source, 0, batch_size=64, seed=0)
    best = np.inf
    for step in range(1, 30):
        start = time.thread_time()
        batch_at(source, step, batch_size=64, seed=0)
        best = min(best, time.thread_time() - start)
    assert best < 5e-3

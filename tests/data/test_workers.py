"""Batches made by worker processes are those of this one, in their order."""

import numpy as np
import pytest
from PIL import Image

from ddib_jax.data import image_folder, in_workers
from ddib_jax.trainer import Batches


@pytest.fixture
def folder(tmp_path):
    """Seven 12 x 12 pictures, too many to keep: they are read from disk at every draw."""
    for index in range(7):
        Image.fromarray(np.random.default_rng(index).integers(0, 256, (12, 12, 3), np.uint8)).save(
            tmp_path / f"{index}.png"
        )
    source = image_folder(tmp_path, image_size=8, crop="random")
    source._pixels = None
    return source


@pytest.mark.slow
def test_two_workers_make_the_batches_of_none(folder):
    pytest.importorskip("grain", reason="grain is not installed (extra 'workers')")
    batches = Batches(folder, batch_size=3, seed=1, flip=True)
    made = in_workers(batches, 4, 11, 2)
    for step in range(4, 11):
        expected, found = batches(step), next(made)
        assert expected.keys() == found.keys()
        for name, leaf in expected.items():
            np.testing.assert_array_equal(found[name], leaf, err_msg=f"{name} at step {step}")
    with pytest.raises(StopIteration):
        next(made)


def test_there_is_at_least_one_worker(folder):
    with pytest.raises(ValueError, match="0 worker processes: expected at least 1"):
        in_workers(Batches(folder, batch_size=3, seed=1), 0, 1, 0)


def test_a_random_crop_is_any_part_and_the_evaluation_the_middle(tmp_path):
    """A ramp says where a crop was taken; 286/256 of 64 is 72."""
    ramp = np.broadcast_to(np.arange(72, dtype=np.uint8)[:, None, None], (72, 72, 3))
    Image.fromarray(np.ascontiguousarray(ramp)).save(tmp_path / "ramp.png")
    source = image_folder(tmp_path, image_size=64, crop="random")
    assert source.image_shape == (64, 64, 3)
    top = lambda images: np.rint((images[:, 0, 0, 0] + 1) * 127.5).astype(int)
    assert top(source.take([0, 0])).tolist() == [4, 4]
    drawn = top(source.take([0] * 300, rng=np.random.default_rng(0)))
    assert set(drawn) == set(range(9))
    np.testing.assert_array_equal(
        top(source.take([0] * 300, rng=np.random.default_rng(0), part=slice(100, 150))),
        drawn[100:150],
    )
    for crop, size in (("anywhere", 64), ("random", None)):
        with pytest.raises(ValueError, match="expected 'centre', or 'random' with an image size"):
            image_folder(tmp_path, image_size=size, crop=crop)

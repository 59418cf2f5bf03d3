"""Images of NumPy files."""

import numpy as np
import pytest

from ddib_jax.data import batch_at, load_dataset

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 6, 3), np.uint8)


def test_images_and_labels_are_the_files(tmp_path):
    np.savez(tmp_path / "train.npz", images=PIXELS, labels=[0, 2, 1, 2, 0])
    np.savez(tmp_path / "test.npz", images=PIXELS[:2], labels=[0, 1])
    source = load_dataset(f"npz:{tmp_path}")
    assert (len(source), source.image_shape, source.classes) == (5, (6, 6, 3), ("0", "1", "2"))
    np.testing.assert_allclose(source.take([3, 1]), PIXELS[[3, 1]] / 127.5 - 1, atol=1e-6)
    assert len(load_dataset(f"npz:{tmp_path}", split="test")) == 2
    images, labels = batch_at(source, 0, batch_size=4, seed=0)
    assert images.shape == (4, 6, 6, 3)
    assert labels.shape == (4,)


def test_samples_of_guided_diffusion_are_read(tmp_path):
    np.savez(tmp_path / "samples.npz", PIXELS)
    source = load_dataset(f"npz:{tmp_path / 'samples.npz'}")
    assert len(source) == 5
    assert source.labels is None
    assert source.classes == ()


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ({"pictures": PIXELS}, "no .npz file with an array `images`"),
        ({"images": PIXELS / 255}, r"are float64 \(5, 6, 6, 3\): expected bytes"),
        ({"images": PIXELS[:0]}, "expected bytes"),
        ({"images": PIXELS, "labels": [0, 1]}, r"has labels int64 \(2,\) for 5 images"),
        ({"images": PIXELS, "labels": [0, 1, -1, 0, 0]}, "or negative ones"),
        (
            {"images": PIXELS, "labels": [[0], [1], [1], [0], [0]]},
            "expected one whole number an image",
        ),
        ({"images": PIXELS, "labels": [0.5, 1, 1, 0, 0]}, "expected one whole number an image"),
    ],
)
def test_another_content_is_one_sentence(tmp_path, stored, said):
    np.savez(tmp_path / "images.npz", **stored)
    with pytest.raises(ValueError, match=said):
        load_dataset(f"npz:{tmp_path / 'images.npz'}")


def test_a_missing_or_cut_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file"):
        load_dataset(f"npz:{tmp_path / 'none.npz'}")
    np.savez(tmp_path / "cut.npz", images=PIXELS)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:200])
    with pytest.raises(ValueError, match="cut short"):
        load_dataset(f"npz:{tmp_path / 'cut.npz'}")

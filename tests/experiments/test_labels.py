"""The data of the study of labels: two domains, which are the classes of one model."""

from pathlib import Path

import numpy as np
import pytest

import labels
import study
from ddib_jax import load_dataset


def test_the_domains_are_classes(tmp_path, monkeypatch):
    def pairs(mnist_m, mnist, folder):
        for split in ("train", "test"):
            (folder / "both").mkdir(parents=True, exist_ok=True)
            images = np.arange(6, dtype=np.uint8).repeat(8 * 8 * 3).reshape(6, 8, 8, 3)
            np.savez(folder / "both" / f"{split}.npz", images=images, labels=np.arange(6) % 3)

    monkeypatch.setattr(labels, "mnist_pairs", pairs)
    config = labels.Config(tmp_path, tmp_path, only_data=True, out=tmp_path / "labels")
    assert labels.main(config) is None
    written = load_dataset(f"npz:{tmp_path / 'labels-data' / 'domains'}", split="train")
    np.testing.assert_array_equal(written.labels, [0, 0, 0, 1, 1, 1])
    assert list(labels.DOMAINS.values()) == ["mnist", "mnist_m"]


@pytest.mark.parametrize("named", [{}, {"digits": Path("one")}, {"child": Path("one")}])
def test_models_are_named_in_pairs(tmp_path, named):
    with pytest.raises(ValueError, match=r"Name a model of each domain \(--digits, and"):
        labels.main(labels.Config(tmp_path, tmp_path, **named, out=tmp_path / "labels"))
    assert not list(tmp_path.iterdir())


def test_some_images_are_left_to_compare_with():
    assert study.places(3, "abcde") == (range(3), range(3, 5))
    with pytest.raises(ValueError, match="Of 5 images 5 are the first, and none is left"):
        study.places(5, "abcde")

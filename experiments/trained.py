"""Models that a study trains where they are not there yet."""

from pathlib import Path

import ddib_jax
from ddib_jax.gan import CycleGANTraining, train_cyclegan
from ddib_jax.trainer import ClassifierTraining, train_classifier


def diffusion(home: Path, data: str, *, image_size: int | None = None, **options) -> Path:
    """Train a diffusion model of a data set, unless it is in `home`; returns that.

    options: of `Training`.
    """
    if not (home / "model.json").exists():
        source = ddib_jax.load_dataset(data, split="train", image_size=image_size)
        ddib_jax.train(source, ddib_jax.Training(**options), home, name=home.name)
    return home


def cyclegan(home: Path, a: str, b: str, *, image_size: int | None = None, **options) -> Path:
    """Train a CycleGAN of two data sets, unless it is in `home`; returns that.

    options: of `CycleGANTraining`.
    """
    if not (home / "ab" / "model.json").exists():
        sources = (
            ddib_jax.load_dataset(name, split="train", image_size=image_size) for name in (a, b)
        )
        names = (Path(a).name, Path(b).name)
        train_cyclegan(*sources, CycleGANTraining(**options), home, names=names)
    return home


def classifier(home: Path, data: str) -> Path:
    """Train a classifier of a data set's labels, unless it is in `home`; returns that."""
    if not (home / "model.json").exists():
        both = (ddib_jax.load_dataset(data, split=split) for split in ("train", "test"))
        train_classifier(*both, ClassifierTraining(), home, name=Path(data).name)
    return home

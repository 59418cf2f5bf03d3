"""`ddib train-classifier`: labelled digits in, a classifier of them out."""

from dataclasses import dataclass
from pathlib import Path

from ddib_jax.cli.arguments import DataName
from ddib_jax.data import load_dataset
from ddib_jax.data.inputs import check_apart
from ddib_jax.trainer import ClassifierTraining, check_place, train_classifier


@dataclass(frozen=True, kw_only=True)
class TrainClassifier(ClassifierTraining):
    """Train a classifier of digits, by which translations are measured.

    It takes minutes, so it does not checkpoint.
    """

    out: Path
    """The model directory to write; the log goes to OUT/training."""
    data: DataName = "digits"
    """A labelled data set: digits, digits:5,7, npz:FILE ..."""
    data_dir: Path | None = None
    """Where MNIST's IDX files are; all ten digits are not bundled."""

    def run(self) -> None:
        """Train, test, write the model directory."""
        check_apart(self.out, (self.data,))
        check_place(self.out)
        train, test = (
            load_dataset(self.data, split=split, directory=self.data_dir)
            for split in ("train", "test")
        )
        train_classifier(train, test, self, self.out, name=self.data)

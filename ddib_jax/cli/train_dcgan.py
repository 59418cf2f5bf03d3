"""`ddib train-dcgan`: one domain in, a generator of its images out."""

from dataclasses import dataclass
from pathlib import Path

from ddib_jax.cli.arguments import DataName
from ddib_jax.cli.training_data import TrainingData
from ddib_jax.gan import DCGANTraining, train_dcgan


@dataclass(frozen=True, kw_only=True)
class TrainDcgan(DCGANTraining, TrainingData):
    """Train a DCGAN on one domain.

    Killed and started again by the same command, it resumes.
    """

    data: DataName
    """A data set (five, digits:3 ...) or a folder of images; their side, times --enlarge, must be
    16, 32, 64 ... pixels.
    """
    out: Path
    """Where the generator goes, with samples.png; checkpoints, log and previews go to OUT/training.
    """

    def run(self) -> None:
        """Train, with previews, and write the generator."""
        self.start(self.out, self.data)
        data = {"data": self.data, "image_size": self.image_size}
        train_dcgan(self.load(self.data), self, self.out, name=self.data, data=data)

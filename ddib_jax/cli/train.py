"""`ddib train`: one domain in, one model directory out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ddib_jax.cli.arguments import DataName, DeclaredRange
from ddib_jax.cli.training_data import TrainingData
from ddib_jax.trainer import Training, train


@dataclass(frozen=True, kw_only=True)
class Train(Training, TrainingData):
    """Train a diffusion model of one domain.

    Killed and started again by the same command, it resumes.
    """

    data: DataName
    """A data set (five, seven, digits:3, mnist:1,2, tfds:cifar10 ...) or a folder of images."""
    out: Path
    """The model directory to write; checkpoints, log and previews go to OUT/training."""
    crop: Literal["centre", "random", "window"] = "centre"
    """The central square of a folder's images; a random part of it (CycleGAN's: resized to 286/256
    of the size, then cropped); or a window of --image-size anywhere in the whole picture as it is,
    for large pictures that are then translated with --fit tile: of TIFF and .npy nothing else is
    read.
    """

    declared: DeclaredRange = ()
    """Read a folder's files as they are, with all their channels, and take these values, in the
    files' own units, for black and white: 0 65535, -1000 2000, or percentiles of the images, p1
    p99; a pair for all channels or one for each. The range is stored in the model.
    """

    def run(self) -> None:
        """Train, with previews, and write the model directory."""
        self.start(self.out, self.data)
        folder = Path(self.data)
        train(
            self.load(self.data, crop=self.crop, declared=self.declared),
            self,
            self.out,
            name=folder.name if folder.is_dir() else self.data,
            data={
                "data": self.data,
                "image_size": self.image_size,
                "crop": self.crop,
                **({"range": list(self.declared)} if self.declared else {}),
            },
        )

"""`ddib train-cyclegan`: two domains in, a generator each way out."""

from dataclasses import dataclass
from pathlib import Path

from ddib_jax.cli.arguments import DataName, RangeOfA, RangeOfB
from ddib_jax.cli.training_data import TrainingData
from ddib_jax.gan import CycleGANTraining, train_cyclegan
from ddib_jax.gan.train_cyclegan import DIRECTIONS


@dataclass(frozen=True, kw_only=True)
class TrainCyclegan(CycleGANTraining, TrainingData):
    """Train a CycleGAN on two domains.

    Killed and started again by the same command, it resumes.
    """

    a: DataName
    """A data set or a folder of images, such as CycleGAN's trainA."""
    b: DataName
    """The other domain, such as trainB; the domains need not have equally many images."""
    out: Path
    """Where the generators go, OUT/ab and OUT/ba; checkpoints, log and previews go to OUT/training.
    """

    range_a: RangeOfA = ()
    """Read the files of --a as they are, with all their channels, and take these values, in the
    files' own units, for black and white, as --range of `ddib train`. It is stored in both models.
    """
    range_b: RangeOfB = ()
    """The same of --b."""

    def run(self) -> None:
        """Train, with previews, and write both generators."""
        self.start(self.out, self.a, self.b, models=DIRECTIONS)
        train_cyclegan(
            self.load(self.a, declared=self.range_a),
            self.load(self.b, declared=self.range_b),
            self,
            self.out,
            names=(Path(self.a).name, Path(self.b).name),
            data={
                "a": self.a,
                "b": self.b,
                "image_size": self.image_size,
                **({"range_a": list(self.range_a)} if self.range_a else {}),
                **({"range_b": list(self.range_b)} if self.range_b else {}),
            },
        )

"""The options of every training on the command line that say what it learns from, and where."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddib_jax.cli.arguments import FlatReading
from ddib_jax.cli.hosts import Hosts, Joined
from ddib_jax.data import ImageSource, load_dataset
from ddib_jax.data.inputs import Reading, check_apart
from ddib_jax.options import OptionalSize
from ddib_jax.trainer import check_place


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Where training images are read from, and how."""

    data_dir: Path | None = None
    """Where the files of a data set are that is not bundled (MNIST's IDX files, what
    tensorflow-datasets prepared).
    """
    image_size: OptionalSize = None
    """Crop and resize a folder's images to this many pixels each way."""
    reading: FlatReading = field(default_factory=Reading)
    hosts: Joined = field(default_factory=Hosts)

    def start(self, out: Path, *words: str, models: Sequence[str] = ("",)) -> None:
        """Meet the other hosts, and try `out` before anything is read.

        Raises ValueError where it would mix with what `words` name, and as `check_place` does.
        """
        self.hosts.join(heed_sigterm=True)
        check_apart(out, words)
        check_place(out, models=models)

    def load(self, name: str, **options: Any) -> ImageSource:
        """The training images of a data set or folder, read as the options say."""
        return load_dataset(
            name,
            split="train",
            directory=self.data_dir,
            image_size=self.image_size,
            skip_unreadable=self.reading.skip_unreadable,
            max_pixels=self.reading.max_pixels,
            **options,
        )

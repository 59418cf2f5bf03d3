"""What every training of a GAN has: options, checkpoints, a log, previews, and an end."""

import dataclasses
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import optax

from ddib_jax.commands.arguments import Count, OptionalSize, Positive, Whole
from ddib_jax.commands.distributed import Hosts, Joined
from ddib_jax.commands.inputs import FlatReading, Reading
from ddib_jax.commands.monitor import Monitor
from ddib_jax.commands.place import defaults, note_data
from ddib_jax.commands.results import write_unreadable
from ddib_jax.data import ImageSource, load_dataset
from ddib_jax.distributed import Shard
from ddib_jax.parallel import machine
from ddib_jax.training import Checkpoints, TrainState, fit, read_log
from ddib_jax.training.step import GradFn

_FREE = ("out", "data_dir", "log_every", "checkpoint_every", "preview_every", "reading", "hosts")
"""Options that a resumed run need not share with the one it resumes."""


@dataclass(frozen=True, kw_only=True)
class GanTraining:
    """Options of a GAN's training, and the training itself."""

    out: Path
    """The directory to write; checkpoints, log and previews go to OUT/training."""
    data_dir: Path | None = None
    """Where the files of a data set are that is not bundled (MNIST's IDX files, what
    tensorflow-datasets prepared).
    """
    image_size: OptionalSize = None
    """Crop and resize a folder's images to this many pixels each way."""
    steps: Count = 4000
    """Steps of training."""
    learning_rate: Positive = 2e-4
    """Learning rate of Adam, for all networks."""
    seed: Whole = 0
    """Seed of weights, batches and pools."""
    log_every: Count = 20
    """Steps between lines of the log."""
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
    preview_every: Count = 500
    """Steps between previews."""
    reading: FlatReading = dataclasses.field(default_factory=Reading)
    hosts: Joined = dataclasses.field(default_factory=Hosts)

    def load(self, name: str) -> ImageSource:
        """The training images of a data set or folder, read as the options say."""
        return load_dataset(
            name,
            split="train",
            directory=self.data_dir,
            image_size=self.image_size,
            skip_unreadable=self.reading.skip_unreadable,
            max_pixels=self.reading.max_pixels,
        )

    def train(
        self,
        params: Any,
        grad_fn: GradFn,
        tx: optax.GradientTransformation,
        batch_at: Callable[[int], Any],
        *,
        findings: Callable[[dict], dict[str, str]],
        write_preview: Callable[[Path, TrainState], Any],
        sources: Sequence[ImageSource],
        shard: Shard,
    ) -> TrainState:
        """The state after the last step; resumes from the newest checkpoint.

        params: of all networks, as one tree. batch_at: step -> this host's shard of its batch.
        findings: as `Monitor` takes them. write_preview: writes the picture at a path; called by
        the first host. sources: the data, whose unreadable files are listed.
        """
        work_dir, options = self.out / "training", dataclasses.asdict(self)
        configuration = {name: value for name, value in options.items() if name not in _FREE}
        checkpoints = Checkpoints(work_dir, configuration, defaults=defaults(self))
        state = TrainState.create(params, tx)
        state = checkpoints.restore(state) or state
        start, first = int(state.step), shard.index == 0
        if first:
            unreadable = [line for source in sources for line in getattr(source, "unreadable", ())]
            write_unreadable(work_dir / "unreadable.txt", unreadable)
            note_data(work_dir, [len(source) for source in sources], fresh=checkpoints.fresh)
        if start and first:
            print(f"Resuming {self.out} at step {start}.", flush=True)
        log, watch = None, None
        if first:
            log = Monitor(work_dir, findings, start=start, steps=self.steps)
            previews = work_dir / "previews"
            watch = lambda step, state: write_preview(previews / f"{step:06d}.png", state)
        try:
            return fit(
                jax.random.key(self.seed),
                state,
                batch_at,
                grad_fn=grad_fn,
                tx=tx,
                steps=self.steps,
                ema_decay=0.0,
                checkpoints=checkpoints,
                checkpoint_every=self.checkpoint_every,
                log=log,
                log_every=self.log_every,
                watch=watch,
                watch_every=self.preview_every,
            )
        finally:
            if log:
                log.close()
            checkpoints.close()

    def training_facts(self, state: TrainState) -> dict[str, Any]:
        """What `model.json` says of the training."""
        lines = read_log(self.out / "training" / "log.jsonl")
        return {
            "command": shlex.join(["ddib", *sys.argv[1:]]),
            "steps_done": int(state.step),
            "machine": machine(),
            "jax": jax.__version__,
            "seconds": round(sum(line["seconds"] for line in lines)),
        }

"""What every training of a game between networks does: it is resumed, watched, ended and written
like any other training.
"""

import dataclasses
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import optax

from ddib_jax.commands.distributed import Hosts, Joined
from ddib_jax.commands.monitor import Monitor
from ddib_jax.commands.train import defaults, machine
from ddib_jax.distributed import Shard
from ddib_jax.training import Checkpoints, TrainState, fit, read_log

_FREE = ("out", "data_dir", "log_every", "checkpoint_every", "preview_every", "hosts")
"""Options that a resumed run need not share with the one it resumes."""


@dataclass(frozen=True, kw_only=True)
class Game:
    """Options of a game, and how it is played."""

    out: Path
    """The directory to write; checkpoints, log and previews go to OUT/training."""
    data_dir: Path | None = None
    """Where a data set's files are (MNIST's IDX files, what tensorflow-datasets prepared), if it is
    not bundled.
    """
    image_size: int | None = None
    """Crop and resize a folder's images to this size."""
    steps: int = 4000
    """Steps of training."""
    learning_rate: float = 2e-4
    """Learning rate of Adam, for all networks."""
    seed: int = 0
    """Seed of weights, batches and pools."""
    log_every: int = 20
    """Steps between lines of the log."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    preview_every: int = 500
    """Steps between previews."""
    hosts: Joined = dataclasses.field(default_factory=Hosts)

    def play(
        self,
        params: Any,
        game: Callable,
        tx: optax.GradientTransformation,
        batch: Callable[[int], Any],
        *,
        findings: Callable,
        watch: Callable,
        shard: Shard,
    ) -> TrainState:
        """The state after the last step. batch: step -> this host's part of its batch; watch: (path
        of a picture, state), called by the first host.
        """
        work_dir = self.out / "training"
        checkpoints = Checkpoints(
            work_dir,
            {name: value for name, value in dataclasses.asdict(self).items() if name not in _FREE},
            defaults=defaults(self),
        )
        state = TrainState.create(params, tx)
        state = checkpoints.restore(state) or state
        start, first = int(state.step), shard.index == 0
        if start and first:
            print(f"Resuming {self.out} at step {start}.", flush=True)
        log = Monitor(work_dir, findings, start=start, steps=self.steps) if first else None
        try:
            return fit(
                jax.random.key(self.seed),
                state,
                batch,
                grad_fn=game,
                tx=tx,
                steps=self.steps,
                ema_decay=0.0,
                checkpoints=checkpoints,
                checkpoint_every=self.checkpoint_every,
                log=log,
                log_every=self.log_every,
                watch=(
                    (lambda step, state: watch(work_dir / "previews" / f"{step:06d}.png", state))
                    if first
                    else None
                ),
                watch_every=self.preview_every,
            )
        finally:
            if log:
                log.close()
            checkpoints.close()

    def training(self, state: TrainState) -> dict[str, Any]:
        """What `model.json` says of the training."""
        seconds = round(
            sum(line["seconds"] for line in read_log(self.out / "training" / "log.jsonl"))
        )
        return {
            "command": shlex.join(["ddib", *sys.argv[1:]]),
            "steps_done": int(state.step),
            "machine": machine(),
            "jax": jax.__version__,
            "seconds": seconds,
        }

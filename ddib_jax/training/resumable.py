"""`fit` as every training of this package runs it: from its newest checkpoint on, with a log."""

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddib_jax import distributed
from ddib_jax.options import Count
from ddib_jax.training.callbacks import Callback, Moment
from ddib_jax.training.checkpoint import Checkpoints
from ddib_jax.training.log import TrainingLog
from ddib_jax.training.loop import fit
from ddib_jax.training.state import TrainState
from ddib_jax.types import PRNGKey


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """How often a training is logged, saved and looked at; a resumed one may have others."""

    log_every: Count = 20
    """Steps between lines of the log."""
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
    preview_every: Count = 500
    """Steps between previews."""


def fit_resumably(
    key: PRNGKey,
    state: TrainState,
    batches_from: Callable[[int], Generator[Any, None, None]],
    *,
    checkpoints: Checkpoints,
    steps: int,
    intervals: Intervals,
    log: Callable[..., TrainingLog],
    preview: Callable[[Path, TrainState], Any],
    **options: Any,
) -> TrainState:
    """`fit` from the newest of `checkpoints`, or from `state` where there is none yet.

    batches_from: step -> the batches of the steps from that one on; closed at the end. log: makes
    the log, called with `start` and `steps`. preview: writes a picture of a state to a path, in
    the folder `previews` beside the checkpoints; the log and previews are the first host's alone.
    options: of `fit`, whose errors are raised, too.
    """
    state = checkpoints.restore(state) or state
    start, first = int(state.step), distributed.shard().index == 0
    directory = checkpoints.directory
    if start and first:
        print(f"Resuming {directory.parent} at step {start}.", flush=True)

    def look(moment: Moment) -> None:
        preview(directory / "previews" / f"{moment.step:06d}.png", moment.state)

    with contextlib.ExitStack() as stack:
        if first:
            written = log(start=start, steps=steps)
            stack.callback(written.close)
            logged, seen = written.every(intervals.log_every), look
        else:
            logged, seen = Callback(intervals.log_every, None), None
        batches = stack.enter_context(contextlib.closing(batches_from(start)))
        callbacks = [
            logged,
            checkpoints.every(intervals.checkpoint_every),
            Callback(intervals.preview_every, seen, when_stopped=False),
        ]
        return fit(key, state, batches, steps=steps, callbacks=callbacks, **options)

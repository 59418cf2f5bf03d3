"""What every training of a GAN has: options, checkpoints, a log that warns, and an end."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import optax

from ddib_jax import distributed
from ddib_jax.data import ImageSource, write_unreadable
from ddib_jax.gan.monitor import Monitor
from ddib_jax.options import Count, Positive, Whole, command_line, defaults, out_of_range
from ddib_jax.parallel import machine
from ddib_jax.trainer import check_place, note_data
from ddib_jax.training import Checkpoints, Intervals, TrainState, fit_resumably, read_log
from ddib_jax.training.step import GradFn


@dataclass(frozen=True, kw_only=True)
class GanTraining(Intervals):
    """Options of a GAN's training."""

    steps: Count = 4000
    """Steps of training."""
    learning_rate: Positive = 2e-4
    """Learning rate of Adam, for all networks."""
    seed: Whole = 0
    """Seed of weights, batches and pools."""


def check(training: GanTraining, out: Path, *, models: Sequence[str] = ("",)) -> None:
    """Raise ValueError for options out of their ranges, and as `trainer.check_place` does.

    models: where within `out` the models go.
    """
    check_place(out, models=models)
    if said := out_of_range(training):
        raise ValueError(said)


def trained(
    out: Path,
    training: GanTraining,
    params: Any,
    grad_fn: GradFn,
    tx: optax.GradientTransformation,
    batch_at: Callable[[int], Any],
    *,
    kind: type[GanTraining],
    data: Mapping[str, Any],
    findings: Callable[[dict], dict[str, str]],
    write_preview: Callable[[Path, TrainState], Any],
    sources: Sequence[ImageSource],
) -> TrainState:
    """The state after the last step; goes on from the newest checkpoint in out/training.

    params: of all networks, as one tree. batch_at: step -> this host's shard of its batch. kind:
    the class of options that a resumed training must share; `training` may be of one that has more.
    data: what else it must share. findings: as `Monitor` takes them. write_preview:
    writes the picture at a path; called by the first host. sources: the data, whose unreadable
    files are listed. Raises as `Checkpoints` and `fit` do.
    """
    work_dir = out / "training"
    free = {field.name for field in dataclasses.fields(Intervals)}
    names = [field.name for field in dataclasses.fields(kind) if field.name not in free]
    configuration = {name: getattr(training, name) for name in names} | dict(data)
    checkpoints = Checkpoints(work_dir, configuration, defaults=defaults(kind) | dict(data))
    try:
        if distributed.shard().index == 0:
            unreadable = [line for source in sources for line in getattr(source, "unreadable", ())]
            write_unreadable(work_dir / "unreadable.txt", unreadable)
            note_data(work_dir, [len(source) for source in sources], fresh=checkpoints.fresh)
        return fit_resumably(
            jax.random.key(training.seed),
            TrainState.create(params, tx),
            lambda start: (batch_at(step) for step in range(start, training.steps)),
            checkpoints=checkpoints,
            steps=training.steps,
            intervals=training,
            log=partial(Monitor, work_dir, findings),
            preview=write_preview,
            grad_fn=grad_fn,
            tx=tx,
            ema_decay=0.0,
        )
    finally:
        checkpoints.close()


def training_facts(out: Path, state: TrainState) -> dict[str, Any]:
    """What `model.json` says of the training in out/training that ended in `state`."""
    lines = read_log(out / "training" / "log.jsonl")
    return {
        "command": command_line(),
        "steps_done": int(state.step),
        "machine": machine(),
        "jax": jax.__version__,
        "seconds": round(sum(line["seconds"] for line in lines)),
    }

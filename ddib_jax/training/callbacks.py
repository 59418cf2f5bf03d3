"""What a training does besides its steps: a log, checkpoints, previews."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ddib_jax.training.state import TrainState


@dataclass(frozen=True)
class Moment:
    """Where a training is when a callback is called.

    step: how many steps are done. stopped: whether it ends here because a signal said so.
    read_state: the state, as `state` gives it. scalars: means of the metrics over the steps since
    this callback's last call that were not skipped, NaN where all were; `skipped`, how many were
    skipped since the first step; `data_seconds`, how long a step waited for its batch; and
    `device_memory_gb`, the most that a device has held, where the backend counts it.
    """

    step: int
    stopped: bool
    read_state: Callable[[], TrainState]
    scalars: Mapping[str, float | int]

    @property
    def state(self) -> TrainState:
        """The state after the step, host arrays; fetched from the devices when first asked for."""
        return self.read_state()


@dataclass(frozen=True)
class Callback:
    """`call(moment)` after every `every` steps, counted from the first, and after the last one.

    every: from 1 up. call: what it returns, if anything, ends the sentence that a stopped training
    leaves behind: "its state is saved in ...". None where this host has no part in what another one
    does: all hosts have callbacks of the same intervals, for steps run as one program end where
    something is due. when_stopped: whether to call it too when a signal ends the training, which
    then has seconds left.
    """

    every: int
    call: Callable[[Moment], str | None] | None
    when_stopped: bool = True

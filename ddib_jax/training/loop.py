"""The one training loop: any `grad_fn`, any batches, all devices of all hosts."""

import functools
import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from ddib_jax import distributed, parallel
from ddib_jax.training.callbacks import Callback, Moment
from ddib_jax.training.history import History
from ddib_jax.training.state import TrainState
from ddib_jax.training.step import GradFn, train_steps
from ddib_jax.types import PRNGKey

_ONE_PRESS = 1.0
"""Seconds within which several SIGINT are one Ctrl-C."""
_TRACED = 5
"""Calls that a profile covers, after the first three, which compile and warm up."""


class Stopped(Exception):
    """A training that a signal ended after writing a checkpoint; the message says at which step.

    code: the exit code of a process that this signal ended, as shells count it.
    """

    def __init__(self, message: str, *, code: int = 128 + signal.SIGTERM):
        super().__init__(message)
        self.code = code


def fit(
    key: PRNGKey,
    state: TrainState,
    batches: Iterator[Any],
    *,
    grad_fn: GradFn,
    tx: optax.GradientTransformation,
    steps: int,
    shared: Any = None,
    ema_decay: float = 0.999,
    steps_per_call: int = 1,
    max_skipped: int = 10,
    callbacks: Sequence[Callback] = (),
    profile: Path | None = None,
) -> TrainState:
    """Train from `state` (host arrays) to step `steps` on the devices of all hosts; host arrays.

    batches: this host's shard of the batch of each step from `state.step` on, taken ahead, in a
    thread. Noise is folded from `key` and the step: where a batch is a function of its step too, a
    training resumed from a checkpoint ends with the same bits as one that was never interrupted.
    `shared` goes to `grad_fn` as it is. `steps_per_call` steps run as one program (lax.scan); a
    call also ends where a callback is due, so with more than one step per call the bits depend on
    the intervals too. With `profile`, a trace of some calls is written there.

    A step whose loss or gradient is not finite is skipped.

    Raises:
        FloatingPointError: more than `max_skipped` steps were skipped, seen when a callback is due
            and before it is called.
        Stopped: SIGTERM, SIGHUP or Ctrl-C was received; callbacks were called that are so
            `when_stopped`.
        ValueError: an interval is below one step, the batches end before the steps do, or the
            devices do not divide a batch.
    """
    intervals = (*(callback.every for callback in callbacks), steps_per_call)
    if min(intervals) < 1:
        numbers = ", ".join(map(str, intervals))
        raise ValueError(
            f"Intervals and steps per call are whole numbers of steps from 1 up; {numbers} were"
            " given."
        )
    step_fn = functools.partial(
        train_steps, grad_fn=grad_fn, tx=tx, ema_decay=ema_decay, axis_name=parallel.BATCH_AXIS
    )
    update, start = parallel.data_parallel(step_fn), int(state.step)
    calls = list(_calls(start, steps, intervals))
    ahead = parallel.prefetch(parallel.to_devices(_stacked(batches, *call)) for call in calls)
    replicated = parallel.replicate(state)
    history = History(len(callbacks), start, max_skipped)
    compiled: set[int] = set()
    with closing(ahead), _termination() as (terminated, told), _trace(profile) as traced:
        if _any_of_all(terminated, range(start + 1)):
            name, code = told()
            raise Stopped(
                f"The training was told to stop ({name}) before step {start + 1}. The same command"
                " goes on from there.",
                code=code,
            )
        for count, (first, done) in enumerate(calls):
            began = time.monotonic()
            batch = next(ahead)
            waited = time.monotonic() - began
            if done - first not in compiled:
                compiled.add(done - first)
                _compile_everywhere(update, key, replicated, batch, shared)
            replicated, metrics = update(key, replicated, batch, shared)
            history.add(first, metrics, waited)
            traced(count, metrics)
            stop = _any_of_all(terminated, range(first + 1, done + 1)) and done < steps
            said = []
            last = stop or done == steps
            due = [i for i, called in enumerate(callbacks) if last or done % called.every == 0]
            if due:
                history.fetch()
                read_state = functools.cache(functools.partial(parallel.unreplicate, replicated))
                for index in due:
                    callback, scalars = callbacks[index], history.tell(index, done)
                    if callback.call and (callback.when_stopped or not stop):
                        said.append(callback.call(Moment(done, stop, read_state, scalars)))
                distributed.barrier("called back")  # often one host writes what others do not
            if stop:
                name, code = told()
                outcome = " and ".join(filter(None, said))
                outcome = f"{outcome}. The same command goes on from there" if outcome else ""
                raise Stopped(
                    f"The training was told to stop ({name}) and ended after step {done};"
                    f" {outcome or 'nothing is saved'}.",
                    code=code,
                )
    return parallel.unreplicate(replicated)


def _compile_everywhere(update: Any, *args: Any) -> None:
    """Compile `update` for `args`, and wait until all hosts have; nothing on a single one.

    Its next call finds the program in JAX's memory, and so starts at the same time everywhere.
    """
    if jax.process_count() > 1:
        update.lower(*args).compile()
        distributed.barrier("compiled")


def _calls(start: int, steps: int, intervals: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """First step and end of every call.

    Calls end at multiples of the intervals, wherever a training was resumed, so that it goes on in
    the same calls, and with the same bits, as one that was never interrupted.
    """
    while start < steps:
        end = min(steps, *(start - start % every + every for every in intervals))
        yield start, end
        start = end


def _stacked(batches: Iterator[Any], first: int, end: int) -> Any:
    """The batches of the steps from `first` up to `end`, along a new axis."""
    taken = list(itertools.islice(batches, end - first))
    if len(taken) < end - first:
        raise ValueError(
            f"The batches ended before the steps did: there is none for step {first + len(taken)}."
        )
    return jax.tree.map(lambda *leaves: np.stack(leaves), *taken)


def _any_of_all(terminated: Callable[[int], bool], steps: range) -> bool:
    """Whether `terminated` says so at one of the steps; it is asked for all of them.

    `distributed.told_to_stop` must be asked for every step, so `any` may not end early.
    """
    answers = [terminated(step) for step in steps]
    return any(answers)


@contextmanager
def _termination() -> Iterator[tuple[Callable[[int], bool], Callable[[], tuple[str, int]]]]:
    """Note SIGTERM, SIGHUP (a closed terminal) and Ctrl-C, not obey them; gives two functions.

    The first says, of a step, whether to stop; it says the same at the same step on all hosts. Of
    several, JAX's runtime handles SIGTERM, which the others then are, too. The second says by what,
    and its exit code. A second Ctrl-C raises KeyboardInterrupt.
    """
    received: list[tuple[int, float]] = []
    handled = threading.current_thread() is threading.main_thread()
    alone = jax.process_count() == 1

    def note(number: int, *_: Any) -> None:
        # A terminal and what started this process may both hand one Ctrl-C on.
        again = received and time.monotonic() - received[0][1] > _ONE_PRESS
        if number == signal.SIGINT and again:
            raise KeyboardInterrupt
        received.append((number, time.monotonic()))
        if not alone:
            signal.raise_signal(signal.SIGTERM)

    def told() -> tuple[str, int]:
        number = received[0][0] if received else signal.SIGTERM
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        return name, 128 + number

    # What a shell has switched off for a job in its background, or nohup, stays so.
    numbers = [signal.SIGTERM] * alone
    for name in ("SIGINT", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            numbers.append(number)
    before = {number: signal.signal(number, note) for number in numbers * handled}
    try:
        yield lambda step: (bool(received) and alone) or distributed.told_to_stop(step), told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _trace(directory: Path | None) -> Iterator[Callable[[int, Any], None]]:
    """Trace some calls into `directory`, or none; gives a function to be called after every call.

    It takes the call's number and what the call computes.
    """
    running = False

    def after_call(count: int, computed: Any) -> None:
        nonlocal running
        if directory and count == 2:
            jax.block_until_ready(computed)
            jax.profiler.start_trace(directory)
            running = True
        elif running and count == 2 + _TRACED:
            jax.block_until_ready(computed)
            jax.profiler.stop_trace()
            running = False

    try:
        yield after_call
    finally:
        if running:
            jax.profiler.stop_trace()

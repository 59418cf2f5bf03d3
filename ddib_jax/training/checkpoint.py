"""Checkpoints of a training through orbax: asynchronous, atomic, the last good one always there."""

import json
import logging
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from ddib_jax import distributed
from ddib_jax.files import drafted, held, same_place
from ddib_jax.training.callbacks import Callback, Moment
from ddib_jax.training.state import check_finite


class Checkpoints:
    """The checkpoints in `directory`, bound to the configuration of their training.

    A training is resumed only with its own configuration, in which two names of one file or folder
    are the same; `defaults` are the values of fields that it had before these fields existed. Where
    there is no checkpoint yet (`fresh`), nothing is bound, and a new configuration takes the old
    one's place. One process, the first of several hosts, holds the directory until `close`. `keep`
    is the number of checkpoints that stay. What a killed training left half-written is removed.
    Several hosts share the directory: all make the same calls, and each writes its part. From the
    first instance on, what orbax's and tensorstore's threads log of a failed write is off the
    terminal: it is raised here, once.

    Raises ValueError where the directory holds another configuration, naming the fields that
    differ, and BlockingIOError where another training is at work in it.
    """

    def __init__(
        self,
        directory: str | Path,
        configuration: dict[str, Any],
        *,
        defaults: Mapping[str, Any] = MappingProxyType({}),
        keep: int = 2,
    ):
        self.directory = Path(directory).absolute()
        self._held = ExitStack()
        if distributed.shard().index == 0:
            self._held.enter_context(held(self.directory / "lock", "training"))
        try:
            self.fresh = not any((self.directory / "steps").glob("*[0-9]"))
            _check_configuration(self.directory, configuration, defaults, bound=not self.fresh)
            self._remove_drafts()
            distributed.barrier("drafts removed")
        except BaseException:
            self._held.close()
            raise
        _silence_threads()
        self._begun: tuple[int, Any] | None = None
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=True)
        self._manager = ocp.CheckpointManager(self.directory / "steps", options=options)

    def restore(self, template: Any) -> Any | None:
        """The newest state that can be read, as host arrays in the structure of `template`.

        None where there is none yet. Newer ones that are damaged are named on stderr and renamed to
        `damaged-STEP`. Raises ValueError where not one can be read.
        """
        template = jax.tree.map(np.asarray, template)
        damaged: dict[int, Exception] = {}
        for step in distributed.from_first(sorted(self._manager.all_steps(), reverse=True)):
            state, error = self._read(step, template)
            if not distributed.agreed(flag=error is None):
                damaged[step] = error or OSError("another process cannot read it")
                continue
            self._set_aside(damaged, step)
            return state
        if damaged:
            causes = "; ".join(f"step {step}: {_cause(error)}" for step, error in damaged.items())
            raise ValueError(
                f"No checkpoint in {self.directory} can be read ({causes}); remove this directory"
                " to start afresh."
            ) from next(iter(damaged.values()))
        return None

    def _read(self, step: int, template: Any) -> tuple[Any, Exception | None]:
        """The state of a step, read by this host for itself, or what went wrong.

        Not together with the other hosts: one that fails would leave them waiting in orbax's
        barriers.
        """
        own = distributed.shard().index
        alone = ocp.options.MultiprocessingOptions(
            primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"host{own}"
        )
        try:
            checkpointer = ocp.StandardCheckpointer(multiprocessing_options=alone)
            state = checkpointer.restore(self._path(step) / "default", template)
            _check_shapes(state, template)
        # orbax, tensorstore and json each raise their own errors on a damaged file.
        except Exception as error:
            return None, error
        return state, None

    def save(self, step: int, state: Any) -> None:
        """Start writing host arrays `state` as step `step`, once the one before is written.

        Raises OSError, naming the last good step, when the disk cannot take it, and ValueError when
        there is a checkpoint of this step or a later one.
        """
        latest = self._manager.latest_step()
        if latest is not None and latest >= step:
            raise ValueError(
                f"{self.directory} holds the checkpoint of step {latest}; go on from there, not to"
                f" step {step}."
            )
        self.wait()
        self._begun = (step, state)
        with self._reported():
            self._manager.save(step, args=ocp.args.StandardSave(distributed.on_all_hosts(state)))

    def every(self, steps: int) -> Callback:
        """The callback of `fit` that saves its state every so many steps.

        Of a training that is stopped it waits until the state is written. It raises as `save` does,
        and FloatingPointError, saving nothing, where a parameter is not finite.
        """

        def call(moment: Moment) -> str | None:
            check_finite(moment.state)
            self.save(moment.step, moment.state)
            if not moment.stopped:
                return None
            self.wait()
            return f"its state is saved in {self.directory}"

        return Callback(steps, call)

    def wait(self) -> None:
        """Wait until what `save` began is written; raises as `save` does."""
        try:
            with self._reported():
                self._manager.wait_until_finished()
        except OSError as error:
            # orbax measures its timeout by the wall clock: where that jumped, begin once more.
            # Several hosts cannot, for not all of them may have timed out.
            timed_out = isinstance(error.__cause__, TimeoutError)
            if not timed_out or self._begun is None or distributed.shard().count > 1:
                raise
            step, state = self._begun
            with self._reported():
                self._manager.save(step, args=ocp.args.StandardSave(state))
                self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait for the writing and release the directory; raises as `save` does."""
        try:
            self.wait()
        finally:
            self._manager.close()
            self._remove_drafts()
            self._held.close()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Turn a failed write into one sentence that says which checkpoint is still good."""
        try:
            yield
        # OSError in this thread, tensorstore's ValueError from the writing one.
        except Exception as error:
            self._remove_drafts()
            self._manager.reload()
            good = self._manager.latest_step()
            remains = (
                "no checkpoint is complete yet"
                if good is None
                else f"the checkpoint of step {good} is good and stays"
            )
            raise OSError(
                f"A checkpoint could not be written to {self.directory} ({_cause(error)});"
                f" {remains}. Is the disk full?"
            ) from error

    def _path(self, step: int) -> Path:
        return self.directory / "steps" / str(step)

    def _set_aside(self, damaged: dict[int, Exception], resumed: int) -> None:
        """Rename the checkpoints that cannot be read, and say so."""
        if distributed.shard().index == 0:
            for step, error in damaged.items():
                path = self._path(step).with_name(f"damaged-{step}")
                shutil.rmtree(path, ignore_errors=True)
                self._path(step).rename(path)
                print(
                    f"The checkpoint of step {step} cannot be read and is now {path}"
                    f" ({_cause(error)}; going on from step {resumed}).",
                    file=sys.stderr,
                    flush=True,
                )
        distributed.barrier("damaged set aside")
        self._manager.reload()

    def _remove_drafts(self) -> None:
        if distributed.shard().index > 0:
            return
        # Several times, as a writing thread that is still ending may refill a draft for a moment.
        for _ in range(20):
            for draft in self._drafts():
                shutil.rmtree(draft, ignore_errors=True)
            if not self._drafts():
                return
            time.sleep(0.1)

    def _drafts(self) -> list[Path]:
        return list((self.directory / "steps").glob("*.orbax-checkpoint-tmp*"))


def _check_shapes(state: Any, template: Any) -> None:
    for (path, leaf), expected in zip(
        jax.tree.leaves_with_path(state), jax.tree.leaves(template), strict=True
    ):
        if leaf.shape != expected.shape:
            raise ValueError(f"{jax.tree_util.keystr(path)} is {leaf.shape}, not {expected.shape}")


def _cause(error: Exception) -> str:
    """What happened, in one line: the system's words or the first line of the message.

    tensorstore's `CODE: file: ...: what: why [details]` is cut to `what: why`.
    """
    message = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    line = message.splitlines()[0].rstrip(".:")
    chain = re.sub(r" \[\w+(\[\d+\])?=.*", "", line).split(": ")
    return ": ".join(chain[-2:]) if re.fullmatch("[A-Z_]+", chain[0]) else line


def _silence_threads() -> None:
    """Keep the traces of orbax's and tensorstore's threads off the terminal, for good.

    A process has one logger and one hook for such traces. They stay changed after `close`, as an
    abandoned coroutine reports itself whenever it is garbage-collected. Calling this again changes
    nothing.
    """
    logging.getLogger("absl").addFilter(_is_not_orbax)
    logging.getLogger("asyncio").addFilter(_is_not_of_writing)
    if not isinstance(sys.unraisablehook, _UnraisableHook):
        sys.unraisablehook = _UnraisableHook(sys.unraisablehook)


def _is_not_orbax(record: logging.LogRecord) -> bool:
    return "/orbax/checkpoint/" not in record.pathname


def _is_not_of_writing(record: logging.LogRecord) -> bool:
    """Whether it is not of a coroutine of a checkpoint's, whose error is raised by `wait`."""
    said = record.getMessage()
    return "orbax" not in said and "tensorstore" not in said


@dataclass(frozen=True)
class _UnraisableHook:
    """`sys.unraisablehook` without what each file's coroutine says after one write has failed."""

    otherwise: Callable[[Any], Any]

    def __call__(self, unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            self.otherwise(unraisable)


def _check_configuration(
    directory: Path, configuration: dict[str, Any], defaults: Mapping[str, Any], *, bound: bool
) -> None:
    """Compare with the stored configuration, and store it where there is none that is `bound`."""
    path = directory / "configuration.json"
    # By way of JSON both, so that what is read back compares equal: tuples become lists.
    expected = json.loads(json.dumps(configuration))
    fallback = json.loads(json.dumps(dict(defaults)))
    if not (bound and path.exists()) and distributed.shard().index == 0:
        with drafted(directory) as draft:
            (draft / path.name).write_text(json.dumps(expected, indent=1))
    distributed.barrier("configuration")
    try:
        stored = json.loads(path.read_text())
        stored = {name: value for name, value in fallback.items() if name in expected} | stored
        fields = sorted(stored.keys() | expected.keys())
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged; remove {directory} to start the training afresh."
        ) from error
    differing = [
        f"{field} was {stored.get(field)!r}, is {expected.get(field)!r}"
        for field in fields
        if not _same(stored.get(field), expected.get(field))
    ]
    if differing:
        raise ValueError(
            f"The training in {directory} was started with another configuration"
            f" ({'; '.join(differing)}); train into another directory, or remove this one."
        )


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal, or words for one file or folder, whatever their prefix."""
    if one == other or not (isinstance(one, str) and isinstance(other, str)):
        return one == other
    if same_place(one, other):
        return True
    (prefix, _, path), (kind, _, argument) = one.partition(":"), other.partition(":")
    return prefix == kind and same_place(path, argument)

"""Checkpoints of a training, through orbax: asynchronous, atomic, the last good one
always there.
"""

import json
import logging
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from ddib_jax import distributed
from ddib_jax.files import drafted


class Checkpoints:
    """The checkpoints in `directory`, bound to the configuration that made them.

    A run is resumed only by its own configuration: opening a directory of another one raises
    ValueError naming the fields that differ. Of a field that an older version did not know, that
    run had the `defaults`. `keep` is the number of checkpoints that stay. What a killed run left
    half-written is removed. Of several hosts, which share the directory, all call alike and each
    writes its part.
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
        _check_configuration(self.directory, configuration, defaults)
        self._remove_drafts()
        distributed.barrier("drafts removed")
        _hush()
        self._begun: tuple[int, Any] | None = None
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=True)
        self._manager = ocp.CheckpointManager(self.directory / "steps", options=options)

    def restore(self, template: Any) -> Any | None:
        """The newest state that can be read, as host arrays in the structure of `template`; None
        where there is none yet.

        Newer ones that are damaged are named on stderr and set aside. Raises ValueError where not
        one can be read.
        """
        template = jax.tree.map(np.asarray, template)
        damaged: dict[int, Exception] = {}
        for step in distributed.from_first(sorted(self._manager.all_steps(), reverse=True)):
            state, error = self._read(step, template)
            if not distributed.agreed(error is None):
                damaged[step] = error or OSError("another process cannot read it")
                continue
            self._set_aside(
                {
                    newer: f"{_cause(error)}; going on from step {step}"
                    for newer, error in damaged.items()
                }
            )
            return state
        if damaged:
            causes = "; ".join(f"step {step}: {_cause(error)}" for step, error in damaged.items())
            raise ValueError(
                f"No checkpoint in {self.directory} can be read ({causes}); remove this directory"
                " to start afresh."
            ) from next(iter(damaged.values()))
        return None

    def _read(self, step: int, template: Any) -> tuple[Any, Exception | None]:
        """The state of a step, read by this host for itself, or what went wrong."""
        own = distributed.shard().index
        alone = ocp.options.MultiprocessingOptions(
            primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"host{own}"
        )
        try:
            state = ocp.StandardCheckpointer(multiprocessing_options=alone).restore(
                self._place(step) / "default", template
            )
            _check_shapes(state, template)
        except (
            Exception
        ) as error:  # orbax, tensorstore and json each raise their own on a damaged file
            return None, error
        return state, None

    def save(self, step: int, state: Any) -> None:
        """Start writing host arrays `state` as step `step`; the one before is finished first.

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

    def wait(self) -> None:
        """Wait until what `save` began is written; raises as `save` does.

        orbax measures its patience by the clock: where that jumped, what was begun is begun once
        more.
        """
        try:
            with self._reported():
                self._manager.wait_until_finished()
        except OSError as error:
            if (
                not isinstance(error.__cause__, TimeoutError)
                or self._begun is None
                or distributed.shard().count > 1
            ):
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

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Turns a failed write into one sentence that says which checkpoint is still good."""
        try:
            yield
        except (
            Exception
        ) as error:  # OSError here, ValueError of tensorstore from the writing thread
            self._remove_drafts()
            self._manager.reload()
            good = self._manager.latest_step()
            kept = (
                "no checkpoint is complete yet"
                if good is None
                else f"the checkpoint of step {good} is good and stays"
            )
            raise OSError(
                f"A checkpoint could not be written to {self.directory} ({_cause(error)}); {kept}."
                " Is the disk full?"
            ) from error

    def _place(self, step: int) -> Path:
        return self.directory / "steps" / str(step)

    def _set_aside(self, reasons: dict[int, str]) -> None:
        if distributed.shard().index == 0:
            for step, reason in reasons.items():
                place = self._place(step).with_name(f"damaged-{step}")
                shutil.rmtree(place, ignore_errors=True)
                self._place(step).rename(place)
                print(
                    f"The checkpoint of step {step} cannot be read and is now {place} ({reason}).",
                    file=sys.stderr,
                    flush=True,
                )
        distributed.barrier("damaged set aside")
        self._manager.reload()

    def _remove_drafts(self) -> None:
        if distributed.shard().index > 0:
            return
        for _ in range(20):  # a writing thread that is still dying may refill a draft for a moment
            for draft in (self.directory / "steps").glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(draft, ignore_errors=True)
            if not any((self.directory / "steps").glob("*.orbax-checkpoint-tmp*")):
                return
            time.sleep(0.1)


def _check_shapes(state: Any, template: Any) -> None:
    for (path, leaf), expected in zip(
        jax.tree.leaves_with_path(state), jax.tree.leaves(template), strict=True
    ):
        if leaf.shape != expected.shape:
            raise ValueError(f"{jax.tree_util.keystr(path)} is {leaf.shape}, not {expected.shape}")


def _cause(error: Exception) -> str:
    """What happened, without the chain of files that tensorstore puts before it: `CODE: ...: what:
    why [details]`.
    """
    said = (
        (getattr(error, "strerror", None) or str(error).strip() or type(error).__name__)
        .splitlines()[0]
        .rstrip(".:")
    )
    chain = re.sub(r" \[\w+(\[\d+\])?=.*", "", said).split(": ")
    return ": ".join(chain[-2:]) if re.fullmatch("[A-Z_]+", chain[0]) else said


def _hush() -> None:
    """Keep the traces of orbax's and tensorstore's threads off the terminal: what fails there is
    raised here, once.
    """
    logging.getLogger("absl").addFilter(_not_of_orbax)
    if sys.unraisablehook is not _not_of_tensorstore:
        _not_of_tensorstore.hook, sys.unraisablehook = sys.unraisablehook, _not_of_tensorstore


def _not_of_orbax(record: logging.LogRecord) -> bool:
    return "/orbax/checkpoint/" not in record.pathname


def _not_of_tensorstore(unraisable: Any) -> None:
    if (
        str(unraisable.exc_value) != "Event loop is closed"
    ):  # each file's after the first that failed
        _not_of_tensorstore.hook(unraisable)


def _check_configuration(
    directory: Path, configuration: dict[str, Any], defaults: Mapping[str, Any]
) -> None:
    path, wanted = directory / "configuration.json", json.loads(json.dumps(configuration))
    if not path.exists() and distributed.shard().index == 0:
        with drafted(directory) as draft:
            (draft / path.name).write_text(json.dumps(wanted, indent=1))
    distributed.barrier("configuration")
    try:
        found = json.loads(path.read_text())
        found = {
            name: value
            for name, value in json.loads(json.dumps(dict(defaults))).items()
            if name in wanted
        } | found
        fields = sorted(found.keys() | wanted.keys())
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged; remove {directory} to start the training afresh."
        ) from error
    differing = [
        f"{field} was {found.get(field)!r}, is {wanted.get(field)!r}"
        for field in fields
        if found.get(field) != wanted.get(field)
    ]
    if differing:
        raise ValueError(
            f"The training in {directory} was started with another configuration"
            f" ({'; '.join(differing)}); train into another directory, or remove this one."
        )

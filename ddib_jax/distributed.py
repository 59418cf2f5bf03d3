"""Hosts: the processes of JAX's distributed runtime that work together, and what they must agree
on.
"""

import atexit
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

SILENCE = 30
"""Seconds without a sign of life after which JAX's runtime takes a host for dead and stops the
others.
"""


class Shard(NamedTuple):
    """Which part of the work is this host's: part `index` of `count` equal ones."""

    index: int = 0
    count: int = 1


def shard() -> Shard:
    """This host's shard of the work."""
    return Shard(jax.process_index(), jax.process_count())


def join_hosts(
    coordinator: str | None = None,
    count: int | None = None,
    index: int | None = None,
    *,
    heed_sigterm: bool = True,
) -> None:
    """Make this process one of `count` that work together; before anything is computed.

    `coordinator`, HOST:PORT, is where process 0 listens. Without any of the three, JAX reads them
    from a TPU pod's, SLURM's, Open MPI 4's or Kubernetes' environment. SIGTERM is then what
    `told_to_stop` tells, or, without `heed_sigterm`, ends the process as ever. Raises ValueError
    where they are incomplete or wrong, or no other process answers in five minutes.
    """
    jax.config.update("jax_enable_preemption_service", heed_sigterm)
    try:
        jax.distributed.initialize(coordinator, count, index, heartbeat_timeout_seconds=SILENCE)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ValueError(
            f"The processes could not be joined ({str(error).splitlines()[0]}); give --coordinator"
            " HOST:PORT, --processes N and --process I, the same first two to all."
        ) from error
    _have_witness()


_WITNESS = """
import sys
if not sys.stdin.read():
    print("ddib: process {} ended without a word: it was killed, or JAX's runtime stopped it because another process died or was silent for {} s. Start all "
          "of them again by the same command; a training goes on from its last complete checkpoint.", file=sys.stderr)
"""


def _have_witness() -> None:
    """A process that says why, should this one end as the runtime ends it: at once, with a trace of
    addresses.
    """
    script = _WITNESS.format(jax.process_index(), SILENCE)
    witness = subprocess.Popen(
        [sys.executable, "-ISc", script], stdin=subprocess.PIPE, start_new_session=True
    )
    _leaving.append(lambda: witness.communicate(b"done"))
    atexit.register(witness.communicate, b"done")


_leaving: list[Callable[[], Any]] = []
"""What is to be done before a process of several leaves at once."""


def leave(code: int) -> int:
    """The exit code of a process that failed; one of several leaves at once, for its orderly end
    would wait for the others, and they for it.
    """
    if _leaving:
        for done in _leaving:
            done()
        sys.stderr.flush()
        os._exit(code)
    return code


def barrier(name: str) -> None:
    """Wait until all hosts are here; nothing on a single one."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def on_all_hosts(tree: Any) -> Any:
    """Host arrays, alike on all hosts, as arrays of the device that every host holds a copy of; of
    a single host as they are.
    """
    if jax.process_count() == 1:
        return tree
    first = [
        next(device for device in jax.devices() if device.process_index == index)
        for index in range(jax.process_count())
    ]
    everywhere = jax.sharding.NamedSharding(
        jax.sharding.Mesh(first, ("host",)), jax.sharding.PartitionSpec()
    )
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(everywhere, np.asarray(leaf)), tree
    )


def agreed(flag: bool) -> bool:
    """Whether all hosts say so."""
    return (
        flag
        if jax.process_count() == 1
        else bool(multihost_utils.process_allgather(np.asarray(flag)).all())
    )


def from_first(values: list[int], most: int = 64) -> list[int]:
    """The first host's numbers (0 or more, at most so many), on all hosts."""
    if jax.process_count() == 1:
        return values
    padded = np.full(most, -1, np.int64)
    padded[: len(values)] = values
    return [int(value) for value in multihost_utils.broadcast_one_to_all(padded) if value >= 0]


def told_to_stop(step: int) -> bool:
    """Whether a host was sent SIGTERM: all hosts are told the same, at the same step, though the
    signal reached one.

    To be asked for every step number from 0 up: the runtime agrees on a single one, and says yes at
    no other.
    """
    return jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step)

"""Hosts: the processes of JAX's distributed runtime that work together, and their agreements."""

import atexit
import itertools
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

SILENCE = 30
"""Seconds without a heartbeat after which JAX takes a host for dead and stops the others."""


@dataclass(frozen=True)
class Shard:
    """Which part of the work is this host's: part `index` of `count` equal ones."""

    index: int = 0
    count: int = 1


def shard() -> Shard:
    """This host's shard of the work."""
    return Shard(jax.process_index(), jax.process_count())


def join_hosts(
    *,
    coordinator: str | None = None,
    count: int | None = None,
    index: int | None = None,
    heed_sigterm: bool = True,
) -> None:
    """Make this process number `index` of `count` that work together.

    To be called before anything is computed. `coordinator`, HOST:PORT, is where process 0 listens.
    Without any of the three, JAX reads them from a TPU pod's, SLURM's, Open MPI 4's or Kubernetes'
    environment. From then on `told_to_stop` reports a SIGTERM; without `heed_sigterm` it ends the
    process as usual. A second, small process is started that explains on stderr why this one ended,
    if that was sudden. Raises ValueError where the three are incomplete or wrong, or no other
    process answers in five minutes.
    """
    jax.config.update("jax_enable_preemption_service", heed_sigterm)
    try:
        jax.distributed.initialize(coordinator, count, index, heartbeat_timeout_seconds=SILENCE)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ValueError(
            f"The processes could not be joined ({str(error).splitlines()[0]}); give --coordinator"
            " HOST:PORT, --processes N and --process I, the same first two to all."
        ) from error
    _start_witness()


def meet(
    *,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    heed_sigterm: bool = False,
) -> Shard:
    """This process's shard of the work, after meeting the others where there are any.

    coordinator: HOST:PORT, given with the number of processes and which of them this is; "auto"
    asks a TPU pod's own metadata; None finds out whether this process was started as one of several
    (a pod as GKE describes it, srun, Open MPI 4). heed_sigterm: as `join_hosts` has it. Raises
    ValueError for what is incomplete or wrong, and where the others cannot be met.
    """
    if coordinator == "auto":
        join_hosts(heed_sigterm=heed_sigterm)
    elif coordinator is not None:
        if processes is None or process is None:
            raise ValueError(
                "A coordinator needs the number of processes (--processes) and which one this"
                " is (--process)."
            )
        if not 0 <= process < processes:
            raise ValueError(f"Process {process} of {processes}: they are counted from 0.")
        join_hosts(
            coordinator=coordinator, count=processes, index=process, heed_sigterm=heed_sigterm
        )
    elif processes is not None or process is not None:
        raise ValueError("Several processes meet at a coordinator; give --coordinator HOST:PORT.")
    elif _started_together():
        join_hosts(heed_sigterm=heed_sigterm)
    elif _several("OMPI_COMM_WORLD_SIZE") or _several("PMI_SIZE"):
        raise ValueError(
            "mpirun started several processes in a way that JAX cannot read; give --coordinator"
            " HOST:PORT, --processes N and --process I."
        )
    return shard()


def _several(variable: str) -> bool:
    """Whether the variable of the environment counts more than one process."""
    return os.environ.get(variable, "1") not in ("", "1")


def _started_together() -> bool:
    """Whether this process was started as one of several, in a way that JAX can read."""
    slurm = _several("SLURM_STEP_NUM_TASKS")
    open_mpi = "OMPI_MCA_orte_hnp_uri" in os.environ and _several("OMPI_COMM_WORLD_SIZE")
    tpu_pod = "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")
    return slurm or open_mpi or tpu_pod


_WITNESS_SCRIPT = """
import sys
if not sys.stdin.read():
    print(
        "ddib: process {} ended without a word: it was killed, or JAX's runtime stopped it because"
        " another process died or was silent for {} s. Start all of them again by the same command;"
        " a training goes on from its last complete checkpoint.",
        file=sys.stderr,
    )
"""

_witness: subprocess.Popen | None = None
"""The process that explains a sudden end of this one.

None until `join_hosts`; one a process, as JAX's distributed runtime is.
"""


def _start_witness() -> None:
    # The runtime ends a process at once, by a trace of addresses and without running any Python, so
    # that only another process can still speak. It reads until this one ends: "done" comes from an
    # orderly end, nothing from a sudden one.
    global _witness
    script = _WITNESS_SCRIPT.format(jax.process_index(), SILENCE)
    _witness = subprocess.Popen(
        [sys.executable, "-ISc", script], stdin=subprocess.PIPE, start_new_session=True
    )
    atexit.register(_witness.communicate, b"done")


def leave(code: int) -> int:
    """Return the exit code of a process that failed; one of several ends here, at once.

    Its orderly end would wait for the other processes, and they for it.
    """
    if _witness is not None:
        _witness.communicate(b"done")
        sys.stderr.flush()
        os._exit(code)
    return code


_DAY_MS = 24 * 60 * 60 * 1000

_meetings = itertools.count()
"""Numbers that make barriers' names unique; the same on all hosts, as they meet in one order."""


def barrier(name: str) -> None:
    """Wait until all hosts have called this, for up to a day; nothing on a single one.

    They wait on JAX's coordination service, which notices a host that died. A collective of the
    devices would not do: on CPUs it gives up after 30 s, and one host may compile or read for much
    longer than another.
    """
    if jax.process_count() > 1:
        from orbax.checkpoint import multihost  # here, as it takes a second to import

        wait = multihost.get_barrier_sync_fn()
        wait(key=f"{name} {next(_meetings)}", timeout_ms=_DAY_MS)


def on_all_hosts(tree: Any) -> Any:
    """Host arrays that are the same on all hosts, as global arrays replicated over one device each.

    On a single host they are returned as they are.
    """
    if jax.process_count() == 1:
        return tree
    first = [
        next(device for device in jax.devices() if device.process_index == index)
        for index in range(jax.process_count())
    ]
    mesh = jax.sharding.Mesh(first, ("host",))
    replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(replicated, np.asarray(leaf)), tree
    )


def agreed(*, flag: bool) -> bool:
    """Whether `flag` is true on all hosts."""
    if jax.process_count() == 1:
        return flag
    barrier("agreed")
    return bool(multihost_utils.process_allgather(np.asarray(flag)).all())


def from_first(values: list[int], *, most: int = 64) -> list[int]:
    """The first host's numbers, each 0 or more and at most `most` of them, on all hosts."""
    if jax.process_count() == 1:
        return values
    barrier("from first")
    # A broadcast has one shape on all hosts, which do not know how many numbers there are.
    padded = np.full(most, -1, np.int64)
    padded[: len(values)] = values
    return [int(value) for value in multihost_utils.broadcast_one_to_all(padded) if value >= 0]


def told_to_stop(step: int) -> bool:
    """Whether to stop at this step because some host was sent SIGTERM; the same on all hosts.

    To be asked for every step number from 0 up: the runtime agrees on one step and says yes at no
    other. Always false on a single host.
    """
    return jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step)

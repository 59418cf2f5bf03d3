"""The options of one command on several hosts, and how its processes meet.

Each process is started with the same options and its own number, or finds both in its environment.
"""

import os
from dataclasses import dataclass
from typing import Annotated

import tyro

from ddib_jax import distributed
from ddib_jax.distributed import Shard
from ddib_jax.options import OptionalCount, OptionalWhole


@dataclass(frozen=True)
class Hosts:
    """Which of several processes this is, where that is not found without options.

    It is found on a TPU pod (as GKE describes it), and under srun and Open MPI 4, which start one
    process a GPU.
    """

    coordinator: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT|auto|none")] = None
    """Address of the first process, the same for all; auto asks a TPU pod's own metadata."""
    processes: OptionalCount = None
    """How many processes work together."""
    process: OptionalWhole = None
    """Which of them this is, from 0."""

    def join(self, *, heed_sigterm: bool = False) -> Shard:
        """This process's shard of the work, after meeting the others.

        heed_sigterm: leave SIGTERM to `distributed.told_to_stop`, as a training does. Raises
        ValueError for options that are incomplete or wrong, and where the others cannot be met.
        """
        if self.coordinator == "auto":
            distributed.join_hosts(heed_sigterm=heed_sigterm)
        elif self.coordinator is not None:
            if self.processes is None or self.process is None:
                raise ValueError(
                    "A coordinator needs the number of processes (--processes) and which one this"
                    " is (--process)."
                )
            if not 0 <= self.process < self.processes:
                raise ValueError(
                    f"Process {self.process} of {self.processes}: they are counted from 0."
                )
            distributed.join_hosts(
                coordinator=self.coordinator,
                count=self.processes,
                index=self.process,
                heed_sigterm=heed_sigterm,
            )
        elif self.processes is not None or self.process is not None:
            raise ValueError(
                "Several processes meet at a coordinator; give --coordinator HOST:PORT."
            )
        elif _started_together():
            distributed.join_hosts(heed_sigterm=heed_sigterm)
        elif _several("OMPI_COMM_WORLD_SIZE") or _several("PMI_SIZE"):
            raise ValueError(
                "mpirun started several processes in a way that JAX cannot read; give --coordinator"
                " HOST:PORT, --processes N and --process I."
            )
        return distributed.shard()


Joined = Annotated[Hosts, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="multi-host")]
"""`Hosts` as a group of options on the command line."""


def _several(variable: str) -> bool:
    """Whether the variable of the environment counts more than one process."""
    return os.environ.get(variable, "1") not in ("", "1")


def _started_together() -> bool:
    """Whether this process was started as one of several, in a way that JAX can read."""
    slurm = _several("SLURM_STEP_NUM_TASKS")
    open_mpi = "OMPI_MCA_orte_hnp_uri" in os.environ and _several("OMPI_COMM_WORLD_SIZE")
    tpu_pod = "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")
    return slurm or open_mpi or tpu_pod

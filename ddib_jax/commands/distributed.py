"""One command on several hosts: each is started with the same options and its own number, or finds
them where it runs.
"""

import os
from dataclasses import dataclass
from typing import Annotated

import tyro

from ddib_jax import distributed
from ddib_jax.distributed import Shard


@dataclass(frozen=True)
class Hosts:
    """Which of several processes this is. Those of a TPU pod (as GKE describes it), of srun and of
    Open MPI 4 are found without options; srun and mpirun start one process a GPU.
    """

    coordinator: str | None = None
    """HOST:PORT of the first process, the same for all; auto asks a TPU pod's own metadata."""
    processes: int | None = None
    """How many processes work together."""
    process: int | None = None
    """Which of them this is, from 0."""

    def join(self, *, heed_sigterm: bool = False) -> Shard:
        """This process's shard of the work, after meeting the others; raises ValueError where they
        cannot be met.

        With `heed_sigterm`, SIGTERM is left to `distributed.told_to_stop`.
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
        elif _together():
            distributed.join_hosts(heed_sigterm=heed_sigterm)
        elif any(
            os.environ.get(name, "1") not in ("", "1")
            for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
        ):
            raise ValueError(
                "mpirun started several processes in a way that JAX cannot read; give --coordinator"
                " HOST:PORT, --processes N and --process I."
            )
        return distributed.shard()


Joined = Annotated[Hosts, tyro.conf.OmitArgPrefixes]


def _together() -> bool:
    """Whether this process was started as one of several, in a way that JAX can read."""
    slurm = os.environ.get("SLURM_STEP_NUM_TASKS", "1") not in ("", "1")
    mpi = (
        "OMPI_MCA_orte_hnp_uri" in os.environ and os.environ.get("OMPI_COMM_WORLD_SIZE", "1") != "1"
    )
    return slurm or mpi or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")

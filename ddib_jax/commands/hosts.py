"""One command on several hosts: each is started with the same options and its own number, or finds them where it runs."""

import os
from dataclasses import dataclass
from typing import Annotated

import tyro

from ddib_jax import parallel
from ddib_jax.parallel import Share

_COUNTS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")


@dataclass(frozen=True)
class Hosts:
    """Which of several processes this is. Those of a TPU pod (as GKE describes it), of srun and of mpirun are found without options."""

    coordinator: str | None = None
    """HOST:PORT of the first process, the same for all; auto asks a TPU pod's own metadata."""
    processes: int | None = None
    """How many processes work together."""
    process: int | None = None
    """Which of them this is, from 0."""

    def join(self) -> Share:
        """This process's share of the work, after meeting the others; raises ValueError where they cannot be met."""
        if self.coordinator == "auto":
            parallel.join_hosts()
        elif self.coordinator is not None:
            if self.processes is None or self.process is None:
                raise ValueError("A coordinator needs the number of processes (--processes) and which one this is (--process).")
            if not 0 <= self.process < self.processes:
                raise ValueError(f"Process {self.process} of {self.processes}: they are counted from 0.")
            parallel.join_hosts(self.coordinator, self.processes, self.process)
        elif self.processes is not None or self.process is not None:
            raise ValueError("Several processes meet at a coordinator; give --coordinator HOST:PORT.")
        elif _together():
            parallel.join_hosts()
        return parallel.share()


Joined = Annotated[Hosts, tyro.conf.OmitArgPrefixes]


def _together() -> bool:
    """Whether this process was started as one of several."""
    counted = any(os.environ.get(name, "1") not in ("", "1") for name in _COUNTS)
    return counted or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")

"""The options of one command on several hosts, and how its processes meet.

Each process is started with the same options and its own number, or finds both in its environment.
"""

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
        ValueError as `distributed.meet` does.
        """
        return distributed.meet(
            coordinator=self.coordinator,
            processes=self.processes,
            process=self.process,
            heed_sigterm=heed_sigterm,
        )


Joined = Annotated[Hosts, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="multi-host")]
"""`Hosts` as a group of options on the command line."""

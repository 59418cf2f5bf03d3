"""Compiling for accelerators that need not be here."""

import contextlib
import os
import re
from collections.abc import Iterator

import jax

_OUTSIDE_OF_A_CLOUD = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
}
"""Variables without which libtpu asks a cloud's metadata server where it is, for minutes."""


def devices_of(topology: str) -> list:
    """The devices of a TPU topology such as v5e:2x2, or of this machine for "local".

    Raises ValueError for a topology that libtpu does not know, and where libtpu is missing.
    """
    if topology == "local":
        return jax.local_devices()
    from jax.experimental import topologies

    if jax.default_backend() != "tpu":
        for name, value in _OUTSIDE_OF_A_CLOUD.items():
            os.environ.setdefault(name, value)
    try:
        description = topologies.get_topology_desc(platform="tpu", topology_name=topology)
        return list(description.devices)
    except Exception as error:  # a missing libtpu and an unknown name each have their own
        cause = str(error).splitlines()[0][:200]
        raise ValueError(
            f"The topology '{topology}' cannot be compiled for ({cause}); topologies are"
            " v5e:2x2 ... v5e:16x16, v5p:2x2x1, v6e:2x2 ..., and need libtpu: install"
            " ddib_jax[plan]."
        ) from error


@contextlib.contextmanager
def compiler_effort(value: float) -> Iterator[None]:
    """Within, what XLA spends to make a program fast and small, from -1 to 1 (0 by default)."""
    names = ("jax_exec_time_optimization_effort", "jax_memory_fitting_effort")
    before = {name: getattr(jax.config, name) for name in names}
    try:
        for name in names:
            jax.config.update(name, value)
        yield
    finally:
        for name, old in before.items():
            jax.config.update(name, old)


def shortage(error: str) -> str:
    """The sentence of XLA's error that says how much memory is used of how much.

    Without such a sentence, the first that speaks of memory, or else the first line.
    """
    for words in ("Used ", "Ran out of memory"):
        match = re.search(rf"{words}.*?(?=\.\s|$)", error, re.MULTILINE)
        if match:
            return f"{match[0].rstrip('.')}."
    return f"{error.splitlines()[0].rstrip('.')}."

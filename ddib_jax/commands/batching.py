"""How many images to take at once, found by measuring."""

import os
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from ddib_jax.bridge import Bridge

_WORTH = 1.1  # a batch twice as large must be this much faster an image
_SHARE = 0.5  # of the free memory that one evaluation may take; the solver's states need some too


def measured_batch(bridge: Bridge, count: int, *, free: int | None = None) -> int:
    """The batch, over all local devices, beyond which doubling it gains less than a tenth or would
    not fit in memory; says what it found.

    One evaluation of the network is compiled and timed at every size tried. count: of the images
    there are; free: bytes of memory, those that are free unless given. Raises MemoryError where not
    even one image fits.
    """
    devices, free = jax.local_device_count(), _free() if free is None else free
    leaves, tree = jax.tree.flatten(bridge)
    best, rate, size = 0, 0.0, 1

    @jax.jit
    def evaluated(leaves, x):
        bridge = jax.tree.unflatten(tree, leaves)
        return bridge.model.denoise(x, bridge.sigmas[0])

    while True:
        x = jnp.zeros((size, *bridge.model.data_shape))
        program = evaluated.lower(leaves, x).compile()
        needed = program.memory_analysis().temp_size_in_bytes + 2 * x.nbytes
        if needed > _SHARE * free:
            break
        jax.block_until_ready(program(leaves, x))
        clock = time.perf_counter()
        jax.block_until_ready(program(leaves, x))
        faster = size / (time.perf_counter() - clock)
        if faster < _WORTH * rate:
            break
        best, rate = size, faster
        if size * devices >= count:
            break
        size *= 2
    if best == 0:
        raise MemoryError(
            f"One image needs {needed / 1e6:.0f} MB and {free / 1e6:.0f} MB are free; take a"
            " smaller model or a larger machine."
        )
    print(f"Batches of {best * devices}: {rate * devices:.0f} evaluations a second.", flush=True)
    return best * devices


def _free() -> int:
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    known = Path("/proc/meminfo")
    lines = (
        dict(line.split(":") for line in known.read_text().splitlines()) if known.is_file() else {}
    )
    free = (
        1024 * int(lines["MemAvailable"].split()[0])
        if "MemAvailable" in lines
        else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    )
    return free // jax.local_device_count()

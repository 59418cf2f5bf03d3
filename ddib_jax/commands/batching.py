"""How many images to take at once, found by measuring."""

import os
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from ddib_jax.bridge import Bridge
from ddib_jax.roofline import temporaries

_WORTH = 1.1  # a batch twice as large must be this much faster an image
_FRACTION = 0.5  # of the free memory for one evaluation; the solver's states need some too


def measured_batch(bridge: Bridge, count: int, *, free: int | None = None) -> int:
    """The batch, over all local devices, beyond which doubling gains less than a tenth or is unfit.

    One evaluation of the network is compiled and timed at each size, doubled until it covers
    `count` images; the rate of the size chosen is printed. free: bytes of memory of a device, those
    that are free unless given. Raises MemoryError where not even one image fits.
    """
    devices, free = jax.local_device_count(), _free_memory() if free is None else free
    leaves, tree = jax.tree.flatten(bridge)
    best, best_rate, size = 0, 0.0, 1

    @jax.jit
    def evaluate(leaves, x):
        bridge = jax.tree.unflatten(tree, leaves)
        return bridge.model.denoise(x, bridge.sigmas[0])

    while True:
        x = jnp.zeros((size, *bridge.model.data_shape))
        program = evaluate.lower(leaves, x).compile()
        needed = temporaries(program) + 2 * x.nbytes
        if needed > _FRACTION * free:
            break
        jax.block_until_ready(program(leaves, x))  # the first call is not timed: it warms up
        start = time.perf_counter()
        jax.block_until_ready(program(leaves, x))
        rate = size / (time.perf_counter() - start)
        if rate < _WORTH * best_rate:
            break
        best, best_rate = size, rate
        if size * devices >= count:
            break
        size *= 2
    if best == 0:
        raise MemoryError(
            f"One image needs {needed / 1e6:.0f} MB and {free / 1e6:.0f} MB are free; take a"
            " smaller model or a larger machine."
        )
    print(
        f"Batches of {best * devices}: {best_rate * devices:.0f} evaluations a second.", flush=True
    )
    return best * devices


def _free_memory() -> int:
    """Bytes that are free for each local device: its own, or its fraction of the host's."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    # Half of all memory where the operating system does not say what is available.
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        if "MemAvailable" in lines:
            free = 1024 * int(lines["MemAvailable"].split()[0])
    return free // jax.local_device_count()

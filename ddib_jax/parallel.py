"""Devices: the only file that says pmap.

A batch is split over the local devices on its leading axis; a pytree of weights is replicated.
`data_parallel` maps training steps over the devices of all hosts, `map_batches` maps any function
over long inputs on the devices of this host.
"""

import functools
import os
import queue
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import numpy as np
from jax.errors import JaxRuntimeError

BATCH_AXIS = "batch"
"""The name of the mapped axis, over which a training step averages."""

_PATIENCE = 10
"""Seconds that a closed prefetching thread has to end."""

Item = TypeVar("Item")


@runtime_checkable
class Mapped(Protocol):
    """A function over devices, compiled when it is called, or before with `lower`."""

    def __call__(self, *args: Any) -> Any:
        """What the function returns, on every device."""
        ...

    def lower(self, *args: Any) -> jax.stages.Lowered:
        """The program for arguments of these shapes, to be compiled."""
        ...


def keep_compiled() -> None:
    """Keep compiled programs on disk from one process to the next, in the user's cache folder.

    Leaves JAX alone where JAX_COMPILATION_CACHE_DIR or the caller has chosen a folder.
    """
    config: Any = jax.config  # JAX makes its options' attributes at run time
    if config.jax_compilation_cache_dir is None:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "ddib_jax" / "xla"))


def machine() -> str:
    """This host's devices as JAX names them and its cores, for model.json and reports."""
    devices = jax.local_devices()
    kind = f"{devices[0].device_kind} ({devices[0].platform})"
    return f"{len(devices)} x {kind}, {os.cpu_count()} CPU cores"


def free_memory() -> int:
    """Bytes that are free for each local device: its own, or its fraction of the host's."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    # Half of all memory where the operating system does not say what is available.
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    meminfo = Path("/proc/meminfo")
    said = meminfo.read_text().splitlines() if meminfo.is_file() else []
    lines = dict(line.split(":") for line in said)
    if "MemAvailable" in lines:
        free = 1024 * int(lines["MemAvailable"].split()[0])
    return free // jax.local_device_count()


def replicate(tree: Any, *, devices: Sequence | None = None) -> Any:
    """A copy of every leaf on every device, the local ones by default, under a new leading axis."""
    count = len(devices or jax.local_devices())
    # Under another axis the program that takes the tree would be compiled anew for its own output.
    stacked = jax.pmap(
        lambda _, leaf: leaf, axis_name=BATCH_AXIS, in_axes=(0, None), devices=devices
    )
    return stacked(np.arange(count), tree)


def unreplicate(tree: Any) -> Any:
    """The first device's copy of a replicated tree, on the host (numpy)."""
    return jax.tree.map(lambda leaf: np.asarray(leaf[0]), tree)


def shard(tree: Any, *, devices: Sequence | None = None) -> Any:
    """Leaves [b, ...] -> [devices, b / devices, ...]; raises ValueError where b does not divide."""
    count = len(devices or jax.local_devices())
    return jax.tree.map(
        lambda leaf: np.reshape(leaf, (count, _divided(len(leaf), count), *np.shape(leaf)[1:])),
        tree,
    )


def to_devices(tree: Any) -> Any:
    """Leaves [steps, b, ...] on the host -> [devices, steps, b / devices, ...] on local devices.

    Raises ValueError where b does not divide.
    """
    devices = jax.local_devices()

    def split(leaf):
        # The axis of devices in front, each device's part in one piece, so that it is copied once.
        steps, batch, *rest = leaf.shape
        parts = leaf.reshape(steps, len(devices), _divided(batch, len(devices)), *rest)
        return np.ascontiguousarray(parts.swapaxes(0, 1))

    mesh = jax.sharding.Mesh(devices, (BATCH_AXIS,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(BATCH_AXIS))
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(sharding, split(leaf)), tree
    )


def _divided(batch: int, count: int) -> int:
    if batch % count:
        raise ValueError(
            f"A batch of {batch} does not divide over {count} devices; choose a multiple of"
            f" {count}."
        )
    return batch // count


def prefetch(items: Iterable[Item], *, size: int = 2) -> Generator[Item, None, None]:
    """Yield `items` in order while a thread prepares up to `size` of them ahead.

    An exception of the iterable is raised in its place here. Closing the iterator early ends the
    thread. Raises ValueError for a size below 1.
    """
    if size < 1:
        raise ValueError(f"Found prefetch of size {size}: expected at least 1.")
    return _prefetched(items, size)


def data_parallel(step: Callable, *, devices: Sequence | None = None) -> Mapped:
    """`step(key, state, batch, shared)` on every device of every host.

    The state is replicated and donated, the batch sharded, key and `shared` are the same
    everywhere. The step averages over the axis `BATCH_AXIS` itself.
    """
    return jax.pmap(
        step, axis_name=BATCH_AXIS, in_axes=(None, 0, 0, None), donate_argnums=1, devices=devices
    )


def mapped(fn: Callable, *, devices: Sequence | None = None) -> Mapped:
    """`fn(tree, batch)` on every device (default: local ones); tree replicated, batch sharded."""
    devices = devices or jax.local_devices()
    return jax.pmap(fn, axis_name=BATCH_AXIS, in_axes=(None, 0), devices=devices)


@functools.lru_cache(maxsize=256)
def _mapped(fn: Callable, structure: Any, devices: tuple) -> Mapped:
    """`fn` over devices, of the leaves of a tree of this structure.

    pmap compiles once for each function that it is given, so the mapped function is kept. Of
    leaves: `lower` rebuilds pytrees with placeholders, which run-time checks of types refuse.
    """
    leaves_first = lambda leaves, batch: fn(jax.tree.unflatten(structure, leaves), batch)
    return mapped(leaves_first, devices=devices)


def map_batches(
    fn: Callable,
    tree: Any,
    batch: Any,
    *,
    batch_size: int,
    at_least: bool = False,
    together: bool = False,
    apart: bool = False,
    progress: Callable = iter,
) -> Any:
    """fn(tree, batch) over a pytree of arrays [n, ...], on all local devices; host arrays [n, ...].

    Every host maps its own arrays, whatever others do. All batches have one shape, as the last is
    padded by its own first entries and cut again: one compilation, kept for as long as `fn` is the
    same function. `batch_size` is rounded up to a multiple of the device count, and where there are
    fewer arrays to that of these, unless `at_least` says that batches are never smaller: then the
    program depends on `batch_size` alone. `progress` wraps the iterator over batches (a progress
    bar). together: every device is given the whole batch, for an `fn` that shares its work among
    them by itself, over `BATCH_AXIS`, and gives all of them one result. apart: every device runs a
    program of its own, for a program over several devices may round otherwise than that of one.

    Where the compiler says that the program needs more memory than is free, batches are made
    smaller, with a warning; MemoryError where they may not be (`at_least`), and where a device has
    one array at once already. Raises ValueError for arrays that are empty or of several lengths.
    """
    lengths = sorted({len(leaf) for leaf in jax.tree.leaves(batch)})
    if len(lengths) != 1 or lengths[0] == 0:
        raise ValueError(
            f"Expected arrays of one length, at least 1; found {', '.join(map(str, lengths))}."
        )
    count, place = (1, _copies) if together else (jax.local_device_count(), shard)
    total = lengths[0]
    size = -(-(batch_size if at_least else min(batch_size, total)) // count) * count
    leaves, structure = jax.tree.flatten(tree)
    groups = [(device,) for device in jax.local_devices()] if apart else [(*jax.local_devices(),)]
    programs = [_mapped(fn, structure, devices) for devices in groups]
    results, running = [], []
    fetched = lambda answers: jax.tree.map(lambda *leaves: np.concatenate(leaves), *answers)
    size = _fitting(programs, leaves, batch, size, fixed=at_least, together=together)
    for start in progress(range(0, total, size)):
        part = jax.tree.map(functools.partial(_part, start=start, size=size), batch)
        # One batch is computed while the one before it is fetched; more would only fill the
        # devices' memory, and progress would tell of what has merely been asked for.
        pairs = zip(programs, _divided_among(programs, place(part)), strict=True)
        running, before = [program(leaves, own) for program, own in pairs], running
        if before:
            results.append(fetched(before))
    results.append(fetched(running))
    flat = lambda leaf: (leaf[:1] if together else leaf).reshape(size, *leaf.shape[2:])
    return jax.tree.map(lambda *leaves: np.concatenate([*map(flat, leaves)])[:total], *results)


def _divided_among(programs: list[Mapped], parts: Any) -> list:
    """Leaves [devices, ...], of every program those of its own devices."""
    each = len(jax.tree.leaves(parts)[0]) // len(programs)
    part = lambda start: jax.tree.map(lambda leaf: leaf[start : start + each], parts)
    return [part(each * index) for index in range(len(programs))]


def _copies(tree: Any) -> Any:
    """Leaves [b, ...] -> [devices, b, ...], one copy for each local device."""
    count = jax.local_device_count()
    return jax.tree.map(lambda leaf: np.broadcast_to(leaf, (count, *np.shape(leaf))), tree)


def _fitting(
    programs: list[Mapped], leaves: list, batch: Any, size: int, *, fixed: bool, together: bool
) -> int:
    """The size of batches [devices x n], or a smaller one whose program fits in free memory."""
    devices, place = (1, _copies) if together else (jax.local_device_count(), shard)
    said = ""
    while True:
        part = jax.tree.map(functools.partial(_part, start=0, size=size), batch)
        first = _divided_among(programs, place(part))[0]
        needed, free, each = _needed(programs[0], leaves, first), free_memory(), size // devices
        if needed <= free:
            if said:
                warnings.warn(f"{said} {each} are taken.", UserWarning, stacklevel=3)
            return size
        at_once = "One" if each == 1 else f"{each} at once"
        known = np.isfinite(needed)
        memory = f"{needed / 1e9:.3g} GB" if known else "more memory than a device has"
        short = (
            f"{at_once} would need {memory} besides the weights, and {free / 1e9:.3g} GB of a"
            " device's memory are free"
        )
        if fixed or each == 1:
            remedy = "a smaller image or model" if each == 1 else "a smaller batch (--batch-size)"
            raise MemoryError(f"{short}; take {remedy}, or a device with more memory.")
        said = said or f"{short};"
        # by the share that is free, in powers of two: what does not fit was compiled in vain
        share = min(0.5, free / needed)
        size = devices * max(1, 2 ** int(np.floor(np.log2(max(1, each * share)))))


def _needed(program: Mapped, leaves: list, part: Any) -> float:
    """Bytes of a device's memory that a placed batch needs besides its arguments, by XLA's plan.

    Infinity where the compiler finds no room, and 0 where it does not say. The program is kept: a
    call with the same shapes does not compile it again.
    """
    try:
        memory = program.lower(leaves, part).compile().memory_analysis()
    except JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return float("inf")
    if memory is None:
        return 0.0
    return float(memory.temp_size_in_bytes + memory.output_size_in_bytes)


def _part(array: Any, *, start: int, size: int) -> np.ndarray:
    part = np.asarray(array[start : start + size])
    return np.resize(part, (size, *part.shape[1:]))  # which repeats a short part until it is full


def _prefetched(items: Iterable[Item], size: int) -> Generator[Item, None, None]:
    ready: queue.Queue = queue.Queue(size)
    closed = threading.Event()

    def put(message) -> bool:
        while not closed.is_set():
            try:
                ready.put(message, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
        except BaseException as error:  # raised again by the consumer
            put((None, error))
        else:
            put(None)

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while (message := ready.get()) is not None:
            item, error = message
            if error is not None:
                raise error
            yield item
    finally:
        closed.set()
        # A thread that still talks to the devices when the process ends would crash it.
        thread.join(_PATIENCE)

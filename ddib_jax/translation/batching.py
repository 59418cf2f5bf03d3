"""How many images to take at once, found by measuring."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax import parallel
from ddib_jax.bridge import Bridge
from ddib_jax.roofline import temporaries

_WORTH = 1.1  # a batch twice as large must be this much faster an image
_FRACTION = 0.5  # of the free memory for one evaluation; the solver's states need some too


def measured_batch(bridge: Bridge, count: int, *, free: int | None = None) -> int:
    """The batch, over all local devices, beyond which doubling gains less than a tenth or is unfit.

    One evaluation of the model, with its guidance, is compiled and timed at each size, doubled
    until it covers `count` images; of a codec the memory alone counts. The rate of the size chosen
    is printed. free: bytes of memory of a device, those that are free unless given. Raises
    MemoryError where not even one image fits.
    """
    devices, free = jax.local_device_count(), parallel.free_memory() if free is None else free
    leaves, tree = jax.tree.flatten(bridge)
    best, best_rate, size, codec = 0, 0.0, 1, _codec_memory(bridge)

    @jax.jit
    def evaluate(leaves, x):
        bridge = jax.tree.unflatten(tree, leaves)
        return bridge.model.denoise(x, bridge.sigmas[0])

    while True:
        x = jnp.zeros((size, *bridge.model.data_shape))
        program = evaluate.lower(leaves, x).compile()
        needed = max(temporaries(program) + 2 * x.nbytes, size * codec)
        if needed > (free if size == 1 else _FRACTION * free):
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
            " smaller image or model, or a larger machine."
        )
    print(
        f"Batches of {best * devices}: {best_rate * devices:.0f} evaluations a second.", flush=True
    )
    return best * devices


def costlier(*bridges: Bridge) -> Bridge:
    """Of a translation's bridges the one to measure: whose model is evaluated most, as guided."""
    guidances = [bridge.model.guidance for bridge in bridges]
    evaluations = [1 if guidance is None else guidance.evaluations for guidance in guidances]
    return bridges[int(np.argmax(evaluations))]


def _codec_memory(bridge: Bridge) -> int:
    """Bytes that the model's codec needs for one image, either way; 0 where it has none."""
    model = bridge.model
    if model.codec is None:
        return 0
    leaves, tree = jax.tree.flatten(model)
    image, code = (jnp.zeros((1, *shape)) for shape in (model.image_shape, model.data_shape))
    encode = jax.jit(lambda leaves, x: jax.tree.unflatten(tree, leaves).to_data(x))
    decode = jax.jit(lambda leaves, x: jax.tree.unflatten(tree, leaves).to_image(x))
    programs = (way.lower(leaves, x).compile() for way, x in ((encode, image), (decode, code)))
    return max(map(temporaries, programs)) + 2 * image.nbytes

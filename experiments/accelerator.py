"""What this machine's accelerator does: evaluations, trainings, attention and whole translations.

    python experiments/accelerator.py                        # all parts
    python experiments/accelerator.py --parts attention

The networks are the shipped ones and those of ADM and Stable Diffusion in their published sizes,
with random weights: how fast a network is does not depend on what it learnt. `networks`: one
evaluation of the denoiser at three precisions, and the share of the chip's bfloat16 arithmetic.
`attention`: cuDNN's flash attention beside XLA's, and how far they are apart. `translations`: fives
into sevens, and codes of images of 512 pixels by Stable Diffusion 1.5's network under guidance, 50
steps each way. `trainings`: steps of the recipe of the first pair, by batch and steps a call,
and of a large network. Beside PyTorch: `beside_torch.py`. Compiling is not timed; medians of
several calls. On a CPU, or with little memory, name the models.
"""

import functools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ddib_jax
from ddib_jax import parallel, preconditioning, runs, translation
from ddib_jax.bridge import Bridge
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.guidance import ClassifierFreeGuidance
from ddib_jax.nets import attention
from ddib_jax.nets.precision import Precision
from ddib_jax.options import cli
from ddib_jax.pretrained.published import PUBLISHED
from ddib_jax.report import markdown_table
from ddib_jax.roofline import CHIPS, Cost
from ddib_jax.schedules import EDM
from ddib_jax.solvers import get_solver
from ddib_jax.trainer import Batches, Recipe
from ddib_jax.training import TrainState, train_steps
from ddib_jax.weightings import Unweighted
from study import FIRST_PAIR, RUNS, Study

PRECISIONS: tuple[Precision, ...] = ("float32", "tf32", "bfloat16")
BATCHES = {"five": 1024, "adm-64": 64, "adm-256": 16, "sd15": 8, "sdxl": 4}
"""Model -> images at once."""
SHAPES = (
    (8, 4096, 4096, 8, 40),
    (8, 1024, 1024, 8, 80),
    (8, 4096, 77, 8, 40),
    (4, 4096, 4096, 10, 64),
)
"""Batch, queries, positions, heads and width of attention in Stable Diffusion 1.5, and in XL."""


@dataclass(frozen=True)
class Config:
    """Time this machine's accelerator."""

    parts: tuple[str, ...] = ("networks", "attention", "translations", "trainings")
    models: tuple[str, ...] = tuple(BATCHES)
    """Those of `networks`."""
    count: int = 892
    """Test fives that are translated, at most 892."""
    codes: int = 4
    """Images of 512 pixels that are translated, as codes; 0 for none."""
    batches: tuple[int, ...] = (64, 512)
    """Images in a step of a training."""
    steps_per_call: tuple[int, ...] = (1, 8)
    large: str | None = "adm-256"
    """A network of which a training step is timed, too, in bfloat16."""
    large_batch: int = 16
    repeats: int = 10
    """Timed calls, of which the median counts."""
    out: Path = RUNS / "accelerator"


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    study = Study("accelerator", "What does this machine's accelerator do?", config)
    tables = {}
    for name in config.parts:
        tables[name] = PARTS[name](config)
        print(f"{name}\n\n{markdown_table(tables[name])}", flush=True)
    return study.publish(tables=tables)


def known(name: str) -> DiffusionModel:
    """A shipped model, or a network of a published size, with random weights, guided by 7.5 where
    it is told a text.
    """
    if name not in PUBLISHED:
        return ddib_jax.load(name)
    size, network = PUBLISHED[name]
    told = network.condition_spec()
    shape = (size, size, 3 if told is None else network.in_channels)
    one = lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype)
    cond = jax.tree.map(one, told)
    inputs = (
        one(jax.ShapeDtypeStruct(shape, jnp.float32)),
        jax.ShapeDtypeStruct((1,), jnp.float32),
    )
    spec = jax.eval_shape(network.init, jax.random.key(0), *inputs, cond)["params"]
    kept = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16 if told else leaf.dtype)
    text = None if told is None else drawn(told)
    null = jax.tree.map(jnp.zeros_like, text)
    return DiffusionModel(
        drawn(jax.tree.map(kept, spec), 0.02),
        preconditioning.EDM(),
        network=network,
        schedule=EDM(sigma_min=0.02),
        data_shape=shape,
        cond=text,
        guidance=None if told is None else ClassifierFreeGuidance(null, 7.5),
    )


def drawn(spec: Any, deviation: float = 1.0) -> Any:
    """Random numbers of these shapes and types, and of this deviation.

    Made on the host: of hundreds of shapes each would be a program of its own on a device.
    """
    rng, wide = np.random.default_rng(1), np.float32(deviation * 12**0.5)
    half = np.float32(0.5)
    draw = lambda leaf: wide * (rng.random(leaf.shape, np.float32) - half)
    return jax.tree.map(lambda leaf: jnp.asarray(draw(leaf), leaf.dtype), spec)


def timed(run: Callable[[], Any], repeats: int) -> float:
    """The median of the seconds of some calls after a first one, each waited for."""
    jax.block_until_ready(run())
    seconds = []
    for _ in range(repeats):
        clock = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - clock)
    return statistics.median(seconds)


def networks(config: Config) -> runs.Table:
    """An evaluation of every network at every precision."""
    chip = CHIPS.get(jax.local_devices()[0].device_kind)
    rows = []
    for name in config.models:
        model, batch = known(name), BATCHES[name]
        x, sigma = drawn(jax.ShapeDtypeStruct((batch, *model.data_shape), jnp.float32)), 1.0
        for precision in PRECISIONS:
            evaluate = jax.jit(lambda model, x, sigma: model.denoise(x, sigma))
            lowered = evaluate.lower(model.at_precision(precision), x, sigma)
            program = lowered.compile()
            cost = Cost.of(lowered, compiled=program)
            call = functools.partial(program, model.at_precision(precision), x, sigma)
            seconds = timed(call, config.repeats)
            rate = cost.flops / seconds
            rows.append(
                (
                    name,
                    sum(leaf.size for leaf in jax.tree.leaves(model.params)) / 1e6,
                    "x".join(map(str, model.data_shape)),
                    precision,
                    batch,
                    1e3 * seconds,
                    batch / seconds,
                    rate / 1e12,
                    None if chip is None else rate / chip.flops,
                    cost.memory / 2**30,
                )
            )
            print(*rows[-1], flush=True)
        del model
    columns = ("network", "parameters, M", "data", "precision", "batch", "ms an evaluation")
    columns += ("images a second", "TFLOP/s", "of the bfloat16 peak", "GiB")
    caption = (
        "One evaluation of the denoiser; of what is told a text two rows for each image, under"
        " guidance. Arithmetic as it is written and memory as the compiler plans it; the peak is"
        " that of bfloat16 whatever the precision."
    )
    return runs.Table(columns, tuple(rows), caption)


def attention_ways(config: Config) -> runs.Table:
    """Attention by XLA, and by the house's choice, at shapes of Stable Diffusion."""
    rows = []
    for shape in SHAPES:
        batch, n, m, heads, width = shape
        spec = [jax.ShapeDtypeStruct((batch, k, heads, width), jnp.bfloat16) for k in (n, m, m)]
        q, k, v = drawn(spec)
        exact = jax.jit(_plain)(*(part.astype(jnp.float32) for part in (q, k, v)))
        for name, way in (("XLA", _plain), ("ours", attention.attention)):
            for step, fn in (("forward", way), ("and back", jax.grad(_summed(way), (0, 1, 2)))):
                run = functools.partial(jax.jit(fn), q, k, v)
                answer, seconds = run(), timed(run, config.repeats)
                error = None
                if step == "forward":
                    apart = answer.astype(jnp.float32) - exact
                    error = float(jnp.linalg.norm(apart) / jnp.linalg.norm(exact))
                rows.append((*shape, name, step, 1e3 * seconds, error))
    columns = ("batch", "queries", "positions", "heads", "width", "by", "step", "ms")
    columns += ("relative error",)
    caption = "Attention of bfloat16; relative error to that of float32 by XLA"
    return runs.Table(columns, tuple(rows), caption)


def _plain(*parts: jax.Array) -> jax.Array:
    with jax.default_matmul_precision("float32"):
        return jax.nn.dot_product_attention(*parts, implementation="xla")


def _summed(way: Callable) -> Callable:
    return lambda *parts: jnp.sum(way(*parts).astype(jnp.float32) ** 2)


def translations(config: Config) -> runs.Table:
    """Whole translations, with all that is around the network's evaluations."""
    rows = []
    fives = ddib_jax.load_dataset("five", split="test").take(range(config.count))
    for name in ("dpmpp-2m", "lattice-heun"):
        for precision in PRECISIONS:
            ends = (ddib_jax.load(end).at_precision(precision) for end in FIRST_PAIR)
            here, there = (Bridge.over(end, steps=20, solver=get_solver(name)) for end in ends)
            rows.append(
                (f"five → seven, {name}, 20 steps", precision, *_across(here, there, fives))
            )
    if config.codes:
        model = known("sd15").at_precision("bfloat16")
        images = drawn(jax.ShapeDtypeStruct((config.codes, *model.data_shape), jnp.float32))
        bridge = Bridge.over(model, steps=50, solver=get_solver("ddim"))
        across = _across(bridge, bridge, np.asarray(images))
        rows.append(("sd15, 64x64x4, guided, ddim, 50 steps", "bfloat16", *across))
    columns = ("translation", "precision", "images", "seconds", "images a second")
    caption = "Encoded and decoded, from images on the host to images on the host"
    return runs.Table(columns, tuple(rows), caption)


def _across(here: Bridge, there: Bridge, images: np.ndarray) -> tuple[int, float, float]:
    def run() -> np.ndarray:
        up = translation.encode(here, images, batch_size=len(images))
        return translation.decode(there, up.y, batch_size=len(images))

    seconds = timed(run, 3)
    return len(images), seconds, len(images) / seconds


def trainings(config: Config) -> runs.Table:
    """Steps of the recipe of the first pair, and of a large network."""
    rows = []
    source = ddib_jax.load_dataset("five", split="train")
    for batch in config.batches:
        for bf16 in (False, True):
            for steps in config.steps_per_call:
                recipe = Recipe(batch_size=batch, bf16=bf16)
                model = recipe.untrained(source.image_shape, preconditioning.EDM(0.38), None)
                batches = Batches(source, batch, 0)
                data = [batches(step) for step in range(steps)]
                rows.append(("five", *trained(config, recipe, model, data)))
                print(*rows[-1], flush=True)
    if config.large:
        model, batch = known(config.large).at_precision("bfloat16"), config.large_batch
        images = np.asarray(drawn(jax.ShapeDtypeStruct((batch, *model.data_shape), jnp.float32)))
        data = [{"image": images, "index": np.arange(batch)}]
        recipe = Recipe(batch_size=batch, bf16=True)
        rows.append((config.large, *trained(config, recipe, model, data)))
    columns = ("network", "batch", "activations", "steps a call", "steps a second")
    columns += ("images a second", "TFLOP/s", "of the bfloat16 peak")
    caption = (
        "The recipe of the first pair, on their network of 2.9 M parameters (32 x 32) and on a"
        " large one; batches on the device, arithmetic as it is written."
    )
    return runs.Table(columns, tuple(rows), caption)


def trained(config: Config, recipe: Recipe, model: DiffusionModel, data: list[dict]) -> tuple:
    """The cells of a row of `trainings`: as many steps a call as there are batches."""
    tx, chip = recipe.tx(), CHIPS.get(jax.local_devices()[0].device_kind)
    step = functools.partial(
        train_steps,
        grad_fn=recipe.grad_fn(model, Unweighted(), 0),
        tx=tx,
        ema_decay=0.999,
        axis_name=parallel.BATCH_AXIS,
    )
    stacked = parallel.to_devices(jax.tree.map(lambda *leaves: np.stack(leaves), *data))
    key, state = jax.random.key(0), parallel.replicate(TrainState.create(model.params, tx))
    shared = (model.precondition, None)
    lowered = parallel.data_parallel(step).lower(key, state, stacked, shared)
    update = lowered.compile()
    # Of a loop XLA counts the body once.
    flops = Cost.of(lowered, compiled=update).flops * len(data) * jax.local_device_count()
    held = [state]
    del state

    def call() -> Any:
        held[0], metrics = update(key, held[0], stacked, shared)
        return metrics

    rate = len(data) / timed(call, config.repeats)
    share = None if chip is None else flops * rate / len(data) / chip.flops
    images = recipe.batch_size * rate
    kind = "bfloat16" if recipe.bf16 else "float32"
    return recipe.batch_size, kind, len(data), rate, images, flops * rate / len(data) / 1e12, share


PARTS: dict[str, Callable[[Config], runs.Table]] = {
    "networks": networks,
    "attention": attention_ways,
    "translations": translations,
    "trainings": trainings,
}


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

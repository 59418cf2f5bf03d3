"""What a step of FreeControl and its peers costs beside a plain guided one, before it is run.

    python experiments/editing_cost.py                        # Stable Diffusion 1.5 at 512 pixels
    python experiments/editing_cost.py --model captioned --precision float32

One evaluation of the slope of each method's rows is compiled, with classifier-free guidance of the
target and nothing else in the program, and its cost is told by the compiler: no weight is made and
nothing runs. `evaluations` counts rows of the network's batch; a gradient goes back from the layers
looked at to the state. A CPU has no 16-bit arithmetic of its own: XLA computes there in float32 and
converts, so that its temporaries are larger than an accelerator's.
"""

import dataclasses
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

import ddib_jax
from ddib_jax import preconditioning
from ddib_jax.bridge import Bridge
from ddib_jax.diffusion import DiffusionModel, probability_flow
from ddib_jax.editing import Bases, CtrlX, FreeControl, Pix2PixZero, PlugAndPlay, structure_layers
from ddib_jax.guidance import ClassifierFreeGuidance
from ddib_jax.nets.precision import Precision
from ddib_jax.options import Count, cli
from ddib_jax.pretrained.single_file import FAMILIES
from ddib_jax.report import markdown_table
from ddib_jax.roofline import Cost
from ddib_jax.runs import Table
from ddib_jax.schedules import EDM

KNOWN = {"sd15": "Stable Diffusion 1", "sdxl": "Stable Diffusion XL"}
"""Name -> family, of published sizes."""
COMPONENTS = 64
"""Directions of the bases, as in the published code."""


@dataclass(frozen=True)
class Config:
    """Compile steps, and print what they cost."""

    model: str = "sd15"
    """A network of a published size (sd15, sdxl), or a model that is told a text."""
    methods: tuple[str, ...] = ("guided", "freecontrol", "freecontrol structure", "ctrl-x")
    batch: Count = 1
    """Images."""
    precision: Precision = "bfloat16"
    """That of the network and of its weights; tf32 is for GPUs."""
    remat: tuple[bool, ...] = (False, True)
    """Whether blocks are computed anew on the way back."""


def main(config: Config) -> Table:
    """Compile one after the other; returns the table that it prints."""
    rows = []
    for method in config.methods:
        evaluations, rows_of_state, slope = METHODS[method]
        for remat in config.remat:
            if method == "guided" and remat:
                continue  # there is no way back
            model = shapes(config, remat=remat)
            began = time.monotonic()
            cost = compiled(model, slope, rows_of_state, config.batch)
            seconds = time.monotonic() - began
            remade = "yes" if remat else "no"
            row = (method, remade, evaluations, cost.flops / 1e12, round(cost.traffic / 1e9))
            rows.append((*row, cost.arguments / 2**30, cost.temporary / 2**30, round(seconds)))
            print(*rows[-1], flush=True)
            gc.collect()
    table = Table(
        (
            "step",
            "rematerialised",
            "evaluations",
            "TFLOP",
            "traffic, GB",
            "arguments, GiB",
            "temporaries, GiB",
            "compiled in, s",
        ),
        tuple(rows),
    )
    print(markdown_table(table))
    return table


def shapes(config: Config, *, remat: bool) -> DiffusionModel:
    """The guided model, of arrays that have a shape and no numbers."""
    emptied = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    if config.model in KNOWN:
        family = FAMILIES[KNOWN[config.model]]
        network: Any = family.unet
        shape = (family.sample_size, family.sample_size, network.in_channels)
        precondition, schedule = preconditioning.EDM(), EDM(sigma_min=0.02)
        one = lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype)
        inputs = (
            one(jax.ShapeDtypeStruct(shape, jnp.float32)),
            jax.ShapeDtypeStruct((1,), jnp.float32),
            jax.tree.map(one, network.condition_spec()),
        )
        params = jax.eval_shape(network.init, jax.random.key(0), *inputs)["params"]
    else:
        loaded = ddib_jax.load(config.model)
        network, shape, params = loaded.network, loaded.data_shape, loaded.params
        precondition, schedule = loaded.precondition, loaded.schedule
    network = network.clone(remat=remat)
    told = network.condition_spec()
    dtype = jnp.bfloat16 if config.precision == "bfloat16" else jnp.float32
    params = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), params)
    return DiffusionModel(
        params,
        jax.tree.map(emptied, precondition),
        cond=told,
        guidance=ClassifierFreeGuidance(told, jax.ShapeDtypeStruct((), jnp.float32)),
        network=network,
        schedule=schedule,
        data_shape=shape,
        precision=config.precision,
    )


def compiled(model: DiffusionModel, slope: Callable, rows: int, batch: int) -> Cost:
    """The cost of one evaluation of a slope [b rows ...]."""
    state = jax.ShapeDtypeStruct((batch, rows, *model.data_shape), jnp.float32)
    sigma = jax.ShapeDtypeStruct((), jnp.float32)
    return Cost.of(jax.jit(slope).lower(model, bases_of(model), sigma, state))


def bases_of(model: DiffusionModel) -> Bases:
    """Bases of the keys of the model's structure, of one noise level, without numbers."""
    found: list[Any] = []
    jax.eval_shape(lambda model: found.extend(structure_layers(model)) or 0, model)
    each = lambda *shape: tuple(
        jnp.zeros((1, *(layer.channels if n is None else n for n in shape))) for layer in found
    )
    sites = tuple(f"{layer.name}.key" for layer in found)
    return jax.eval_shape(
        lambda: Bases(sites, jnp.ones(1), each(None), each(None, COMPONENTS), each(COMPONENTS))
    )


def plain(model: DiffusionModel, bases: Bases, sigma: Array, rows: Array) -> Array:
    """One guided row."""
    return probability_flow(model)(sigma, rows[:, 0])


def coupled(make: Callable) -> Callable:
    """The slope of a coupling of the model, unguided as a source, with itself."""

    def slope(model: DiffusionModel, bases: Bases, sigma: Array, rows: Array) -> Array:
        return make(model, bases).field(model.guided(None), model)(sigma, rows)

    return slope


def ctrl_x(model: DiffusionModel, bases: Bases, sigma: Array, rows: Array) -> Array:
    """As from an image that is any of the rows."""
    method = CtrlX.of(model.guided(None), Bridge(model, jnp.ones(2)))
    keys = jax.random.split(jax.random.key(0), len(rows))
    coupling, _ = method.coupled(keys, rows[:, 0])
    return coupling.field(method.source, model)(sigma, rows)


METHODS: dict[str, tuple[str, int, Callable]] = {
    "guided": ("2", 1, plain),
    "freecontrol": ("5, 1 with a gradient", 3, coupled(FreeControl.of)),
    "freecontrol structure": (
        "3, 1 with a gradient",
        2,
        coupled(
            lambda model, bases: dataclasses.replace(FreeControl.of(model, bases), appearance=None)
        ),
    ),
    "ctrl-x": ("5", 2, ctrl_x),
    "pnp": ("3", 2, coupled(lambda model, _: PlugAndPlay.of(model))),
    "pix2pix-zero": ("3, 1 with a gradient", 2, coupled(lambda model, _: Pix2PixZero.of(model))),
}
"""Name -> evaluations of the network's rows, rows of the state, slope."""


if __name__ == "__main__":
    main(cli(Config))

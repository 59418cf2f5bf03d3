"""What precision.py measures: models at a precision, and what a lattice's ways back lose."""

import dataclasses
import time
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import ddib_jax
from ddib_jax import translation
from ddib_jax.bridge import Bridge
from ddib_jax.data import draw_points
from ddib_jax.data.png import to_bytes
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.metrics import pooled_relative_rmse
from ddib_jax.nets.layers import Attending
from ddib_jax.pretrained import conditioned
from ddib_jax.solvers import LatticeHeun, get_solver
from study import FIRST_PAIR


@dataclass(frozen=True)
class TF32:
    """A network whose products have factors of 10 bits, as a GPU's tensor cores round them."""

    network: nn.Module

    def init(self, *inputs):
        """As the network's."""
        return self.network.init(*inputs)

    def condition_spec(self):
        """As the network's."""
        return self.network.condition_spec()

    def apply(self, variables, *inputs, **options):
        """As the network's, of rounded kernels, inputs of layers, queries, keys and values."""
        rounded = lambda x: jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=10)

        def round_factors(layer, args, kwargs, context):
            products = isinstance(context.module, nn.Conv | nn.Dense)
            if (products and context.method_name == "__call__") or (
                isinstance(context.module, Attending) and context.method_name == "attend"
            ):
                args = tuple(map(rounded, args))
            return layer(*args, **kwargs)

        kernels = jax.tree.map(lambda leaf: rounded(leaf) if leaf.ndim > 1 else leaf, variables)
        with nn.intercept_methods(round_factors):
            return self.network.apply(kernels, *inputs, **options)


def at(model: DiffusionModel, precision: str) -> DiffusionModel:
    """The model at a precision; TF32 is emulated on everything but a GPU."""
    if precision != "tf32" or jax.default_backend() == "gpu":
        return model.at_precision(precision)
    return model.at_precision("float32").replace(network=TF32(model.network))


def fives(count: int) -> np.ndarray:
    return ddib_jax.load_dataset("five", split="test").take(range(count))


def closed(bridge: Bridge, end: Any) -> np.ndarray:
    """Which pairs at the end of a way back are such as a run begins with."""
    return np.asarray(cast(LatticeHeun, bridge.solver).is_start(end.aux.value))


def on_lattice(solver: LatticeHeun, images: np.ndarray, sigma: Any) -> np.ndarray:
    """The images as a lattice holds them at the lowest noise level, sigma."""
    return np.asarray(solver.state(solver.pair(jnp.asarray(images), sigma), sigma))


def lost(name: str, precision: str, steps: int, images: np.ndarray) -> list:
    here, there = (
        Bridge.over(at(ddib_jax.load(end), precision), steps=steps, solver=get_solver(name))
        for end in FIRST_PAIR
    )
    up = translation.encode(here, images, batch_size=len(images))
    start = time.perf_counter()
    back = translation.decode(here, up.y, aux=up.aux)  # by the program that `encode` compiled
    seconds = (time.perf_counter() - start) / len(images)
    home = around(here, there, up.aux)
    # What the lattice holds of them: floats at the edge between two of 8 bits may be moved across.
    held = to_bytes(on_lattice(cast(LatticeHeun, here.solver), images, here.sigmas[0]))
    others = lambda found: int((to_bytes(found) != held).sum())
    counts = (others(back), others(home.y), int(closed(here, home).sum()))
    return [name, precision, steps, len(images), images.size, *counts, seconds]


def around(here: Bridge, there: Bridge, aux: Any, **conds: Any) -> Any:
    """Pairs at the latent's end, down the other model and up again, and down their own."""
    down = translation.hand_on(there, aux, rising=False, cond=conds.get("there"))
    up = translation.hand_on(there, down.aux, rising=True, cond=conds.get("there"))
    return translation.hand_on(here, up.aux, rising=False, cond=conds.get("here"))


def plane(source: str, target: str, precision: str) -> list:
    points = draw_points(source, 1024, np.random.default_rng(0))[0]
    here, there = (
        Bridge.over(
            at(ddib_jax.load(name), precision), steps=100, solver=get_solver("lattice-heun")
        )
        for name in (source, target)
    )
    up = translation.encode(here, points, batch_size=1024)
    back = translation.hand_on(here, up.aux, rising=False)
    home = around(here, there, up.aux)
    return [f"{source} → {target}", precision, 100, len(points), *_open(here, back, home)]


def digits(count: int, precision: str) -> list:
    checkpoint = ddib_jax.pretrained.open("digits")
    images = ddib_jax.load_dataset("five", split="test").take(range(count))
    here, there = (
        Bridge.over(
            at(conditioned(checkpoint, label=label, guidance=2.0), precision),
            steps=40,
            solver=get_solver("lattice-heun"),
        )
        for label in ("5", "7")
    )
    images = images[..., : here.model.image_shape[-1]]
    up = translation.encode(here, images)
    back = translation.hand_on(here, up.aux, rising=False)
    home = around(here, there, up.aux)
    return ["digits, 5 → 7, guidance 2", precision, 40, len(images), *_open(here, back, home)]


def _open(here: Bridge, *ends: Any) -> list[int]:
    return [int((~closed(here, end)).sum()) for end in ends]


def parted(count: int, name: str, steps: int, latent: np.ndarray) -> list:
    here = Bridge.over(ddib_jax.load(FIRST_PAIR[0]), steps=steps, solver=get_solver(name))
    up = translation.encode(here, fives(count))
    pairs = up.aux.value.astype(np.float64)
    solver = cast(LatticeHeun, here.solver)
    scale = 2.0 ** (solver.bits or 0) / (float(here.sigmas[-1]) if solver.exponential else 1)
    y, z = pairs[:, 0] / 2 / scale, pairs[:, 1] / scale
    apart = float(np.sqrt(np.mean((y - z) ** 2))) / float(here.scale)
    largest = float(np.abs(up.y).max() * here.scale)
    return [name, steps, pooled_relative_rmse(y, latent), apart, largest]


def elsewhere(count: int, precision: str, batch: int) -> list:
    images = fives(count)
    model = at(ddib_jax.load(FIRST_PAIR[0]), precision)
    here = Bridge.over(model, steps=40, solver=get_solver("lattice-heun"))
    up = translation.encode(here, images, batch_size=count)
    back = translation.hand_on(here, dataclasses.replace(up.aux, batch=batch), rising=False)
    values = int((to_bytes(back.y) != to_bytes(images)).sum())
    error = pooled_relative_rmse(back.y, images)
    return [precision, count, batch, count, *_open(here, back), error, values]

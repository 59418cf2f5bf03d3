"""What a number of devices computes, in a process of its own: `python -m tests.on_devices FILE`."""

import sys
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from ddib_jax import Bridge, parallel, schedules, translation
from ddib_jax.diffusion import DiffusionModel, denoising_loss
from ddib_jax.noise_levels import LogNormal
from ddib_jax.preconditioning import Wiener
from ddib_jax.training import TrainState, adamw, fit, gradients

IMAGES = np.clip(np.random.default_rng(5).normal(size=(64, 8, 8, 3)), -1, 1).astype(np.float32)


class Tiny(nn.Module):
    """Two convolutions and a word of the time."""

    def condition_spec(self):
        return None

    @nn.compact
    def __call__(self, x, time, cond=None, *, train=False):
        h = nn.Conv(8, (3, 3))(x)
        return nn.Conv(3, (3, 3))(jnp.tanh(h + nn.Dense(8)(time[:, None])[:, None, None]))


def trained(steps: int, batch_size: int) -> TrainState:
    statistics, network = Wiener.fit(IMAGES, rank=4), Tiny()
    params = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 8, 8, 6)), jnp.zeros(1))[
        "params"
    ]
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(0.2 * rng.normal(size=leaf.shape), leaf.dtype), params
    )
    model = DiffusionModel(
        params, statistics, network=network, schedule=schedules.EDM(), data_shape=(8, 8, 3)
    )
    tx = adamw(1e-2, steps, warmup=1, weight_decay=0.01, clip_norm=0.1)

    def loss(params, key, batch, shared):
        learner = model.replace(params=params, precondition=shared)
        return denoising_loss(
            key, learner, batch["image"], LogNormal(), index=batch["index"], train=True
        )

    def batch_at(step):
        return {"image": np.roll(IMAGES, step, axis=0)[:batch_size], "index": np.arange(batch_size)}

    state = TrainState.create(params, tx)
    return fit(
        jax.random.key(1),
        state,
        map(batch_at, range(steps)),
        grad_fn=gradients(loss),
        tx=tx,
        steps=steps,
        shared=statistics,
    )


def translated(matrix, batch):
    image = batch["image"]
    return {
        "image": jnp.tanh(image @ matrix) * batch["scale"][:, None, None, None],
        "sum": image.sum((1, 2, 3)),
    }


def large_pictures(shape: tuple[int, ...], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Latents of pictures in windows, and the images that they are decoded to."""
    statistics, network = Wiener.fit(IMAGES, rank=4), Tiny()
    params = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 6)), jnp.zeros(1))
    model = DiffusionModel(
        params["params"],
        statistics,
        network=network,
        schedule=schedules.EDM(0.1, 5.0),
        data_shape=(8, 8, 3),
    )
    bridge = translation.tiled(Bridge.over(model, steps=3), *shape)
    images = np.random.default_rng(1).uniform(-1, 1, (count, *shape, 3)).astype(np.float32)
    latents = translation.encode(bridge, images).y
    return latents, translation.decode(bridge, latents)


def main(file: str) -> None:
    matrix, scale = (
        np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32),
        np.arange(13, dtype=np.float32),
    )
    mapped = parallel.map_batches(
        translated, matrix, {"image": IMAGES[:13], "scale": scale}, batch_size=6
    )
    together, shared = [], parallel.map_batches
    with patch.object(
        parallel,
        "map_batches",
        lambda *args, **named: together.append(named["together"]) or shared(*args, **named),
    ):
        large = {"one": large_pictures((20, 12), 1), "nine": large_pictures((9, 8), 9)}
    results = {"devices": jax.local_device_count(), "trained": trained(5, 16), "mapped": mapped}
    results |= {"large": large, "together": np.asarray(together)}
    try:
        trained(1, 12)
    except ValueError as error:
        print(error)
    np.savez(
        file,
        **{jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(results)},
    )


if __name__ == "__main__":
    main(sys.argv[1])

"""Samples of a model that is being trained, as one picture, from the same noise every time."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax.bridge import Bridge
from ddib_jax.data.png import write_grid
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.report.clouds import cloud_figure
from ddib_jax.types import Cond


def preview(model: DiffusionModel, path: Path, *, conds: Cond = None) -> Path:
    """Write a grid of 32 sampled images, or a scatter plot of 4,096 points; returns `path`.

    conds: conditions [m ...], of which the samples have each in turn. By the default solver in 36
    steps.
    """
    points = len(model.data_shape) == 1
    noise = jax.random.normal(jax.random.key(0), (4096 if points else 32, *model.data_shape))
    if conds is not None:
        model = model.given(
            jax.tree.map(lambda leaf: leaf[jnp.arange(len(noise)) % len(leaf)], conds)
        )
    samples = np.asarray(_sample(Bridge.over(model, steps=36), noise))
    if not points:
        return write_grid(path, samples)
    cloud_figure([{"samples": (samples[:, -2:], None)}], path)
    return path


@jax.jit
def _sample(bridge: Bridge, latent):
    return bridge.sample(latent)

"""A network of every kind of layer that hooks have to do with, quickly compiled."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from ddib_jax.nets.adm_blocks import AttentionBlock

COMPILED_QUICKLY = {"xla_backend_optimization_level": 0}
"""Options of a program that runs once, on little: compiling it is what takes time."""

X, TIME = jax.random.normal(jax.random.key(1), (2, 4, 4, 3)), jnp.asarray([0.3, 2.0])


def filled(network, *inputs):
    """Variables of a network, no layer of which is zero."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), *inputs)
    rng = np.random.default_rng(0)
    fill = lambda leaf: jnp.asarray(0.2 * rng.normal(size=leaf.shape), leaf.dtype)
    return jax.tree.map(fill, shapes)


class Small(nn.Module):
    """Images [b h w 3], times [b] and labels [b] or None -> [b h w 3]."""

    remat: bool = False
    labelled: bool = False

    def condition_spec(self):
        return jax.ShapeDtypeStruct((), jnp.int32) if self.labelled else None

    @nn.compact
    def __call__(self, x, time, cond=None):
        h = nn.Dense(32, name="in")(x) + nn.Dense(32, name="time")(time[:, None])[:, None, None]
        if cond is not None:
            h += nn.Embed(3, 32, name="label")(cond)[:, None, None]
        block = nn.remat(AttentionBlock) if self.remat else AttentionBlock
        h = block(2, name="middle")(h)
        return nn.Dense(3, name="out")(h)


SMALL = Small()
VARIABLES = filled(SMALL, X, TIME)

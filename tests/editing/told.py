"""A small model that is told texts, and prompts without a tokenizer."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax import preconditioning
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets import UNet2DCondition
from ddib_jax.schedules import EDM
from ddib_jax.text import Span, Tokens
from tests.nets.small import filled

LENGTH, SHAPE = 6, (8, 8, 3)
OPTIONS = {
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "in_channels": 3,
    "out_channels": 3,
    "norm_num_groups": 4,
    "attention_head_dim": 2,
    "cross_attention_dim": 8,
    "text_length": LENGTH,
}
PLACES = {
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
}


def text(seed):
    """A condition of the model, of random tokens."""
    return {"text": 2 * jax.random.normal(jax.random.key(seed), (LENGTH, 8))}


def told_model(**options):
    """A model of random weights under a text."""
    network = UNet2DCondition(**OPTIONS | options)
    inputs = (jnp.zeros((1, *SHAPE)), jnp.zeros(1), {"text": jnp.zeros((1, LENGTH, 8))})
    params = filled(network, *inputs)["params"]
    settings = {"network": network, "schedule": EDM(), "data_shape": SHAPE}
    model = DiffusionModel(params, preconditioning.EDM(), text(0), **settings)
    return replace(model, params=jax.tree.map(jnp.asarray, params))


def sharp(model):
    """The model with attention that is far from even, as random weights alone do not make it."""
    scale = lambda path, leaf: leaf * (12 if "to_q" in jax.tree_util.keystr(path) else 1)
    return replace(model, params=jax.tree_util.tree_map_with_path(scale, model.params))


def states(seed, *shape):
    """Noisy data."""
    return 2 * jax.random.normal(jax.random.key(seed), (*shape, *SHAPE))


def prompt(words, *, length=LENGTH, sizes=None):
    """The tokens of words; sizes: word -> of how many tokens it is, unless of one."""
    ids, spans = np.zeros(length, np.int32), []
    ids[0], stop = 1, 1
    for word in words.split():
        start, stop = stop, stop + (sizes or {}).get(word, 1)
        numbers = itertools.count(sum(word.encode()) * 10 + 10)
        ids[start:stop] = [next(numbers) for _ in range(start, stop)]
        spans.append(Span(word, start, stop))
    ids[stop] = 2
    return Tokens(ids, tuple(spans))

"""Autoencoders: what they refuse, 16 bits, and the gradient through a codebook."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.nets import AutoencoderKL, VQModel
from tests.nets.small import COMPILED_QUICKLY, filled

SMALL = {
    "block_out_channels": (4, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "norm_num_groups": 2,
}
X = jax.random.normal(jax.random.key(1), (2, 4, 6, 3))


@pytest.mark.parametrize("kind", [AutoencoderKL, VQModel])
def test_what_is_not_supported_is_named(kind):
    for options, words in (
        ({"down_block_types": ("AttnDownEncoderBlock2D",) * 2}, "down_block_types = "),
        ({"up_block_types": ("UpDecoderBlock2D",)}, "of 2 levels has as many UpDecoderBlock2D"),
        ({"act_fn": "tanh"}, "act_fn = 'tanh' of diffusers is not supported; known are silu"),
    ):
        network = kind(**SMALL | options)
        with pytest.raises(ValueError, match=words):
            jax.eval_shape(network.init, jax.random.key(0), X)
    network = kind(**SMALL)
    assert network.factor == 2
    with pytest.raises(ValueError, match="divisible by 2; the images are 4 x 5"):
        jax.eval_shape(network.init, jax.random.key(0), X[:, :, :5])


def test_a_variance_is_clipped():
    network = AutoencoderKL(**SMALL)
    variables = filled(network, X)
    bias = variables["params"]["quant_conv"]["bias"]
    variables["params"]["quant_conv"]["bias"] = bias.at[4:].set(jnp.asarray([-1e3, 1e3, 0, 0]))
    moments = jax.jit(functools.partial(network.apply, method="moments"))
    _, found = moments(variables, X)
    np.testing.assert_array_equal(found[..., 0], -30)
    np.testing.assert_array_equal(found[..., 1], 20)
    assert len(np.unique(found[..., 2])) > 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", [AutoencoderKL, VQModel])
def test_sixteen_bits(kind):
    variables = filled(kind(**SMALL), X)
    run = functools.partial(jax.jit, compiler_options=COMPILED_QUICKLY)
    expected = run(kind(**SMALL).apply)(variables, X)
    short = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), variables)
    found = run(kind(**SMALL, dtype="bfloat16").apply)(short, X)
    assert found.dtype == jnp.bfloat16
    error = jnp.abs(found.astype(jnp.float32) - expected)
    # A code that is as near to two entries of the book may take the other one.
    assert float(jnp.median(error)) < 0.05 * float(jnp.abs(expected).max())


def test_a_gradient_passes_the_codebook():
    network = VQModel(**SMALL)
    variables, code = filled(network, X), jnp.full((1, 2, 2, 3), 0.3)
    energy = lambda code: jnp.sum(network.apply(variables, code, method="decode") ** 2)
    slope = jax.jit(jax.grad(energy), compiler_options=COMPILED_QUICKLY)(code)
    assert float(jnp.abs(slope).max()) > 1e-4

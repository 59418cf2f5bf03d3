"""The U-Net's options; its numbers are compared with the reference's in tests/parity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from ddib_jax.nets import DigitClassifier, UNet
from ddib_jax.nets.adm_blocks import AttentionBlock, ResBlock
from ddib_jax.nets.layers import depth_to_space, space_to_depth, timestep_embedding

pytestmark = pytest.mark.slow

SMALL = {"model_channels": 32, "channel_mult": (1, 1), "attention_resolutions": (4,)}


def build(x, cond=None, **options):
    network = UNet(**(SMALL | options))
    params = jax.jit(network.init)(jax.random.key(0), x, jnp.ones(len(x)), cond)["params"]
    # Layers that begin at zero would hide everything before them.
    fill = lambda leaf: jnp.where(leaf == 0, 0.01, leaf)
    return network, jax.tree.map(fill, params)


def test_space_to_depth_and_back():
    x = jnp.arange(2 * 8 * 8 * 3, dtype=jnp.float32).reshape(2, 8, 8, 3)
    deep = space_to_depth(x, 2)
    assert deep.shape == (2, 4, 4, 12)
    np.testing.assert_array_equal(deep[0, 1, 2], x[0, 2:4, 4:6].ravel())
    np.testing.assert_array_equal(depth_to_space(deep, 2), x)


def test_embedding_is_that_of_the_reference():
    embedding = timestep_embedding(jnp.asarray([0.0, 10.0]), 8)
    np.testing.assert_allclose(embedding[0], [1, 1, 1, 1, 0, 0, 0, 0])
    np.testing.assert_allclose(
        embedding[1],
        [*np.cos(10 * 10.0 ** -np.arange(4)), *np.sin(10 * 10.0 ** -np.arange(4))],
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("options", "channels"),
    [
        ({"learn_sigma": True}, 6),
        ({"patch_size": 2, "out_channels": 1}, 1),
        ({"num_head_channels": 16}, 3),
    ],
)
def test_output_shapes(options, channels):
    x = jnp.ones((2, 8, 8, 3))
    network, params = build(x, **options)
    assert network.apply({"params": params}, x, jnp.ones(2)).shape == (2, 8, 8, channels)


@pytest.mark.parametrize("block", [ResBlock, AttentionBlock])
def test_as_many_groups_as_channels_do_not_see_how_large_a_channel_is(block):
    """And fewer do: of two channels in a group, the share of each is left."""
    x = jax.random.normal(jax.random.key(1), (1, 4, 4, 32))
    louder = x.at[..., 3].multiply(5.0)
    arguments = (jnp.ones((1, 8)),) if block is ResBlock else ()
    change = {}
    for groups in (32, 16, 1):
        network = block(32, groups=groups) if block is ResBlock else block(1, groups=groups)
        params = network.init(jax.random.key(0), x, *arguments)
        filled = jax.tree.map(lambda leaf: jnp.where(leaf == 0, 0.1, leaf), params)
        inner = lambda x, network=network, filled=filled: (
            network.apply(filled, x, *arguments) - x  # without the residual
        )
        change[groups] = float(jnp.abs(inner(louder) - inner(x)).max())
    assert change[32] < 1e-4
    assert min(change[16], change[1]) > 0.1


def test_groups_are_those_of_every_norm_and_change_no_parameter():
    x = jax.random.normal(jax.random.key(1), (1, 8, 8, 3))
    usual, params = build(x)
    outputs = []
    for groups in (32, 8):
        network, own = build(x, norm_num_groups=groups)
        assert jax.tree.map(jnp.shape, own) == jax.tree.map(jnp.shape, params)
        norms = []

        def noted(call, args, kwargs, context, norms=norms):
            if isinstance(context.module, nn.GroupNorm):
                norms.append(context.module.num_groups)
            return call(*args, **kwargs)

        with nn.intercept_methods(noted):
            outputs.append(network.apply({"params": params}, x, jnp.ones(1)))
        assert set(norms) == {groups}
    np.testing.assert_array_equal(outputs[0], usual.apply({"params": params}, x, jnp.ones(1)))
    assert jnp.abs(outputs[0] - outputs[1]).max() > 1e-3


def test_bfloat16_computes_in_half_and_keeps_float32_parameters():
    x = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    full, params = build(x)
    half, half_params = build(x, dtype="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(half_params)} == {jnp.dtype("float32")}
    output = half.apply({"params": params}, x, jnp.ones(2))
    assert output.dtype == jnp.bfloat16
    expected = full.apply({"params": params}, x, jnp.ones(2))
    assert float(jnp.abs(output - expected).max() / jnp.abs(expected).max()) < 0.05


def test_labels_matter_and_are_asked_for():
    x = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    network, params = build(x, jnp.asarray([0, 1]), num_classes=4)
    outputs = [
        network.apply({"params": params}, x, jnp.ones(2), jnp.asarray(labels))
        for labels in ([0, 1], [3, 1])
    ]
    assert float(jnp.abs(outputs[0][0] - outputs[1][0]).max()) > 1e-6
    np.testing.assert_allclose(outputs[0][1], outputs[1][1], atol=1e-6)
    with pytest.raises(ValueError, match="has 4 classes and no labels were given"):
        network.apply({"params": params}, x, jnp.ones(2))
    with pytest.raises(ValueError, match="has no classes and labels were given"):
        build(x, jnp.asarray([0, 1]))


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="divisible by 4; the images are 10 x 8"):
        build(jnp.ones((1, 10, 8, 3)), patch_size=2)


def test_dropout_acts_in_training_alone():
    x = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    network, params = build(x, dropout=0.5)
    run = lambda **options: network.apply({"params": params}, x, jnp.ones(2), **options)
    np.testing.assert_array_equal(run(), run())
    keys = [{"dropout": jax.random.key(seed)} for seed in (0, 1)]
    one, other = (run(train=True, rngs=key) for key in keys)
    assert float(jnp.abs(one - other).max()) > 1e-6


def test_the_classifier_is_blind_to_colour():
    x = jax.random.uniform(jax.random.key(0), (2, 32, 32, 1), minval=-1.0)
    network = DigitClassifier()
    params = jax.jit(network.init)(jax.random.key(0), x)["params"]
    black = -jnp.ones_like(x)
    red, grey = jnp.concatenate([x, black, black], -1), jnp.concatenate([x, x, x], -1)
    outputs = (network.apply({"params": params}, image) for image in (red, grey))
    for of_red, of_grey in zip(*outputs, strict=True):
        np.testing.assert_array_equal(of_red, of_grey)
    assert network.apply({"params": params}, x)[0].shape == (2, 10)

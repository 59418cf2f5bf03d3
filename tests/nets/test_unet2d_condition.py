"""The U-Net of Stable Diffusion: what it is told, what it refuses, how it saves memory and bits."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.nets import MLP, UNet2DCondition, example_condition, rematerialised
from tests.nets.small import COMPILED_QUICKLY, filled

SMALL = {
    "block_out_channels": (8, 8),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 2,
    "attention_head_dim": 2,
    "cross_attention_dim": 6,
    "text_length": 5,
}
TOLD_SIZES = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 27,
}
ONE_LEVEL = SMALL | {
    "block_out_channels": (8,),
    "down_block_types": ("CrossAttnDownBlock2D",),
    "up_block_types": ("CrossAttnUpBlock2D",),
}
X, TIME = jax.random.normal(jax.random.key(1), (2, 4, 6, 4)), jnp.asarray([3.0, 700.0])
TEXT = {"text": jax.random.normal(jax.random.key(2), (2, 5, 6))}


compiled = functools.partial(jax.jit, compiler_options=COMPILED_QUICKLY)


@functools.cache
def variables():
    return filled(UNet2DCondition(**ONE_LEVEL), X, TIME, TEXT)


def test_what_it_is_told():
    shapes = lambda **options: {
        name: leaf.shape
        for name, leaf in UNet2DCondition(**SMALL | options).condition_spec().items()
    }
    assert shapes() == {"text": (5, 6)}
    assert shapes(**TOLD_SIZES) == {"text": (5, 6), "pooled": (3,), "time_ids": (6,)}
    assert UNet2DCondition().condition_spec()["text"].shape == (77, 1280)
    for wrong in ({"addition_time_embed_dim": None}, {"addition_time_embed_dim": 5}):
        with pytest.raises(ValueError, match="needs an addition_time_embed_dim and more than 6"):
            shapes(**TOLD_SIZES | wrong)


@pytest.mark.slow
def test_a_text_and_sizes_count():
    """Every leaf of the condition, and every token of a text of any length, has a say."""
    network = UNet2DCondition(**SMALL | TOLD_SIZES)
    cond = jax.tree.map(lambda leaf: leaf + 0.5, example_condition(network))
    weights = filled(network, X[:1], TIME[:1], cond)
    apply = compiled(lambda cond: network.apply(weights, X[:1], TIME[:1], cond))
    plain = apply(cond)
    others = {name: leaf.at[..., -1].add(1.0) for name, leaf in cond.items()}
    for name, leaf in others.items():
        assert float(jnp.abs(apply(cond | {name: leaf}) - plain).max()) > 1e-3, name
    longer = jnp.concatenate([cond["text"], cond["text"]], axis=1)
    np.testing.assert_allclose(apply(cond | {"text": longer}), plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"class_embed_type": "timestep"}, "class_embed_type = 'timestep' of diffusers is not"),
        ({"encoder_hid_dim": 4}, "encoder_hid_dim = 4 of diffusers is not supported"),
        ({"time_cond_proj_dim": 8}, "time_cond_proj_dim = 8"),
        ({"attention_type": "gated"}, "attention_type = 'gated' .* known are default"),
        ({"only_cross_attention": True}, "only_cross_attention = True"),
        ({"conv_in_kernel": 1}, "conv_in_kernel = 1"),
        ({"addition_embed_type": "image"}, "addition_embed_type = 'image' .* None, text_time"),
        ({"mid_block_type": None}, "mid_block_type = None"),
        ({"act_fn": "tanh"}, "act_fn = 'tanh'"),
        ({"resnet_time_scale_shift": "spatial"}, "resnet_time_scale_shift = 'spatial'"),
        (
            {"down_block_types": ("DownBlock2D", "SimpleCrossAttnDownBlock2D")},
            r"down_block_types\[1\] = 'SimpleCrossAttnDownBlock2D'",
        ),
        ({"up_block_types": ("UpBlock2D",)}, "up_block_types are 1 and block_out_channels 2"),
        ({"attention_head_dim": (2, 2, 2)}, r"attention_head_dim = \(2, 2, 2\).*has 2 levels"),
        ({"num_attention_heads": (2,)}, r"num_attention_heads = \(2,\).*has 2 levels"),
        ({"transformer_layers_per_block": ((1,), (1,))}, "transformer_layers_per_block = "),
        ({"block_out_channels": (8, 8, 8)}, "down_block_types are 2 and block_out_channels 3"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_options_that_are_not_supported_are_named(options, words):
    network = UNet2DCondition(**SMALL | options)
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(network.init, jax.random.key(0), X, TIME, TEXT)


def test_options_that_are_absent_may_be_null():
    absent = {
        "only_cross_attention": None,
        "attention_type": None,
        "time_embedding_type": None,
        "upcast_attention": None,
        "addition_embed_type_num_heads": None,
        "num_attention_heads": 2,
    }
    network = UNet2DCondition(**ONE_LEVEL | absent)
    shapes = jax.eval_shape(network.init, jax.random.key(0), X, TIME, TEXT)
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, variables())


def test_sizes_and_conditions_that_do_not_fit_are_refused():
    network = UNet2DCondition(**SMALL)
    with pytest.raises(ValueError, match=re.escape("divisible by 2; the images are 4 x 5")):
        jax.eval_shape(network.init, jax.random.key(0), X[:, :, :5], TIME, TEXT)
    for options, told in (
        ({}, "is told text of every image; there is no text"),
        (TOLD_SIZES, "there is no text and no pooled and no time_ids"),
    ):
        network = UNet2DCondition(**SMALL | options)
        with pytest.raises(ValueError, match=told):
            jax.eval_shape(network.init, jax.random.key(0), X, TIME)


@pytest.mark.slow
def test_blocks_that_are_computed_anew():
    plain = UNet2DCondition(**ONE_LEVEL)
    anew = rematerialised(plain)
    assert anew == plain.clone(remat=True)
    energy = lambda network: jax.value_and_grad(
        lambda x: jnp.sum(network.apply(variables(), x, TIME, TEXT) ** 2)
    )
    (expected, slope), (found, other) = (compiled(energy(each))(X) for each in (plain, anew))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(other, slope, rtol=1e-3, atol=1e-4)
    residual_and_transformer_blocks = 5 + 4
    text = lambda network: str(jax.make_jaxpr(energy(network))(X))
    assert text(anew).count("prevent_cse=True") == residual_and_transformer_blocks
    assert "prevent_cse" not in text(plain)
    with pytest.raises(ValueError, match="MLP has no blocks to compute anew"):
        rematerialised(MLP())


@pytest.mark.slow
def test_dropout_is_of_training_alone():
    network = UNet2DCondition(**ONE_LEVEL, dropout=0.5, remat=True)

    @compiled
    def run(key):
        apply = lambda **options: network.apply(variables(), X, TIME, TEXT, **options)
        return apply(), apply(train=True, rngs={"dropout": key})

    (still, moved), (again, other) = run(jax.random.key(0)), run(jax.random.key(1))
    np.testing.assert_array_equal(still, again)
    assert float(jnp.abs(moved - other).max()) > 1e-3


@pytest.mark.slow
def test_sixteen_bits():
    """Weights as they are loaded, sums between the layers in bfloat16: near, and finite."""
    expected = compiled(UNet2DCondition(**ONE_LEVEL).apply)(variables(), X, TIME, TEXT)
    short = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), variables())
    found = compiled(UNet2DCondition(**ONE_LEVEL, dtype="bfloat16").apply)(short, X, TIME, TEXT)
    assert found.dtype == jnp.bfloat16
    found = found.astype(jnp.float32)
    assert float(jnp.abs(found - expected).max()) < 0.05 * float(jnp.abs(expected).max())
    assert float(jnp.abs(found - expected).max()) > 0

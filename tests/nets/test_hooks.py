"""Layers are read and replaced by name, in every U-Net of the registry and under every transform of
JAX.
"""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.nets import NETWORKS
from ddib_jax.nets.hooks import Hook, attention_weights, intercepted, read, sites
from tests.nets.small import SMALL, TIME, VARIABLES, Small, X, filled

ADM = {"model_channels": 32, "channel_mult": (1, 1), "attention_resolutions": (2,), "num_heads": 2}
EDM = {"img_resolution": 4, "channel_mult": (1, 1), "num_blocks": 1, "attn_resolutions": (2,)}
DIFFUSERS = {
    "block_out_channels": (32, 32),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "attention_head_dim": 16,
}
TOLD = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": 2,
    "cross_attention_dim": 6,
    "text_length": 4,  # as many as the positions that attend
}
TINY = {
    "unet": ADM,
    "noisy-classifier": ADM | {"num_classes": 5},
    "unet2d": DIFFUSERS,
    "unet2d-condition": DIFFUSERS | TOLD,
    "song-unet": EDM | {"model_channels": 32},
    "dhariwal-unet": EDM | {"model_channels": 64},
}
UNETS = [name for name, network in NETWORKS.items() if hasattr(network, "bottleneck")]
OUTPUT = {
    "unet": "out.2",
    "noisy-classifier": "out.2",
    "unet2d": "conv_out",
    "unet2d-condition": "conv_out",
    "song-unet": "dec.4x4_aux_conv",
    "dhariwal-unet": "out_conv",
}
"""The last layer of each network, whose output is the network's."""

REMAT = [
    (name, {"remat": True})
    for name in UNETS
    if "remat" in {field.name for field in dataclasses.fields(NETWORKS[name])}
]
each_unet = pytest.mark.parametrize("name", UNETS)


def inputs(name):
    """What a network is applied to: images, times and, where there is one, a text of each."""
    if name != "unet2d-condition":
        return X, TIME
    return X, TIME, {"text": jax.random.normal(jax.random.key(2), (2, 4, 6))}


def program(function, *args):
    """What XLA would be given; two programs of the same text give the same bits."""
    return jax.jit(function).lower(*args).as_text()


def test_every_unet_is_tested():
    assert set(UNETS) == set(TINY) == set(OUTPUT)


@pytest.mark.slow
@each_unet
def test_sites_are_there(name):
    network = NETWORKS[name](**TINY[name])
    found = sites(network, *inputs(name))
    params = filled(network, *inputs(name))["params"]
    assert set(params) - {"positional_embedding"} <= set(found)
    assert found[network.bottleneck].shape == (2, 2, 2, TINY[name].get("model_channels", 32))
    attention = [site.removesuffix(".attention") for site in found if site.endswith(".attention")]
    assert attention
    for layer in attention:
        parts = {found[f"{layer}.{part}"].shape for part in ("query", "key", "value", "attention")}
        assert len(parts) == 1
        assert len(parts.pop()) == 4


@pytest.mark.parametrize("lowest", ["DownBlock2D", "AttnDownBlock2D"])
def test_a_network_without_a_middle_block_has_a_bottleneck(lowest):
    options = {"mid_block_type": None, "down_block_types": ("DownBlock2D", lowest)}
    network = NETWORKS["unet2d"](**DIFFUSERS | options)
    *_, last = (site for site in sites(network, X, TIME) if re.fullmatch(r"down.*s\.\d+", site))
    assert network.bottleneck == last


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), [*((name, {}) for name in UNETS), *REMAT])
def test_hooks_that_change_nothing_leave_the_program_as_it_is(name, options):
    network = NETWORKS[name](**TINY[name], **options)
    variables, same = filled(network, *inputs(name)), lambda value: value
    hooks = [Hook(site, same) for site in sites(network, *inputs(name))]

    def hooked(variables, *given):
        with intercepted(hooks):
            return network.apply(variables, *given)

    plain = program(lambda *args: network.apply(*args), variables, *inputs(name))
    assert program(hooked, variables, *inputs(name)).replace("hooked", "_lambda") == plain.replace(
        "<lambda>", "_lambda"
    )


@pytest.mark.slow
@each_unet
def test_what_is_read_is_what_is_computed_and_what_is_replaced_counts(name):
    network = NETWORKS[name](**TINY[name])
    variables, found = filled(network, *inputs(name)), sites(network, *inputs(name))
    layer = next(site for site in found if site.endswith(".attention")).removesuffix(".attention")
    parts = [f"{layer}.{part}" for part in ("query", "key", "value", "attention")]
    changed = [network.bottleneck, *parts]

    @jax.jit
    def run(amounts):
        hooks = [
            Hook(site, lambda value, amount=amount: value + amount * jnp.square(value))
            for site, amount in zip(changed, amounts, strict=True)
        ]
        return read(network, [*changed, OUTPUT[name]], variables, *inputs(name), hooks=hooks)

    none = jnp.zeros(len(changed))
    output, values = run(none)
    np.testing.assert_array_equal(values[OUTPUT[name]].reshape(output.shape), output)
    q, k, v, attended = (values[site] for site in parts)
    weighted = jnp.einsum("bhnm,bmhd->bnhd", attention_weights(q, k), v)
    np.testing.assert_allclose(weighted, attended, atol=1e-5)
    for index, site in enumerate(changed):
        other, seen = run(none.at[index].set(3.0))
        assert float(jnp.abs(other - output).max()) > 1e-5, site
        expected = values[site] + 3 * jnp.square(values[site])
        np.testing.assert_allclose(seen[site], expected, rtol=1e-4, atol=1e-5)


READ = ("in", "middle", "middle.query", "middle.attention")


@pytest.mark.slow
@pytest.mark.parametrize("network", [SMALL, Small(remat=True)], ids=["plain", "remat"])
def test_reading_and_replacing_under_transforms(network):
    """jit, vmap, scan, checkpoint and grad: the values are those of a plain call."""

    def call(network, x, scale):
        hooks = [Hook("middle.key", lambda key: scale * key), Hook("middle", jnp.cos)]
        return read(network, READ, VARIABLES, x, TIME, hooks=hooks)

    def energy(network, x, scale):
        output, values = call(network, x, scale)
        return sum(jnp.sum(value**2) for value in (output, *values.values()))

    @jax.jit
    def transformed(x, scale):
        one = functools.partial(call, network)
        mapped = jax.vmap(one, (None, 0))(x, jnp.stack([0 * scale, scale]))
        scanned = jax.lax.scan(lambda c, _: (c, one(x, c)), scale, None, length=2)[1]
        slopes = jax.grad(functools.partial(energy, network), (0, 1))(x, scale)
        last = functools.partial(jax.tree.map, lambda leaf: leaf[-1])
        return one(x, scale), last(mapped), last(scanned), jax.checkpoint(one)(x, scale), slopes

    plain = call(SMALL, X, 2.0)
    *found, slopes = transformed(X, 2.0)
    assert tuple(plain[1]) == READ
    same = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    for values in found:
        jax.tree.map(same, values, plain)
    expected = jax.jit(jax.grad(functools.partial(energy, SMALL), (0, 1)))(X, 2.0)
    jax.tree.map(functools.partial(same, rtol=1e-3), slopes, expected)


def test_a_hook_may_replace_attention_itself():
    def uniform(q, k, v):
        return jnp.broadcast_to(v.mean(1, keepdims=True), q.shape)

    hooks = [Hook("middle.attend", uniform)]
    _, values = read(SMALL, ["middle.value", "middle.attention"], VARIABLES, X, TIME, hooks=hooks)
    expected = uniform(values["middle.value"], None, values["middle.value"])
    np.testing.assert_array_equal(values["middle.attention"], expected)


def test_more_positions_to_attend_to():
    """Attention over the keys and values of another image too, as far as it goes: of the same."""

    def doubled(q, k, v):
        k, v = (jnp.concatenate([part, part], axis=1) for part in (k, v))
        return jax.nn.dot_product_attention(q, k, v)

    with intercepted([Hook("middle.attend", doubled)]):
        output = SMALL.apply(VARIABLES, X, TIME)
    np.testing.assert_allclose(output, SMALL.apply(VARIABLES, X, TIME), rtol=1e-4, atol=1e-5)


def test_hooks_act_in_their_order_and_keep_the_dtype():
    hooks = [Hook("in", lambda h: h + 1), Hook("in", lambda h: 2 * h.astype(jnp.bfloat16))]
    plain = read(SMALL, ["in"], VARIABLES, X, TIME)[1]["in"]
    value = read(SMALL, ["in"], VARIABLES, X, TIME, hooks=hooks)[1]["in"]
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, 2 * (plain + 1), rtol=0.02)

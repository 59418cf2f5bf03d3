"""One step: the averages, the rates and the clipping that the description promises."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ddib_jax.nets import UNet
from ddib_jax.nets.hooks import sites
from ddib_jax.training import TrainState, accumulated, adamw, gradients, train_step
from tests.training.problem import KEY


def plain(params, key, batch, shared):
    return {"loss": jnp.zeros(())}, batch


def stepped(state, batch, **options):
    options = {"grad_fn": plain, "ema_decay": 0.99} | options
    return jax.jit(functools.partial(train_step, **options))(KEY, state, batch, None)


def test_the_state_begins_with_its_average_at_the_parameters():
    params = {"w": jnp.arange(3.0)}
    state = TrainState.create(params, optax.adam(1e-3))
    assert state.step.dtype == jnp.int32
    assert int(state.step) == 0
    np.testing.assert_array_equal(state.ema["w"], params["w"])
    assert state.ema["w"].unsafe_buffer_pointer() != params["w"].unsafe_buffer_pointer()
    assert len(jax.tree.leaves(state)) == 1 + 1 + 1 + 3 + 1


def test_the_average_ramps_up_to_its_decay():
    tx = optax.sgd(1.0)
    state, ema = TrainState.create({"w": jnp.zeros(2)}, tx), np.zeros(2)
    for step in range(4):
        state, _ = stepped(state, {"w": jnp.asarray([1.0, -2.0])}, tx=tx)
        decay = (1 + step) / (10 + step)
        ema = decay * ema + (1 - decay) * (step + 1) * np.asarray([-1.0, 2.0])
        np.testing.assert_allclose(state.ema["w"], ema, rtol=1e-6)
    late = state.replace(
        step=jnp.asarray(10**6), params={"w": jnp.zeros(2)}, ema={"w": jnp.zeros(2)}
    )
    late, _ = stepped(late, {"w": jnp.asarray([1.0, -2.0])}, tx=tx)
    np.testing.assert_allclose(late.ema["w"], [-0.01, 0.02], rtol=1e-5)
    assert int(late.step) == 10**6 + 1


@pytest.mark.parametrize(("norm", "clipped"), [(50.0, 2.0), (0.5, 0.5)])
def test_the_global_norm_is_clipped_and_told_as_it_was(norm, clipped):
    tx = adamw(1e-3, 10, warmup=1, weight_decay=0.0, clip_norm=2.0)
    state = TrainState.create({"w": jnp.zeros(4), "b": jnp.zeros(1)}, tx)
    grads = {"w": jnp.full(4, 0.3 * norm), "b": jnp.full(1, 0.8 * norm)}
    state, metrics = stepped(state, grads, tx=tx)
    momentum = next(
        part
        for part in jax.tree.leaves(state.opt_state, is_leaf=lambda x: hasattr(x, "mu"))
        if hasattr(part, "mu")
    )
    np.testing.assert_allclose(optax.tree.norm(momentum.mu) / (1 - 0.9), clipped, rtol=1e-5)
    np.testing.assert_allclose(metrics["grad_norm"], norm, rtol=1e-5)


def test_the_rate_warms_up_linearly_and_falls_as_a_cosine():
    tx = adamw(0.1, 20, warmup=4, weight_decay=0.0, clip_norm=1e9, final_fraction=0.01)
    update = jax.jit(tx.update)
    params, rates = {"w": jnp.zeros(1)}, []
    opt_state = tx.init(params)
    for _ in range(22):  # the gradient is always one: Adam's step is the rate
        updates, opt_state = update({"w": jnp.ones(1)}, opt_state, params)
        rates.append(-float(updates["w"][0]))
    cosine = 0.1 * (0.01 + 0.99 * (1 + np.cos(np.pi * np.arange(17) / 16)) / 2)
    np.testing.assert_allclose(rates, [0, 0.025, 0.05, 0.075, *cosine, 0.001], rtol=1e-3, atol=1e-7)


def test_weights_decay_where_there_is_no_gradient():
    tx = adamw(0.1, 20, warmup=0, weight_decay=0.5, clip_norm=1.0)
    state, _ = stepped(TrainState.create({"w": jnp.ones(1)}, tx), {"w": jnp.zeros(1)}, tx=tx)
    np.testing.assert_allclose(state.params["w"], [0.95], rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 2])
def test_the_shortest_trainings_have_a_rate(steps):
    tx = adamw(0.1, steps, warmup=200, weight_decay=0.0, clip_norm=1.0)
    state = TrainState.create({"w": jnp.zeros(1)}, tx)
    for _ in range(steps):
        state, _ = stepped(state, {"w": jnp.ones(1)}, tx=tx)
    assert float(state.params["w"][0]) < -0.05


def test_noise_is_of_the_step_and_the_key_alone():
    def loss(params, key, batch, shared):
        return jnp.sum(params["w"] * jax.random.normal(key, (2,))) + shared

    step = jax.jit(
        functools.partial(train_step, grad_fn=gradients(loss), tx=optax.sgd(0.1), ema_decay=0.9)
    )
    state = TrainState.create({"w": jnp.ones(2)}, optax.sgd(0.1))
    said = [
        float(step(key, state.replace(step=jnp.asarray(at)), None, jnp.asarray(100.0))[1]["loss"])
        for at, key in [(3, KEY), (3, KEY), (4, KEY), (3, jax.random.key(8))]
    ]
    assert said[0] == said[1]
    assert len(set(said)) == 3
    assert all(90 < value < 110 for value in said)


@pytest.mark.slow
def test_a_bfloat16_network_keeps_float32_parameters():
    """Shapes and dtypes only: nothing is computed."""
    network = UNet(
        model_channels=32, channel_mult=(1.0,), attention_resolutions=(), dtype="bfloat16"
    )
    x, time = jnp.zeros((2, 8, 8, 3)), jnp.zeros(2)
    params = jax.eval_shape(network.init, KEY, x, time)["params"]
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    output = jax.eval_shape(network.apply, {"params": params}, x, time)
    assert output.dtype == jnp.bfloat16
    is_block = re.compile(r"(input|middle|output)_blocks?(\.\d+)+")
    found = sites(network, x, time)
    blocks = {site: found[site].dtype for site in found if is_block.fullmatch(site)}
    assert network.bottleneck in blocks
    assert set(blocks.values()) == {jnp.dtype("bfloat16")}

    def loss(params, key, batch, shared):
        return jnp.mean(jnp.square(network.apply({"params": params}, x, time).astype(jnp.float32)))

    tx = adamw(1e-3, 10, warmup=1, weight_decay=0.01, clip_norm=1.0)
    state = jax.eval_shape(lambda p: TrainState.create(p, tx), params)
    step = functools.partial(train_step, grad_fn=gradients(loss), tx=tx, ema_decay=0.9)
    after, metrics = jax.eval_shape(step, KEY, state, None, None)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), state
    )
    assert metrics["loss"].dtype == jnp.float32


@pytest.mark.slow
def test_a_batch_in_parts_is_the_same_step():
    def loss(params, key, batch, shared):
        noise = jax.vmap(lambda index: jax.random.normal(jax.random.fold_in(key, index), (3,)))(
            batch["index"]
        )
        return jnp.mean(jnp.square(batch["x"] @ params["w"] + noise - shared))

    batch = {
        "x": np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32),
        "index": np.arange(12),
    }
    params = {"w": jnp.ones((4, 3))}
    whole = gradients(loss)(params, KEY, batch, 0.5)
    for parts in (1, 3, 12):
        found = jax.jit(accumulated(gradients(loss), parts))(params, KEY, batch, 0.5)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, whole)
    with pytest.raises(ValueError, match="batch of 12 does not divide into 5 parts"):
        accumulated(gradients(loss), 5)(params, KEY, batch, 0.5)

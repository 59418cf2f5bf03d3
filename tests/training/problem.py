"""A training that costs nothing: a noisy linear regression, with all that `fit` does."""

import itertools
import time

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax.training import TrainState, adamw, gradients

KEY = jax.random.key(7)


def problem(steps, *, width=8, pause=0.0):
    """The state before the first step, the batches, and what `fit` needs to know besides them."""
    rng = np.random.default_rng(0)
    params = {"kernel": jnp.asarray(rng.normal(size=(width, 3)), jnp.float32), "bias": jnp.zeros(3)}
    tx = adamw(1e-2, steps, warmup=2, weight_decay=0.01, clip_norm=1.0)

    def loss(params, key, batch, shared):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch["index"])
        noise = 0.1 * jax.vmap(lambda key: jax.random.normal(key, batch["x"].shape[1:]))(keys)
        predicted = jnp.tanh((batch["x"] + noise) @ params["kernel"] + params["bias"])
        return jnp.mean(jnp.square(predicted - shared["scale"] * batch["y"]))

    def batch_at(step):
        time.sleep(pause)
        x = np.random.default_rng([1, step]).normal(size=(16, width)).astype(np.float32)
        return {"x": x, "y": np.sign(x[:, :3]), "index": np.arange(16)}

    shared = {"scale": jnp.asarray(0.5)}
    return (
        TrainState.create(params, tx),
        batch_at,
        {"grad_fn": gradients(loss), "tx": tx, "steps": steps, "shared": shared},
    )


def batches(batch_at, state):
    """The batches of all steps from the state's on."""
    return map(batch_at, itertools.count(int(state.step)))


def arrays(tree):
    """Path -> host array."""
    return {
        jax.tree_util.keystr(path): np.asarray(leaf)
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


def same_bits(one, other):
    one, other = arrays(one), arrays(other)
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype, name
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)

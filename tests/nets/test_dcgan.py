"""The networks of DCGAN: with copied weights they answer as PyTorch's, while they train and after;
folded weights answer alike.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.adversarial import vanilla
from ddib_jax.baselines.dcgan import dcgan_gradients, dcgan_optimiser, dcgan_parameters
from ddib_jax.nets import DCGANDiscriminator, DCGANGenerator
from ddib_jax.nets.dcgan import folded
from ddib_jax.training import TrainState, train_step

RNG = np.random.default_rng(0)


def randomised(network, x):
    variables = jax.jit(network.init)(jax.random.key(0), x)
    drawn = jax.tree.map(
        lambda leaf: jnp.asarray(0.3 * RNG.normal(size=leaf.shape), jnp.float32),
        variables["params"],
    )
    stats = jax.tree.map(
        lambda leaf: jnp.asarray(RNG.uniform(0.5, 2.0, leaf.shape), jnp.float32),
        variables["batch_stats"],
    )
    return {"params": drawn, "batch_stats": stats}


def layers(torch, width, levels, generator):
    """PyTorch's DCGAN example, for a size of 4 * 2**levels."""
    nn = torch.nn
    made = []
    if generator:
        channels = [width * 2 ** (levels - 1 - level) for level in range(levels)]
        made += [
            nn.ConvTranspose2d(7, channels[0], 4, 1, 0, bias=False),
            nn.BatchNorm2d(channels[0]),
            nn.ReLU(),
        ]
        for before, after in itertools.pairwise(channels):
            made += [
                nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        return nn.Sequential(
            *made, nn.ConvTranspose2d(channels[-1], 3, 4, 2, 1, bias=False), nn.Tanh()
        )
    made += [nn.Conv2d(3, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for level in range(1, levels):
        made += [
            nn.Conv2d(width * 2 ** (level - 1), width * 2**level, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width * 2**level),
            nn.LeakyReLU(0.2),
        ]
    return nn.Sequential(*made, nn.Conv2d(width * 2 ** (levels - 1), 1, 4, 1, 0, bias=False))


def twin(torch, variables, width, levels, generator):
    """The same network in PyTorch."""
    state, order = {}, (2, 3, 0, 1) if generator else (3, 2, 0, 1)
    for name, group in variables["params"].items():
        place = name.removeprefix("main.")
        if isinstance(group, dict) and "scale" in group:
            state |= {f"{place}.weight": group["scale"], f"{place}.bias": group["bias"]}
            moments = variables["batch_stats"][name]
            state |= {
                f"{place}.running_mean": moments["mean"],
                f"{place}.running_var": moments["var"],
                f"{place}.num_batches_tracked": np.asarray(0),
            }
        else:
            kernel = np.asarray(group["kernel"] if isinstance(group, dict) else group)
            state[f"{place}.weight"] = kernel.transpose(order).copy()
    network = layers(torch, width, levels, generator)
    network.load_state_dict(
        {name: torch.from_numpy(np.asarray(array).copy()) for name, array in state.items()}
    )
    return network


@pytest.mark.parametrize("levels", [2, 4])
@pytest.mark.parametrize("train", [True, False])
def test_generator_is_pytorchs(levels, train):
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
    network, z = (
        DCGANGenerator(4 * 2**levels, 3, 8, 7),
        jnp.asarray(RNG.normal(size=(5, 7)), jnp.float32),
    )
    variables = randomised(network, z)
    other = twin(torch, variables, 8, levels, True).train(train)
    with torch.no_grad():
        expected = (
            other(torch.from_numpy(np.array(z))[:, :, None, None]).numpy().transpose(0, 2, 3, 1)
        )
    found, after = network.apply(variables, z, train=train, mutable="batch_stats")
    np.testing.assert_allclose(found, expected, atol=1e-4)
    if train:  # torch keeps the unbiased variance, flax the biased one: the means are alike
        np.testing.assert_allclose(
            after["batch_stats"]["main.1"]["mean"], other[1].running_mean.numpy(), atol=1e-5
        )


@pytest.mark.parametrize("train", [True, False])
def test_discriminator_is_pytorchs(train):
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
    network, x = (
        DCGANDiscriminator(32, 8),
        jnp.asarray(RNG.normal(size=(5, 32, 32, 3)), jnp.float32),
    )
    variables = randomised(network, x)
    other = twin(torch, variables, 8, 3, False).train(train)
    with torch.no_grad():
        expected = other(torch.from_numpy(np.asarray(x).transpose(0, 3, 1, 2).copy())).numpy()[
            :, 0, 0, 0
        ]
    found, _ = network.apply(variables, x, train=train, mutable="batch_stats")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_folded_weights_answer_alike():
    network, z = DCGANGenerator(32, 3, 8, 7), jnp.asarray(RNG.normal(size=(4, 7)), jnp.float32)
    variables = randomised(network, z)
    plain = network.clone(normalised=False)
    found = plain.apply({"params": folded(variables["params"], variables["batch_stats"])}, z)
    np.testing.assert_allclose(found, network.apply(variables, z), atol=1e-5)


def test_sizes_and_counts_of_the_paper():
    """64 pixels: five transposed convolutions and five strided ones, 3.6 and 2.8
    million weights.
    """
    generator, discriminator = DCGANGenerator(), DCGANDiscriminator()
    weights = lambda network, x: sum(
        leaf.size
        for leaf in jax.tree.leaves(jax.eval_shape(network.init, jax.random.key(0), x)["params"])
    )
    assert weights(generator, jnp.zeros((1, 100))) == 3_576_704
    assert weights(discriminator, jnp.zeros((1, 64, 64, 3))) == 2_765_568
    for size in (8, 48):
        with pytest.raises(ValueError, match="images of 16, 32, 64"):
            jax.eval_shape(DCGANGenerator(size).init, jax.random.key(0), jnp.zeros((1, 100)))
    with pytest.raises(ValueError, match="images of 64 x 64; these are 32 x 32"):
        jax.eval_shape(discriminator.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))


def test_a_step_moves_both_players_and_their_statistics():
    generator, discriminator = DCGANGenerator(16, 3, 4, 7), DCGANDiscriminator(16, 4)
    tx = dcgan_optimiser(1e-3)
    state = TrainState.create(dcgan_parameters(jax.random.key(0), generator, discriminator), tx)
    batch = {
        "image": jnp.asarray(RNG.uniform(-1, 1, (6, 16, 16, 3)), jnp.float32),
        "index": jnp.arange(6),
    }
    step = jax.jit(
        lambda state: train_step(
            jax.random.key(1),
            state,
            batch,
            None,
            grad_fn=dcgan_gradients(generator, discriminator),
            tx=tx,
            ema_decay=0.0,
        )
    )
    after, metrics = step(state)
    assert all(
        bool(jnp.any(a != b))
        for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(after.params), strict=True)
    )
    assert set(metrics) >= {"loss", "discriminator", "real", "fake", "spread"}
    assert all(bool(jnp.isfinite(value)) for value in metrics.values())
    z = jax.vmap(lambda key: jax.random.normal(key, (7,)))(
        jax.vmap(jax.random.fold_in, (None, 0))(
            jax.random.fold_in(jax.random.key(1), 0), jnp.arange(6)
        )
    )
    _, made = generator.apply(
        {"params": state.params["generator"], "batch_stats": state.params["stats"]["generator"]},
        z,
        train=True,
        mutable="batch_stats",
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        after.params["stats"]["generator"],
        made["batch_stats"],
    )
    assert float(vanilla(jnp.zeros(3), 1.0)) == pytest.approx(np.log(2))

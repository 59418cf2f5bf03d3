"""DCGAN's networks answer as PyTorch's do, in training and outside it; so do folded weights."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.gan.dcgan import dcgan_gradients, dcgan_optimiser, dcgan_parameters
from ddib_jax.gan.losses import vanilla
from ddib_jax.nets import DCGANDiscriminator, DCGANGenerator
from ddib_jax.nets.dcgan import fold_batch_norm
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


def torch_generator(torch, width, levels):
    """The generator of PyTorch's DCGAN example, for a size of 4 * 2**levels and 7 latents."""
    nn = torch.nn
    channels = [width * 2 ** (levels - 1 - level) for level in range(levels)]
    first = nn.ConvTranspose2d(7, channels[0], 4, 1, 0, bias=False)
    layers = [first, nn.BatchNorm2d(channels[0]), nn.ReLU()]
    for before, after in itertools.pairwise(channels):
        up = nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)
        layers += [up, nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(
        *layers, nn.ConvTranspose2d(channels[-1], 3, 4, 2, 1, bias=False), nn.Tanh()
    )


def torch_discriminator(torch, width, levels):
    """The discriminator of the same example."""
    nn = torch.nn
    layers = [nn.Conv2d(3, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for level in range(1, levels):
        wide = width * 2**level
        down = nn.Conv2d(wide // 2, wide, 4, 2, 1, bias=False)
        layers += [down, nn.BatchNorm2d(wide), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(width * 2 ** (levels - 1), 1, 4, 1, 0, bias=False))


def load_torch(torch, network, variables, order):
    """Our weights in a network of PyTorch, kernels with their axes in this order."""
    state = {}
    for name, group in variables["params"].items():
        index = name.removeprefix("main.")
        if isinstance(group, dict) and "scale" in group:
            state |= {f"{index}.weight": group["scale"], f"{index}.bias": group["bias"]}
            moments = variables["batch_stats"][name]
            state |= {
                f"{index}.running_mean": moments["mean"],
                f"{index}.running_var": moments["var"],
                f"{index}.num_batches_tracked": np.asarray(0),
            }
        else:
            kernel = np.asarray(group["kernel"] if isinstance(group, dict) else group)
            state[f"{index}.weight"] = kernel.transpose(order)
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in state.items()}
    network.load_state_dict(tensors)
    return network


@pytest.mark.parametrize("levels", [2, 4])
@pytest.mark.parametrize("train", [True, False])
def test_generator_is_pytorchs(levels, train):
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
    network = DCGANGenerator(4 * 2**levels, 3, 8, 7)
    z = jnp.asarray(RNG.normal(size=(5, 7)), jnp.float32)
    variables = randomised(network, z)
    twin = load_torch(torch, torch_generator(torch, 8, levels), variables, (2, 3, 0, 1))
    twin.train(train)
    with torch.no_grad():
        expected = twin(torch.from_numpy(np.array(z))[:, :, None, None])
    images, updates = network.apply(variables, z, train=train, mutable="batch_stats")
    np.testing.assert_allclose(images, expected.numpy().transpose(0, 2, 3, 1), atol=1e-4)
    if train:  # torch keeps the unbiased variance, flax the biased one: the means are alike
        mean = updates["batch_stats"]["main.1"]["mean"]
        np.testing.assert_allclose(mean, twin[1].running_mean.numpy(), atol=1e-5)


@pytest.mark.parametrize("train", [True, False])
def test_discriminator_is_pytorchs(train):
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
    network = DCGANDiscriminator(32, 8)
    x = jnp.asarray(RNG.normal(size=(5, 32, 32, 3)), jnp.float32)
    variables = randomised(network, x)
    twin = load_torch(torch, torch_discriminator(torch, 8, 3), variables, (3, 2, 0, 1))
    twin.train(train)
    with torch.no_grad():
        expected = twin(torch.from_numpy(np.asarray(x).transpose(0, 3, 1, 2).copy()))
    expected = expected.numpy()[:, 0, 0, 0]
    logits, _ = network.apply(variables, x, train=train, mutable="batch_stats")
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_folded_weights_answer_alike():
    network, z = DCGANGenerator(32, 3, 8, 7), jnp.asarray(RNG.normal(size=(4, 7)), jnp.float32)
    variables = randomised(network, z)
    weights = fold_batch_norm(variables["params"], variables["batch_stats"])
    images = network.clone(normalised=False).apply({"params": weights}, z)
    np.testing.assert_allclose(images, network.apply(variables, z), atol=1e-5)


def test_sizes_and_counts_of_the_paper():
    """64 pixels: five transposed and five strided convolutions, 3.6 and 2.8 million weights."""
    generator, discriminator = DCGANGenerator(), DCGANDiscriminator()

    def count(network, x):
        params = jax.eval_shape(network.init, jax.random.key(0), x)["params"]
        return sum(leaf.size for leaf in jax.tree.leaves(params))

    assert count(generator, jnp.zeros((1, 100))) == 3_576_704
    assert count(discriminator, jnp.zeros((1, 64, 64, 3))) == 2_765_568
    for size in (8, 48):
        with pytest.raises(ValueError, match="images of 16, 32, 64"):
            jax.eval_shape(DCGANGenerator(size).init, jax.random.key(0), jnp.zeros((1, 100)))
    with pytest.raises(ValueError, match="images of 64 x 64; these are 32 x 32"):
        jax.eval_shape(discriminator.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))


@pytest.mark.slow
def test_a_step_moves_both_networks_and_their_statistics():
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
    step_key = jax.random.fold_in(jax.random.key(1), 0)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(step_key, jnp.arange(6))
    z = jax.vmap(lambda key: jax.random.normal(key, (7,)))(keys)
    _, updates = generator.apply(
        {"params": state.params["generator"], "batch_stats": state.params["stats"]["generator"]},
        z,
        train=True,
        mutable="batch_stats",
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        after.params["stats"]["generator"],
        updates["batch_stats"],
    )
    assert float(vanilla(jnp.zeros(3), 1.0)) == pytest.approx(np.log(2))

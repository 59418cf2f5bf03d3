"""The networks of CycleGAN: transposed convolutions are XLA's own; with copied random weights they
answer as PyTorch does.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.nets.cyclegan import PatchDiscriminator, ResnetGenerator, UnetGenerator, UpConv
from ddib_jax.pretrained.torch_names import state_dict


def randomised(network, x, seed=0):
    params = jax.jit(network.init)(jax.random.key(seed), x)["params"]
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(0.05 * rng.normal(size=leaf.shape), jnp.float32), params
    )


@pytest.mark.parametrize("size", [3, 4])
def test_up_convolution_is_the_transposed_one(size):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 7, 3)), jnp.float32)
    network = UpConv(4, size)
    params = randomised(network, x)
    after = 1 if size == 3 else 0  # torch's output padding
    border = (size - 2, size - 2 + after)
    kernel = jnp.flip(
        params["kernel"], (0, 1)
    )  # a transposed convolution walks its kernel backwards
    expected = (
        jax.lax.conv_general_dilated(
            x,
            kernel,
            (1, 1),
            (border, border),
            lhs_dilation=(2, 2),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        + params["bias"]
    )
    np.testing.assert_allclose(network.apply({"params": params}, x), expected, atol=1e-5)


def torch_state(torch, params, transposed=()):
    state = state_dict(params)
    return {
        key: torch.from_numpy(
            array.transpose(1, 0, 2, 3).copy()
            if key.removesuffix(".weight") in transposed
            else array
        )
        for key, array in state.items()
    }


def residual(torch, width):
    nn = torch.nn
    layers = [
        nn.ReflectionPad2d(1),
        nn.Conv2d(width, width, 3),
        nn.InstanceNorm2d(width),
        nn.ReLU(),
        nn.ReflectionPad2d(1),
        nn.Conv2d(width, width, 3),
        nn.InstanceNorm2d(width),
    ]

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv_block = nn.Sequential(*layers)

        def forward(self, x):
            return x + self.conv_block(x)

    return Block()


def compared(torch, network, twin, params, x, transposed=()):
    twin.load_state_dict(
        {
            key.removeprefix("model."): value
            for key, value in torch_state(torch, params, transposed).items()
        }
    )
    with torch.no_grad():
        expected = (
            twin(torch.from_numpy(np.asarray(x).transpose(0, 3, 1, 2).copy()))
            .numpy()
            .transpose(0, 2, 3, 1)
        )
    found = np.asarray(network.apply({"params": params}, x)).reshape(expected.shape)
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 1e-4


@pytest.mark.parametrize("blocks", [6, 9])
def test_resnet_generator(blocks):
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
    nn, width = torch.nn, 8
    layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), nn.InstanceNorm2d(width), nn.ReLU()]
    for more in (1, 2):
        layers += [
            nn.Conv2d(more * width, 2 * more * width, 3, stride=2, padding=1),
            nn.InstanceNorm2d(2 * more * width),
            nn.ReLU(),
        ]
    layers += [residual(torch, 4 * width) for _ in range(blocks)]
    for more in (4, 2):
        layers += [
            nn.ConvTranspose2d(
                more * width, more * width // 2, 3, stride=2, padding=1, output_padding=1
            ),
            nn.InstanceNorm2d(more * width // 2),
            nn.ReLU(),
        ]
    layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()]
    network, x = (
        ResnetGenerator(3, width, blocks),
        jax.random.normal(jax.random.key(1), (2, 16, 24, 3)),
    )
    params = randomised(network, x)
    compared(
        torch,
        network,
        nn.Sequential(*layers),
        params,
        x,
        (f"model.{10 + blocks}", f"model.{13 + blocks}"),
    )


@pytest.mark.parametrize("layers", [2, 3])
def test_patch_discriminator(layers):
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
    nn, width = torch.nn, 8
    made, last = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)], width
    for level in range(1, layers + 1):
        wide = width * min(8, 2**level)
        made += [
            nn.Conv2d(last, wide, 4, stride=2 if level < layers else 1, padding=1),
            nn.InstanceNorm2d(wide),
            nn.LeakyReLU(0.2),
        ]
        last = wide
    made += [nn.Conv2d(last, 1, 4, padding=1)]
    network, x = (
        PatchDiscriminator(width, layers),
        jax.random.normal(jax.random.key(1), (2, 32, 40, 3)),
    )
    compared(torch, network, nn.Sequential(*made), randomised(network, x), x)


def test_unet_generator():
    """Against the recursion of pix2pix's own U-Net, written out."""
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
    functional, network = torch.nn.functional, UnetGenerator(3, 8, 3)
    x = jax.random.normal(jax.random.key(1), (2, 16, 16, 3))
    params = randomised(network, x)
    state = torch_state(torch, params, ("up.0", "up.1", "up.2"))

    def down(level, h):
        return functional.conv2d(
            h, state[f"down.{level}.weight"], state[f"down.{level}.bias"], stride=2, padding=1
        )

    def up(level, h):
        return functional.conv_transpose2d(
            torch.relu(h),
            state[f"up.{level}.weight"],
            state[f"up.{level}.bias"],
            stride=2,
            padding=1,
        )

    def inner(level, h):
        below = functional.leaky_relu(h, 0.2)
        below = down(level, below)
        below = (
            up(level, below)
            if level == 2
            else up(level, inner(level + 1, functional.instance_norm(below)))
        )
        return torch.cat([h, functional.instance_norm(below)], dim=1)

    given = torch.from_numpy(np.asarray(x).transpose(0, 3, 1, 2).copy())
    expected = torch.tanh(up(0, inner(1, down(0, given)))).numpy().transpose(0, 2, 3, 1)
    found = np.asarray(network.apply({"params": params}, x))
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 1e-4


@pytest.mark.parametrize(
    ("network", "side", "words"),
    [
        (ResnetGenerator(), 30, "divide by 4"),
        (UnetGenerator(downs=4), 24, "divide by 16"),
        (PatchDiscriminator(), 16, "at least 24 pixels"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(network, side, words):
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, side, side, 3)))

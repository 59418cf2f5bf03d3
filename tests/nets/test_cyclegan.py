"""The networks of CycleGAN: transposed convolutions are XLA's; outputs are PyTorch's.

Both have the same random weights.
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


@pytest.mark.slow
@pytest.mark.parametrize("size", [3, 4])
def test_up_convolution_is_the_transposed_one(size):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 7, 3)), jnp.float32)
    network = UpConv(4, size)
    params = randomised(network, x)
    output_padding = 1 if size == 3 else 0
    border = (size - 2, size - 2 + output_padding)
    convolved = jax.lax.conv_general_dilated(
        x,
        # A transposed convolution applies its kernel backwards.
        jnp.flip(params["kernel"], (0, 1)),
        (1, 1),
        (border, border),
        lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    expected = convolved + params["bias"]
    np.testing.assert_allclose(network.apply({"params": params}, x), expected, atol=1e-5)


def nchw(torch, x):
    return torch.from_numpy(np.asarray(x).transpose(0, 3, 1, 2).copy())


def nhwc(tensor):
    return tensor.numpy().transpose(0, 2, 3, 1)


def torch_state(torch, params, transposed=()):
    """Our weights as torch's; `transposed` names transposed convolutions, which torch has IOHW."""
    state = state_dict(params)
    for key in (f"{name}.weight" for name in transposed):
        state[key] = state[key].transpose(1, 0, 2, 3).copy()
    return {key: torch.from_numpy(array) for key, array in state.items()}


def assert_close(actual, expected):
    assert np.linalg.norm(actual - expected) / np.linalg.norm(expected) < 1e-4


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


def compare(torch, network, twin, params, x, transposed=()):
    state = torch_state(torch, params, transposed)
    twin.load_state_dict({key.removeprefix("model."): value for key, value in state.items()})
    with torch.no_grad():
        expected = nhwc(twin(nchw(torch, x)))
    output = network.apply({"params": params}, x)
    assert_close(np.asarray(output).reshape(expected.shape), expected)


@pytest.mark.parametrize("blocks", [6, 9])
def test_resnet_generator(blocks):
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
    nn, width = torch.nn, 8
    layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), nn.InstanceNorm2d(width), nn.ReLU()]
    for factor in (1, 2):
        layers += [
            nn.Conv2d(factor * width, 2 * factor * width, 3, stride=2, padding=1),
            nn.InstanceNorm2d(2 * factor * width),
            nn.ReLU(),
        ]
    layers += [residual(torch, 4 * width) for _ in range(blocks)]
    for wide in (4 * width, 2 * width):
        layers += [
            nn.ConvTranspose2d(wide, wide // 2, 3, stride=2, padding=1, output_padding=1),
            nn.InstanceNorm2d(wide // 2),
            nn.ReLU(),
        ]
    layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()]
    network = ResnetGenerator(3, width, blocks)
    x = jax.random.normal(jax.random.key(1), (2, 16, 24, 3))
    transposed = (f"model.{10 + blocks}", f"model.{13 + blocks}")
    compare(torch, network, nn.Sequential(*layers), randomised(network, x), x, transposed)


@pytest.mark.parametrize("count", [2, 3])
def test_patch_discriminator(count):
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
    nn, width = torch.nn, 8
    layers, last = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)], width
    for level in range(1, count + 1):
        wide = width * min(8, 2**level)
        layers += [
            nn.Conv2d(last, wide, 4, stride=2 if level < count else 1, padding=1),
            nn.InstanceNorm2d(wide),
            nn.LeakyReLU(0.2),
        ]
        last = wide
    layers += [nn.Conv2d(last, 1, 4, padding=1)]
    network = PatchDiscriminator(width, count)
    x = jax.random.normal(jax.random.key(1), (2, 32, 40, 3))
    compare(torch, network, nn.Sequential(*layers), randomised(network, x), x)


def test_unet_generator():
    """Against the recursion of pix2pix's own U-Net, written out."""
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
    functional, network = torch.nn.functional, UnetGenerator(3, 8, 3)
    x = jax.random.normal(jax.random.key(1), (2, 16, 16, 3))
    params = randomised(network, x)
    state = torch_state(torch, params, ("up.0", "up.1", "up.2"))

    def down(level, h):
        weight, bias = state[f"down.{level}.weight"], state[f"down.{level}.bias"]
        return functional.conv2d(h, weight, bias, stride=2, padding=1)

    def up(level, h):
        weight, bias = state[f"up.{level}.weight"], state[f"up.{level}.bias"]
        return functional.conv_transpose2d(torch.relu(h), weight, bias, stride=2, padding=1)

    def inner(level, h):
        below = down(level, functional.leaky_relu(h, 0.2))
        if level < 2:
            below = inner(level + 1, functional.instance_norm(below))
        return torch.cat([h, functional.instance_norm(up(level, below))], dim=1)

    expected = nhwc(torch.tanh(up(0, inner(1, down(0, nchw(torch, x))))))
    assert_close(np.asarray(network.apply({"params": params}, x)), expected)


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

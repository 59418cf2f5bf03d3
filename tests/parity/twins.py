"""A network of ours with the weights of its twin in torch, at random."""

import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.pretrained.torch_names import load_params

torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")


def nchw(x):
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def nhwc(tensor):
    return tensor.numpy().transpose(0, 2, 3, 1)


def randomised(make, *args, **options):
    """The module that `make` makes, no parameter of which is zero or one."""
    torch.manual_seed(0)
    twin = make(*args, **options).eval()
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return twin


def weights_of(network, inputs, twin, *, prefix=""):
    """The variables of `network` from its twin, every key of which is used."""
    state = {
        key if key.startswith(prefix) else prefix + key: value.numpy()
        for key, value in twin.state_dict().items()
    }
    return {"params": load_params(network, inputs, state, "the twin")}


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def assert_same(found, expected):
    """Up to 1e-4 of the deviation of what is expected."""
    assert found.shape == expected.shape
    error = float(np.abs(np.asarray(found) - expected).max())
    assert error <= 1e-4 * float(np.std(expected)), error / float(np.std(expected))


def as_arrays(tree):
    return {name: jnp.asarray(leaf) for name, leaf in tree.items()}

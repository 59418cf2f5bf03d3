"""The U-Net under diffusers' names answers as our own does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.nets import UNet
from ddib_jax.pretrained.diffusers_unet import to_diffusers

torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed (extra 'parity')")

CONFIGURATIONS = {
    "one head": UNet(model_channels=32, channel_mult=(1, 2), attention_resolutions=(4,)),
    "narrow heads": UNet(
        model_channels=32,
        channel_mult=(1, 2, 2),
        num_res_blocks=2,
        attention_resolutions=(8, 4),
        num_head_channels=16,
    ),
    "split first": UNet(
        model_channels=32,
        channel_mult=(1, 2),
        attention_resolutions=(8,),
        num_head_channels=32,
        use_new_attention_order=True,
    ),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_outputs_agree(name):
    network = CONFIGURATIONS[name]
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    time = np.asarray([3.5, 700.0], np.float32)
    params = jax.jit(network.init)(jax.random.key(0), jnp.asarray(x), jnp.asarray(time))["params"]
    noise = np.random.default_rng(1)
    params = jax.tree.map(
        lambda leaf: leaf + noise.normal(size=leaf.shape).astype(np.float32) * 0.1, params
    )
    options, state = to_diffusers(network, params, in_channels=3, size=8)
    twin = diffusers.UNet2DModel(**options)
    twin.load_state_dict({key: torch.tensor(value) for key, value in state.items()})
    with torch.no_grad():
        sample = twin(torch.from_numpy(x.transpose(0, 3, 1, 2)), torch.from_numpy(time)).sample
    expected = sample.numpy().transpose(0, 2, 3, 1)
    output = np.asarray(network.apply({"params": params}, jnp.asarray(x), jnp.asarray(time)))
    assert np.linalg.norm(output - expected) / np.linalg.norm(expected) < 1e-4


def test_what_diffusers_does_not_have_is_refused():
    with pytest.raises(ValueError, match="resblock_updown, learn_sigma and classes"):
        to_diffusers(UNet(resblock_updown=True), {}, in_channels=3, size=8)
    with pytest.raises(ValueError, match="num_head_channels in place of num_heads"):
        to_diffusers(UNet(num_heads=2), {}, in_channels=3, size=8)

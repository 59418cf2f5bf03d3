"""The U-Net of Stable Diffusion 1, 2 and XL computes what diffusers' does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.nets import UNet2DCondition
from tests.nets.small import COMPILED_QUICKLY
from tests.parity.twins import (
    as_arrays,
    assert_same,
    nchw,
    nhwc,
    noise,
    randomised,
    weights_of,
)

torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed (extra 'parity')")

TWO = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}
SD = TWO | {
    "block_out_channels": (4, 8),
    "layers_per_block": 1,
    "cross_attention_dim": 8,
    "norm_num_groups": 2,
}
SDXL = TWO | {
    "block_out_channels": (2, 4),
    "layers_per_block": 2,
    "attention_head_dim": (2, 4),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "transformer_layers_per_block": (1, 2),
    "projection_class_embeddings_input_dim": 80,
    "cross_attention_dim": 64,
    "norm_num_groups": 1,
}
THREE = {
    "block_out_channels": (8, 12, 20),
    "layers_per_block": (1, 2, 1),
    "cross_attention_dim": 8,
    "norm_num_groups": 2,
    "attention_head_dim": 3,  # divides 12 alone: other blocks are narrower than the map
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
}
DEEP = {
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 3),
    "attention_head_dim": (2, 3, 5),
    "use_linear_projection": True,
}
CONFIGURATIONS = {
    "as 1": SD,
    "as XL": SDXL,
    "three levels": THREE,
    "three levels, as XL": SDXL | THREE | DEEP,
    "other options": SD
    | {
        "act_fn": "gelu",
        "norm_eps": 1e-3,
        "downsample_padding": 0,
        "mid_block_scale_factor": 1.7,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "center_input_sample": True,
        "time_embedding_dim": 24,
        "resnet_time_scale_shift": "scale_shift",
        "upcast_attention": True,
    },
}


def told(network, *, length):
    """A condition of two images with texts of so many tokens."""
    spec = network.condition_spec()
    shapes = {name: leaf.shape for name, leaf in spec.items()}
    shapes["text"] = (length, shapes["text"][1])
    cond = {name: noise(2, *shape, seed=1) for name, shape in shapes.items()}
    if "time_ids" in cond:
        cond["time_ids"] = np.float32([[512, 512, 0, 0, 512, 512], [300, 700, 5, 90, 1024, 768]])
    return cond


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_it_agrees(name):
    options = CONFIGURATIONS[name]
    network = UNet2DCondition(**options)
    twin = randomised(diffusers.UNet2DConditionModel, **options)
    x, time, cond = noise(2, 8, 12, 4), np.float32([3.0, 700.5]), told(network, length=7)
    inputs = (jnp.asarray(x), jnp.asarray(time), as_arrays(cond))
    variables = weights_of(network, inputs, twin)
    extra = {
        theirs: torch.from_numpy(cond[ours])
        for ours, theirs in {"pooled": "text_embeds", "time_ids": "time_ids"}.items()
        if ours in cond
    }
    with torch.no_grad():
        texts = torch.from_numpy(cond["text"])
        expected = twin(nchw(x), torch.from_numpy(time), texts, added_cond_kwargs=extra).sample
    apply = jax.jit(network.apply, compiler_options=COMPILED_QUICKLY)
    assert_same(apply(variables, *inputs), nhwc(expected))

"""The networks of published checkpoints have the parameters that diffusers and transformers give
them: the same names, shapes and number. Nothing is computed, and no weight is made.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from ddib_jax.nets import AutoencoderKL, CLIPText, UNet2DCondition, example_condition
from ddib_jax.pretrained.torch_names import from_torch, key_of

torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed (extra 'parity')")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed (extra 'parity')"
)

UNETS = {
    "1.5": ({"cross_attention_dim": 768}, 859_520_964),
    "2.1": (
        {
            "cross_attention_dim": 1024,
            "attention_head_dim": (5, 10, 20, 20),
            "use_linear_projection": True,
            "upcast_attention": True,
        },
        865_910_724,
    ),
    "XL": (
        {
            "block_out_channels": (320, 640, 1280),
            "down_block_types": ("DownBlock2D", *("CrossAttnDownBlock2D",) * 2),
            "up_block_types": (*("CrossAttnUpBlock2D",) * 2, "UpBlock2D"),
            "cross_attention_dim": 2048,
            "attention_head_dim": (5, 10, 20),
            "transformer_layers_per_block": (1, 2, 10),
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
        2_567_463_684,
    ),
}
ENCODERS = {
    "ViT-L": (
        {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
        123_060_480,
    ),
    "H": (
        {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_attention_heads": 16,
            "num_hidden_layers": 23,
            "hidden_act": "gelu",
        },
        340_387_840,
    ),
    "bigG": (
        {
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_attention_heads": 20,
            "num_hidden_layers": 32,
            "hidden_act": "gelu",
            "projection_dim": 1280,
        },
        694_659_840,
    ),
}


def assert_twins(network, inputs, make, count, *, prefix=""):
    shapes = jax.eval_shape(network.init, jax.random.key(0), *inputs)["params"]
    paths = flatten_dict(shapes, sep="/")
    ours = {key_of(path): leaf.shape for path, leaf in paths.items()}
    words = {key_of(path): path.rpartition("/")[2] for path in paths}
    with torch.device("meta"):
        theirs = {prefix + key: tuple(value.shape) for key, value in make().state_dict().items()}
    assert ours.keys() == theirs.keys()
    laid_out = lambda key, shape: from_torch(words[key], np.broadcast_to(0.0, shape)).shape
    assert ours == {key: laid_out(key, shape) for key, shape in theirs.items()}
    assert sum(int(np.prod(shape)) for shape in ours.values()) == count


@pytest.mark.parametrize("name", UNETS)
def test_unets(name):
    options, count = UNETS[name]
    network = UNet2DCondition(**options)
    inputs = (jnp.zeros((1, 64, 64, 4)), jnp.zeros(1), example_condition(network))
    assert_twins(network, inputs, lambda: diffusers.UNet2DConditionModel(**options), count)


def test_the_autoencoder():
    options = {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
    }
    inputs = (jnp.zeros((1, 64, 64, 3)),)
    network = AutoencoderKL(**options)
    assert_twins(network, inputs, lambda: diffusers.AutoencoderKL(**options), 83_653_863)


@pytest.mark.parametrize("name", ENCODERS)
def test_text_encoders(name):
    options, count = ENCODERS[name]
    projected = "projection_dim" in options
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    make = lambda: kind(transformers.CLIPTextConfig(**options))
    # transformers 5 names a plain encoder's parameters without this prefix.
    prefix = "" if projected else "text_model."
    inputs = (jnp.zeros((1, 77), jnp.int32),)
    assert_twins(CLIPText(**options), inputs, make, count, prefix=prefix)

"""Autoencoders compute what diffusers' do, and a codec scales codes as its pipelines do."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.nets import AutoencoderKL, VQModel
from tests.nets.small import COMPILED_QUICKLY
from tests.parity.twins import (
    assert_same,
    nchw,
    nhwc,
    noise,
    randomised,
    weights_of,
)

torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed (extra 'parity')")


def levels(*widths):
    return {
        "block_out_channels": widths,
        "down_block_types": ("DownEncoderBlock2D",) * len(widths),
        "up_block_types": ("UpDecoderBlock2D",) * len(widths),
        "norm_num_groups": 2,
    }


def both_ways(network, *others):
    """One program of the methods named, `encode` and `decode`: (variables, images, codes)."""

    @functools.partial(jax.jit, compiler_options=COMPILED_QUICKLY)
    def run(variables, x, code):
        apply = lambda value, method: network.apply(variables, value, method=method)
        return (*(apply(x, method) for method in (*others, "encode")), apply(code, "decode"))

    return run


GAUSSIAN = {
    "as diffusers tests it": levels(4, 8),
    "three levels, two layers": levels(4, 8, 12) | {"layers_per_block": 2, "latent_channels": 3},
    "other options": levels(4, 8)
    | {
        "use_quant_conv": False,
        "use_post_quant_conv": False,
        "mid_block_add_attention": False,
        "act_fn": "gelu",
        "in_channels": 1,
        "out_channels": 2,
    },
}


@pytest.mark.parametrize("name", GAUSSIAN)
def test_gaussian_codes_agree(name):
    options = GAUSSIAN[name]
    network = AutoencoderKL(**options)
    twin = randomised(diffusers.AutoencoderKL, **options)
    x = noise(2, 8, 12, options.get("in_channels", 3))
    variables = weights_of(network, (jnp.asarray(x),), twin)
    with torch.no_grad():
        posterior = twin.encode(nchw(x)).latent_dist
        mean, log_variance = nhwc(posterior.mean), nhwc(posterior.logvar)
        image = nhwc(twin.decode(posterior.mean).sample)
    moments, code, decoded = both_ways(network, "moments")(variables, x, mean)
    for found, expected in zip(moments, (mean, log_variance), strict=True):
        assert_same(found, expected)
    assert_same(code, mean)
    assert_same(decoded, image)


QUANTISED = {
    "as diffusers tests it": levels(4, 8),
    "other options": levels(4, 8)
    | {"num_vq_embeddings": 20, "vq_embed_dim": 4, "latent_channels": 5, "layers_per_block": 2},
}


@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_codes_agree(name):
    options = QUANTISED[name]
    network = VQModel(**options)
    twin = randomised(diffusers.VQModel, **options)
    x = noise(2, 8, 12, 3)
    variables = weights_of(network, (jnp.asarray(x),), twin)
    with torch.no_grad():
        latents = twin.encode(nchw(x)).latents
        image = nhwc(twin.decode(latents).sample)
    code = nhwc(latents)
    found, decoded = both_ways(network)(variables, x, code)
    assert_same(found, code)
    assert_same(decoded, image)
    # Many entries of the book are used, or the choice of one would not have been tested.
    book = np.asarray(variables["params"]["quantize"]["embedding"]["embedding"])
    nearest = ((code[..., None, :] - book) ** 2).sum(-1).argmin(-1)
    assert len(np.unique(nearest)) > 3

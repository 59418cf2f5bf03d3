"""An autoencoder as a codec: codes scaled as diffusers' pipelines scale them, and no new traces."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from ddib_jax.codecs import AutoencoderCodec
from ddib_jax.nets import AutoencoderKL
from ddib_jax.types import Codec
from tests.nets.small import COMPILED_QUICKLY, filled

IMAGES = jax.random.normal(jax.random.key(1), (2, 4, 6, 3))
CODES = jax.random.normal(jax.random.key(2), (2, 4, 6, 2))
MEAN, STD = jnp.asarray([0.1, -0.2]), jnp.asarray([0.5, 2.0])


class Linear(nn.Module):
    """An autoencoder of one linear map each way, in 16 bits."""

    def setup(self):
        self.inward, self.outward = nn.Dense(2, dtype="bfloat16"), nn.Dense(3, dtype="bfloat16")

    def __call__(self, x):
        return self.decode(self.encode(x))

    def encode(self, x):
        return self.inward(x)

    def decode(self, z):
        return self.outward(z)


def codec_of(**options):
    params = filled(Linear(), IMAGES)["params"]
    return AutoencoderCodec(params, network=Linear(), image_shape=(4, 6, 3), **options)


@pytest.mark.parametrize(
    ("options", "scaled"),
    [
        ({}, lambda z: z),
        ({"scaling_factor": 0.18215}, lambda z: 0.18215 * z),
        ({"scaling_factor": 1.5, "shift_factor": 0.06}, lambda z: (z - 0.06) * 1.5),
        (
            {"scaling_factor": 0.5, "latents_mean": MEAN, "latents_std": STD},
            lambda z: (z - MEAN) * 0.5 / STD,
        ),
    ],
    ids=["not at all", "as of Stable Diffusion 1", "shifted", "by channels"],
)
def test_codes_are_scaled(options, scaled):
    codec = codec_of(**options)
    apply = lambda x, method: codec.network.apply({"params": codec.params}, x, method=method)
    z, image = apply(IMAGES, "encode"), apply(CODES, "decode")
    code, back = codec.encode(IMAGES), codec.decode(scaled(CODES))
    assert z.dtype == jnp.bfloat16
    assert code.dtype == back.dtype == jnp.float32
    np.testing.assert_allclose(code, scaled(z.astype(jnp.float32)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(back, image.astype(jnp.float32), rtol=0.02, atol=0.02)


def test_images_are_not_clipped():
    codec = codec_of()
    assert float(jnp.abs(codec.decode(100 * CODES)).max()) > 10


def test_new_weights_and_scales_do_not_trace_anew():
    traces = []

    @jax.jit
    def run(codec):
        traces.append(1)
        return codec.encode(IMAGES)

    first, second = (run(codec_of(scaling_factor=scale)) for scale in (0.5, 1.0))
    assert len(traces) == 1
    np.testing.assert_allclose(second, 2 * first, rtol=1e-5)


@pytest.mark.slow
def test_an_autoencoder_is_one():
    network = AutoencoderKL(
        block_out_channels=(4, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=2,
    )
    params = filled(network, IMAGES)["params"]
    codec = AutoencoderCodec(params, 0.5, network=network, image_shape=(4, 6, 3))
    assert isinstance(codec, Codec)

    @functools.partial(jax.jit, compiler_options=COMPILED_QUICKLY)
    def run(codec):
        code = codec.encode(IMAGES)
        return code, codec.decode(code), network.apply({"params": codec.params}, IMAGES)

    code, image, through = run(codec)
    assert code.shape == (2, 2, 3, 4)
    assert image.shape == (2, *codec.image_shape)
    np.testing.assert_allclose(image, through, rtol=1e-3, atol=1e-4)

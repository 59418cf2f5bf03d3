"""A latent model out of its parts, whatever files they come from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax.codecs import AutoencoderCodec
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets import AutoencoderKL, UNet2D, UNet2DCondition, VQModel, example_condition
from ddib_jax.pretrained.torch_names import load_params
from ddib_jax.types import NoiseSchedule, Preconditioning


class Part(NamedTuple):
    """A network without weights, these under its own names, and their place, for errors."""

    network: Any
    weights: Mapping[str, np.ndarray]
    place: Path


def latent_model(
    unet: Part,
    autoencoder: Part,
    noise: tuple[NoiseSchedule, Preconditioning],
    *,
    scaling: Mapping[str, Any],
    sample_size: tuple[int, int],
    image_size: tuple[int, int] | None,
    dtype: str | None,
) -> DiffusionModel:
    """The diffusion model of codes, with its autoencoder as the codec.

    scaling: fields of `AutoencoderCodec`. sample_size: height and width of codes where image_size,
    those of images, is None. dtype: of the weights; None: as they are stored. Raises ValueError for
    a size that the networks cannot halve and for weights that are not the networks'.
    """
    network: UNet2D | UNet2DCondition = unet.network
    vae: AutoencoderKL | VQModel = autoencoder.network
    multiple = vae.factor * 2 ** (len(network.block_out_channels) - 1)
    height, width = image_size or (side * vae.factor for side in sample_size)
    if height < multiple or width < multiple or height % multiple or width % multiple:
        raise ValueError(
            f"Images of {height} x {width} do not go through {unet.place}; its networks halve them,"
            f" so height and width are multiples of {multiple}."
        )
    shape = (height // vae.factor, width // vae.factor, network.in_channels)
    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    image = jax.ShapeDtypeStruct((1, height, width, vae.in_channels), jnp.float32)
    # Time 1 and not 0: Fourier embeddings take its logarithm.
    inputs = (x, jnp.ones(1), example_condition(network))
    schedule, precondition = noise
    params = load_params(network, inputs, unet.weights, unet.place, dtype=dtype)
    codec = AutoencoderCodec(
        load_params(vae, (image,), autoencoder.weights, autoencoder.place, dtype=dtype),
        network=vae,
        image_shape=(height, width, vae.in_channels),
        **scaling,
    )
    return DiffusionModel(
        params, precondition, codec=codec, network=network, schedule=schedule, data_shape=shape
    )

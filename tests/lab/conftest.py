"""A lab over two tiny models of 8 x 8 pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ddib_jax import preconditioning, pretrained, schedules
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.lab import Lab, open_lab
from ddib_jax.nets import UNet


def tiny_model(seed, size=8):
    network = UNet(
        out_channels=3,
        model_channels=32,
        channel_mult=(1,),
        attention_resolutions=(),
        patch_size=2,
    )
    params = jax.jit(network.init)(
        jax.random.key(seed), jnp.zeros((1, size, size, 3)), jnp.zeros(1)
    )["params"]
    return DiffusionModel(
        params,
        preconditioning.EDM(0.5),
        network=network,
        schedule=schedules.EDM(),
        data_shape=(size, size, 3),
    )


@pytest.fixture(scope="package")
def folder(tmp_path_factory):
    """Models here and there, and three pictures."""
    folder = tmp_path_factory.mktemp("lab")
    for seed, name in enumerate(("here", "there")):
        pretrained.save_model(folder / name, tiny_model(seed), facts={"data": {}, "training": {}})
    (folder / "pictures").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    for index, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / "pictures" / f"{index}.png")
    return folder


@pytest.fixture(scope="package")
def origin(folder):
    return open_lab(str(folder / "here"), str(folder / "there"), words=(str(folder / "pictures"),))


@pytest.fixture(scope="package")
def lab(origin):
    return Lab(origin, quick=2)

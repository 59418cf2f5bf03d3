"""The weights of LPIPS: AlexNet's, and those by which its layers count."""

from pathlib import Path

import jax
import jax.numpy as jnp

from ddib_jax.nets.alexnet import LPIPS
from ddib_jax.pretrained.torch_files import open_weights
from ddib_jax.pretrained.torch_names import load_params
from ddib_jax.types import Params


def load_lpips(alexnet: str | Path, heads: str | Path) -> tuple[Params, LPIPS]:
    """The weights of LPIPS, float32, and its network.

    alexnet: torchvision's alexnet-owt-7be5be79.pth, whose classifier is not used. heads: of
    version 0.1, lpips/weights/v0.1/alex.pth in the package lpips (PyPI, BSD). Raises
    FileNotFoundError where there is no such file and ValueError for weights of another network.
    """
    convolutions, layers = open_weights(alexnet), open_weights(heads)
    known = {name: convolutions[name] for name in convolutions if name.startswith("features.")}
    network, x = LPIPS(), jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    weights = known | dict(layers)
    return load_params(network, (x, x), weights, f"{alexnet} and {heads}"), network

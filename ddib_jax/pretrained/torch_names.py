"""Parameters of a linen network under torch's names and in torch's layouts, and back.

A network whose submodules bear the names of its torch twin has the twin's state dict: the path of a
parameter, joined with dots, is its key, and only the last word and the order of axes differ.
"""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from ddib_jax.pretrained.shapes import parameter_shapes
from ddib_jax.types import Params

_LAST_WORDS = {"kernel": "weight", "scale": "weight", "embedding": "weight"}
_FAULTS_NAMED = 5


def key_of(path: str) -> str:
    """`input_blocks.1.0/in_layers.0/scale` -> `input_blocks.1.0.in_layers.0.weight`."""
    *modules, word = path.split("/")
    return ".".join([*modules, _LAST_WORDS.get(word, word)])


def from_torch(word: str, array: np.ndarray) -> np.ndarray:
    """An array of a state dict in linen's layout; `word` is the last one of the parameter's path.

    Kernels of convolutions OIHW -> HWIO, of linear layers OI -> IO, and of convolutions of width 1
    over positions OI1 -> IO; all else stays.
    """
    if word != "kernel":
        return array
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    flat = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    return flat.T


def to_torch(word: str, leaf: np.ndarray, *, positions: bool = False) -> np.ndarray:
    """The inverse of `from_torch`, contiguous.

    positions: the layer is one that torch has as a convolution of width 1 over positions.
    """
    if word == "kernel":
        leaf = leaf.transpose(3, 2, 0, 1) if leaf.ndim == 4 else leaf.T
        leaf = leaf[..., None] if positions else leaf
    return np.ascontiguousarray(leaf)


def load_params(
    network: Any,
    inputs: tuple,
    weights: Mapping[str, np.ndarray],
    source: str | Path,
    *,
    unused: Collection[str] = (),
    dtype: str | None = "float32",
) -> Params:
    """The parameters of `network` from a state dict, in `dtype`, or as they are stored for None.

    Each tensor is read, laid out and let go before the next one, so that the memory needed is that
    of the parameters. inputs: what the network is initialised on. source: where the weights are
    from, for errors. unused: keys that may be there and mean nothing. Raises ValueError that names
    the keys that are missing, unknown, of another shape or not finite.
    """
    expected = parameter_shapes(network, inputs, f"the options of {source} describe")
    paths = {key_of(path): path for path in expected}
    faults = [f"{key} is missing" for key in sorted(paths.keys() - set(weights))]
    faults += [f"{key} is unknown" for key in sorted(set(weights) - paths.keys() - set(unused))]
    params = {}
    for key, path in () if faults else paths.items():
        stored = weights[key]
        array = from_torch(path.rpartition("/")[2], stored)
        if array.shape == (1, 1, *expected[path].shape):
            array = array[0, 0]  # a linear layer that was stored as a convolution of width 1
        if array.shape != expected[path].shape:
            faults.append(
                f"{key} is {stored.shape}, which makes {array.shape} and not {expected[path].shape}"
            )
            continue
        array = np.asarray(array, None if dtype is None else jnp.dtype(dtype))
        if not np.isfinite(array).all():
            faults.append(f"{key} is not finite")
        params[path] = jnp.array(array)
    if faults:
        unnamed = len(faults) - _FAULTS_NAMED
        more = f"; and {unnamed} more" if unnamed > 0 else ""
        raise ValueError(
            f"The weights of {source} are not those that its options describe:"
            f" {'; '.join(faults[:_FAULTS_NAMED])}{more}."
        )
    return unflatten_dict(params, sep="/")


def state_dict(params: Params, *, positions: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """Parameters as a state dict, float32, in torch's names and layouts.

    positions: endings of the names of layers that torch has as convolutions over positions.
    """
    state, endings = {}, tuple(positions)
    for path, leaf in flatten_dict(params, sep="/").items():
        module, _, word = path.rpartition("/")
        over_positions = bool(endings) and module.endswith(endings)
        array = np.asarray(leaf, np.float32)
        state[key_of(path)] = to_torch(word, array, positions=over_positions)
    return state

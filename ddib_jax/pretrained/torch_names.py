"""Parameters of a linen network under torch's names and in torch's layouts, and back.

A network whose submodules bear the names of its torch twin has the twin's state dict: the path of a
parameter, joined with dots, is its key, and only the last word and the order of axes differ.
"""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from ddib_jax.types import Params

_WORDS = {"kernel": "weight", "scale": "weight", "embedding": "weight"}
_SHOWN = 5


def key_of(path: str) -> str:
    """`input_blocks.1.0/in_layers.0/scale` -> `input_blocks.1.0.in_layers.0.weight`."""
    *modules, word = path.split("/")
    return ".".join([*modules, _WORDS.get(word, word)])


def from_torch(word: str, array: np.ndarray) -> np.ndarray:
    """An array of a state dict in linen's layout: convolutions OIHW -> HWIO, linear layers and
    convolutions of width 1 over positions OI(1) -> IO.
    """
    if word != "kernel":
        return array
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    flat = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    return flat.T


def to_torch(word: str, leaf: np.ndarray, *, positions: bool = False) -> np.ndarray:
    """The inverse of `from_torch`; `positions` for a layer that torch has as a convolution over
    positions.
    """
    if word == "kernel":
        leaf = leaf.transpose(3, 2, 0, 1) if leaf.ndim == 4 else leaf.T
        leaf = leaf[..., None] if positions else leaf
    return np.ascontiguousarray(leaf)


def load_params(
    network: Any,
    inputs: tuple,
    weights: Mapping[str, np.ndarray],
    where: str | Path,
    unused: Collection[str] = (),
) -> Params:
    """The parameters of `network` from a state dict, float32, each tensor read, laid out and let go
    before the next.

    inputs: what the network is initialised on. unused: keys that may be there and mean nothing.
    Raises ValueError that names keys that are missing, unknown or of another shape, and weights
    that are not finite.
    """
    try:
        expected = flatten_dict(
            jax.eval_shape(network.init, jax.random.key(0), *inputs)["params"], sep="/"
        )
    except (
        Exception
    ) as error:  # whatever the network's own modules raise on options that do not go together
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"The network that the options of {where} describe cannot be built: {reason}"
        ) from error
    keys = {key_of(path): path for path in expected}
    faults = [f"{key} is missing" for key in sorted(keys.keys() - set(weights))]
    faults += [f"{key} is unknown" for key in sorted(set(weights) - keys.keys() - set(unused))]
    loaded = {}
    for key, path in () if faults else keys.items():
        array = from_torch(path.rpartition("/")[2], weights[key])
        if array.shape != expected[path].shape:
            faults.append(
                f"{key} is {weights[key].shape}, which makes {array.shape} and not"
                f" {expected[path].shape}"
            )
            continue
        loaded[path] = jnp.array(array, jnp.float32)
        if not bool(jnp.isfinite(loaded[path]).all()):
            faults.append(f"{key} is not finite")
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise ValueError(
            f"The weights of {where} are not those that its options describe:"
            f" {'; '.join(faults[:_SHOWN])}{more}."
        )
    return unflatten_dict(loaded, sep="/")


def state_dict(params: Params, positions: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """Parameters as a state dict, float32; `positions` ends the names of layers that torch has as
    convolutions over positions.
    """
    made, endings = {}, tuple(positions)
    for path, leaf in flatten_dict(params, sep="/").items():
        module, _, word = path.rpartition("/")
        made[key_of(path)] = to_torch(
            word, np.asarray(leaf, np.float32), positions=bool(endings) and module.endswith(endings)
        )
    return made

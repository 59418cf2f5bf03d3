"""How exactly a network computes: the policy of its products and of what it passes on."""

import contextlib
from contextlib import AbstractContextManager
from typing import Any, Literal, cast

import jax
from flax import linen as nn

from ddib_jax.types import Network

Precision = Literal["float32", "tf32", "bfloat16"]
"""How the products of a network are computed.

float32: exactly, on every device. tf32: with factors of 10 bits where a GPU has such products, in
three passes of bfloat16 on a TPU, exactly on a CPU. bfloat16: with factors of 7 bits, and with
activations of bfloat16 between the layers. Sums are of float32 in all three. Where none is named
the network has its own type of activations, and the device its own products: those of a GPU are
then tf32, those of a TPU bfloat16.
"""

_PRODUCTS = {"float32": "float32", "tf32": "tensorfloat32", "bfloat16": "bfloat16"}


def as_precision(name: str | None) -> Precision | None:
    """The precision of this name, or None; raises ValueError, with the list, for an unknown one."""
    if name is not None and name not in _PRODUCTS:
        raise ValueError(f"Unknown precision '{name}'; known are {', '.join(_PRODUCTS)}.")
    return cast(Precision | None, name)


def products(precision: Precision | None) -> AbstractContextManager[Any]:
    """Products that are traced within it are computed in this precision; None: the device's own."""
    if precision is None:
        return contextlib.nullcontext()
    return jax.default_matmul_precision(_PRODUCTS[precision])


def in_precision(network: Network, precision: Precision | None) -> Network:
    """The network with activations of bfloat16 or float32; None, or a network without: as it is.

    A network has a say in its activations where it is a module with a field `dtype`.
    """
    if precision is None or not isinstance(network, nn.Module) or not hasattr(network, "dtype"):
        return network
    return network.clone(dtype="bfloat16" if precision == "bfloat16" else "float32")

"""The parameters that a network has, by name and shape, without computing them."""

from typing import Any, cast

import jax
from flax.traverse_util import flatten_dict


def parameter_shapes(
    network: Any, inputs: tuple, description: str
) -> dict[str, jax.ShapeDtypeStruct]:
    """Path of a parameter, joined with slashes -> its shape.

    inputs: what the network is initialised on, arrays or their shapes. description: what describes
    the network, the subject and verb of the error: "model.json describes". Raises ValueError where
    the network cannot be built.
    """
    try:
        variables = jax.eval_shape(network.init, jax.random.key(0), *inputs)
    except Exception as error:
        # Options that do not go together raise whatever the network's own modules raise.
        raise ValueError(
            f"The network that {description} cannot be built: {first_line(error)}"
        ) from error
    return cast(dict[str, jax.ShapeDtypeStruct], flatten_dict(variables["params"], sep="/"))


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]

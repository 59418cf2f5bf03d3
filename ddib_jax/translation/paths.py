"""The states of a few images on their way over a bridge."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ddib_jax.bridge import Bridge
from ddib_jax.solvers import OverGrid
from ddib_jax.types import Images


def path(bridge: Bridge, x: Images, *, rising: bool) -> Float[np.ndarray, "k n ..."]:
    """`Bridge.path` of data or latents [n ...] in one program for both ways, on the host.

    All k states of all images are in memory at once: for few of them. Raises ValueError for a
    solver that has no states between the ends of its grid.
    """
    return np.asarray(_path(bridge, jnp.asarray(x), rising=jnp.asarray(rising)))


def check_path(bridge: Bridge) -> None:
    """Raise ValueError where `path` will: for a solver without states between a grid's ends."""
    if isinstance(bridge.solver, OverGrid):
        raise ValueError(
            f"{type(bridge.solver).__name__} has no states between the ends of a grid; take another"
            " solver."
        )


_path = jax.jit(Bridge.path)

"""Tables over noise levels: the entry that is nearest."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddib_jax.types import Scalar


def nearest_level(levels: Float[Array | np.ndarray, " n"], sigma: Scalar) -> Int[Array, ""]:
    """The index of the noise level that is nearest in log sigma, of levels [n] in any order."""
    return jnp.argmin(jnp.abs(jnp.log(jnp.asarray(levels)) - jnp.log(sigma)))

"""Direct inversion (Ju et al. 2024): the source's row is the path of its encoding."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.bridge import Bridge
from ddib_jax.bridge.checks import as_floats
from ddib_jax.bridge.couplings import Coupling, Rows
from ddib_jax.types import Data, Denoiser, Latent, Scalar, VectorField


@struct.dataclass
class Clamped:
    """A coupling whose source's row is set back on a stored path before every look at it.

    For solvers whose way down is not their way up, where the source's own row would drift away from
    the image that was encoded. path [n b ...]: the row's states at the ascending noise levels
    `levels` [n], between which it is interpolated linearly in sigma. It holds a path, which the
    coupling alone does not, and belongs to these b images; with an exact solver nothing is gained.
    """

    coupling: Coupling
    path: Float[Array | np.ndarray, "n b ..."]
    levels: Float[Array | np.ndarray, " n"]

    @classmethod
    def of(cls, coupling: Coupling, source: Bridge, image: Data) -> "Clamped":
        """On the path of images [b h w c] up the source's bridge."""
        return cls(coupling, encoding_path(source, image), source.sigmas)

    def check(self, shape: tuple[int, ...]) -> None:
        """As the coupling's."""
        self.coupling.check(shape)

    def start(self, source: Latent, target: Latent) -> Rows:
        """As the coupling's."""
        return self.coupling.start(source, target)

    @property
    def after(self) -> Callable[[Rows], Rows] | None:
        """As the coupling's."""
        return self.coupling.after

    def result(self, rows: Rows) -> Data:
        """As the coupling's."""
        return self.coupling.result(rows)

    def field(self, source: Denoiser, target: Denoiser) -> VectorField:
        """The coupling's slope, with the source's row on the path.

        Raises ValueError for another number of images than the path has.
        """
        along = self.coupling.field(source, target)

        def slope(sigma: Scalar, rows: Rows) -> Rows:
            if self.path.shape[1:] != rows[:, 0].shape:
                raise ValueError(
                    f"The path is of {self.path.shape[1]} images, and {len(rows)} are edited; take"
                    " the path of these images."
                )
            return along(sigma, rows.at[:, 0].set(self._at(sigma)))

        return slope

    def _at(self, sigma: Scalar) -> Array:
        path, levels = jnp.asarray(self.path), jnp.asarray(self.levels)
        below = jnp.clip(jnp.searchsorted(levels, sigma, side="right") - 1, 0, len(levels) - 2)
        share = (sigma - levels[below]) / (levels[below + 1] - levels[below])
        return path[below] + share * (path[below + 1] - path[below])


def encoding_path(bridge: Bridge, image: Data) -> Float[Array, "n b ..."]:
    """The states x(sigma) of images [b h w c] up a bridge, at each of its noise levels.

    Raises ValueError for a solver that has no states between the ends of a grid.
    """
    data = bridge.model.to_data(jnp.asarray(as_floats(image, "images")))
    path = bridge.path(data, rising=True)
    scale = jnp.sqrt(1 + bridge.sigmas**2).at[0].set(1)  # the data are not scaled
    return path * scale.reshape(-1, *[1] * data.ndim)

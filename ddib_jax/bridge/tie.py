"""Two bridges crossed together, so that a translation keeps the broad colours of its source."""

from typing import Any

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.bridge.bridge import Bridge
from ddib_jax.diffusion import probability_flow
from ddib_jax.solvers import is_implicit, odeint
from ddib_jax.types import Image, Latent, VectorField


@struct.dataclass
class Tie:
    """Holds the lowest spatial frequencies of a translation x to those of its source y, down from the latent to the noise level `release`.

    dy/dsigma = v_source(y), dx/dsigma = v_target(x) + P (v_source(y) - v_target(x)): what P keeps moves as the source's ODE has it, the rest as the
    target's. P projects every channel on its `frequencies` x `frequencies` lowest cosines (DCT-II), the first of which is the mean. It is one ODE of the pair (y, x), so
    that pair, and not x alone, is led back to the latent. No noise is drawn and nothing is trained; it costs the source's evaluations a second time. The replacement of
    low frequencies is that of ILVR (Choi et al. 2021), which ties noise to an image; here two ODEs are tied. Tied to the end, what the target's detail does not
    carry shows as a faint haze; released earlier, the target's ODE clears it.
    """

    frequencies: int = struct.field(pytree_node=False, default=1)
    release: Any = 0.0

    def decode(self, source: Bridge, target: Bridge, latent: Latent, perturbed: Latent | None = None) -> Image:
        """The translation [b h w c] of latents [b h w c] of unit variance, or of these once perturbed, on the target's grid by its solver.

        Raises ValueError for points, for more frequencies than pixels, and for an implicit solver.
        """
        height, width = self._size(latent.shape[1:])
        if is_implicit(target.solver):
            raise ValueError(f"A tie is crossed by explicit solvers, not by {type(target.solver).__name__}.")
        start = latent if perturbed is None else perturbed + self._low(latent - perturbed, height, width)
        pair = jnp.concatenate([latent, start]) * jnp.sqrt(1 + target.sigmas[-1] ** 2)
        return jnp.split(odeint(target.solver, self._flow(source, target, height, width), pair, target.sigmas[::-1]), 2)[1]

    def _flow(self, source: Bridge, target: Bridge, height: Array, width: Array) -> VectorField:
        ours, theirs = probability_flow(source.model), probability_flow(target.model)

        def flow(sigma, pair):
            y, x = jnp.split(pair, 2)
            here, there = ours(sigma, y), theirs(sigma, x)
            tied = jnp.asarray(sigma >= self.release, x.dtype)
            return jnp.concatenate([here, there + tied * self._low(here - there, height, width)])

        return flow

    def _size(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """The projections of rows and of columns."""
        if len(shape) != 3 or not 1 <= self.frequencies <= min(shape[:2]):
            raise ValueError(f"{self.frequencies} frequencies of {' x '.join(map(str, shape))} cannot be tied; give images, and from 1 up to their side.")
        return projection(shape[0], self.frequencies), projection(shape[1], self.frequencies)

    def _low(self, x: Float[Array, "b h w c"], height: Array, width: Array) -> Float[Array, "b h w c"]:
        return jnp.einsum("ij,bjkc,kl->bilc", height.astype(x.dtype), x, width.astype(x.dtype))


def projection(size: int, count: int) -> Float[Array, "n n"]:
    """The orthogonal projection of rows of `size` values on their `count` lowest cosines (DCT-II)."""
    places = (jnp.arange(size) + 0.5) / size
    waves = jnp.cos(jnp.pi * jnp.arange(count)[:, None] * places)
    waves = waves / jnp.linalg.norm(waves, axis=1, keepdims=True)
    return waves.T @ waves

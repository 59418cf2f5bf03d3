"""Two bridges crossed together, so that a translation keeps the broad colours of its source."""

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Float

from ddib_jax.bridge.bridge import Bridge
from ddib_jax.diffusion import probability_flow
from ddib_jax.solvers import is_implicit, odeint
from ddib_jax.types import Image, Latent, Scalar


@struct.dataclass
class Tie:
    """Holds the lowest spatial frequencies of a translation x to those of its source y on their way
    down from the latent.

    dy/dsigma = v_source(y), dx/dsigma = v_target(x) + P (v_source(y) - v_target(x)): what P keeps
    moves as the source's ODE has it, the rest as the target's. P projects every channel on its
    `frequencies` x `frequencies` lowest cosines (DCT-II), the first of which is the mean. It is one
    ODE of the pair (y, x), so that pair, and not x alone, is led back to the latent. No noise is
    drawn and nothing is trained; it costs the source's evaluations a second time. The replacement
    of low frequencies is that of ILVR (Choi et al. 2021), which ties noise to an image; here two
    ODEs are tied.

    release: the noise level that the tie is held down to, or rather the last one of the grid above
    it; from there the target's ODE goes on by itself, with a fresh start of its solver, and clears
    the haze that shades leave which no detail carries. None holds it to the end.
    """

    frequencies: int = struct.field(pytree_node=False, default=1)
    release: Scalar | float | None = None

    def decode(
        self, source: Bridge, target: Bridge, latent: Latent, perturbed: Latent | None = None
    ) -> Image:
        """The translation [b h w c] of latents [b h w c] of unit variance, or of these once
        perturbed, on the target's grid by its solver.

        Both bridges end at one noise level (`DDIB.check_tie`). Raises ValueError for points, for
        more frequencies than pixels, and for an implicit solver.
        """
        self.check(target)
        perturbed = latent if perturbed is None else perturbed
        height, width = (
            jnp.asarray(projection(size, self.frequencies), latent.dtype)
            for size in latent.shape[1:3]
        )
        low = lambda x: jnp.einsum("ij,bjkc,kl->bilc", height, x, width)
        levels = target.sigmas[::-1]
        pair = [latent, perturbed + low(latent - perturbed)]
        held = None
        if self.release is not None:
            held = jnp.maximum(jnp.sum(levels >= self.release) - 1, 0)
            pair[1] = jnp.where(held > 0, pair[1], perturbed)
        ours, theirs = probability_flow(source.model), probability_flow(target.model)

        def together(sigma: Scalar, pair: Latent) -> Latent:
            y, x = jnp.split(pair, 2)
            here, there = ours(sigma, y), theirs(sigma, x)
            return jnp.concatenate([here, there + low(here - there)])

        x = jnp.split(
            odeint(
                target.solver,
                together,
                jnp.concatenate(pair) * jnp.sqrt(1 + levels[0] ** 2),
                levels,
                steps=held,
            ),
            2,
        )[1]
        if held is None:
            return x
        rest = levels[jnp.minimum(jnp.arange(len(levels)) + held, len(levels) - 1)]
        return odeint(target.solver, theirs, x, rest, steps=len(levels) - 1 - held)

    def check(self, target: Bridge) -> None:
        """Raise ValueError where the bridge cannot be tied to another: points, too many
        frequencies, an implicit solver.
        """
        shape = target.model.data_shape
        if len(shape) != 3 or not 1 <= self.frequencies <= min(shape[:2]):
            raise ValueError(
                f"{self.frequencies} frequencies of {' x '.join(map(str, shape))} cannot be tied;"
                " give images, and from 1 up to their side."
            )
        if is_implicit(target.solver):
            raise ValueError(
                f"A tie is crossed by explicit solvers, not by {type(target.solver).__name__}."
            )


def projection(size: int, count: int) -> Float[np.ndarray, "n n"]:
    """The orthogonal projection of rows of `size` values on their `count` lowest
    cosines (DCT-II).
    """
    waves = np.cos(np.pi * np.arange(count)[:, None] * (np.arange(size) + 0.5)[None] / size)
    waves /= np.linalg.norm(waves, axis=1, keepdims=True)
    return waves.T @ waves

"""Two bridges integrated together, so that a translation keeps the broad colours of its source."""

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
    """A coupling of the source's and the target's ODE in their lowest spatial frequencies.

    dy/dsigma = v_source(y), dx/dsigma = v_target(x) + P (v_source(y) - v_target(x)): what P keeps
    moves as the source's ODE has it, the rest as the target's. P projects every channel on its
    `frequencies` x `frequencies` lowest cosines (DCT-II), the first of which is the mean. It is one
    ODE of the pair (y, x), so that the pair, and not x alone, is led back to the latent. No noise
    is drawn and nothing is trained; it costs the source's evaluations a second time. The
    replacement of low frequencies is that of ILVR (Choi et al. 2021), which couples noise to an
    image; here two ODEs are coupled.

    release: the noise level down to which the tie lasts, or rather the last one of the grid above
    it; from there the target's ODE goes on by itself, with a fresh start of its solver, and removes
    the haze that low frequencies leave where no detail goes with them. None: it lasts to the end.
    """

    frequencies: int = struct.field(pytree_node=False, default=1)
    release: Scalar | float | None = None

    def decode(
        self, source: Bridge, target: Bridge, latent: Latent, *, perturbed: Latent | None = None
    ) -> Image:
        """The translations [b h w c] of latents [b h w c] of unit variance.

        The source's ODE starts from `latent`, the target's from `perturbed` where it is given. The
        pair is integrated on the target's grid by its solver. Both bridges end at one noise level
        (`DDIB.check_tie`). Raises ValueError for points, for more frequencies than pixels, and for
        an implicit solver.
        """
        self.check(target)
        perturbed = latent if perturbed is None else perturbed
        rows, columns = (
            jnp.asarray(projection(size, self.frequencies), latent.dtype)
            for size in latent.shape[1:3]
        )
        low_pass = lambda x: jnp.einsum("ij,bjkc,kl->bilc", rows, x, columns)
        levels = target.sigmas[::-1]
        start = perturbed + low_pass(latent - perturbed)
        tied_steps = None
        if self.release is not None:
            tied_steps = jnp.maximum(jnp.sum(levels >= self.release) - 1, 0)
            # released at once, the target starts from its own low frequencies
            start = jnp.where(tied_steps > 0, start, perturbed)
        v_source, v_target = probability_flow(source.model), probability_flow(target.model)

        def coupled(sigma: Scalar, pair: Latent) -> Latent:
            y, x = jnp.split(pair, 2)
            dy, dx = v_source(sigma, y), v_target(sigma, x)
            return jnp.concatenate([dy, dx + low_pass(dy - dx)])

        pair = jnp.concatenate([latent, start]) * jnp.sqrt(1 + levels[0] ** 2)
        pair = odeint(target.solver, coupled, pair, levels, steps=tied_steps)
        _, x = jnp.split(pair, 2)
        if tied_steps is None:
            return x
        # the rest of the grid, padded with its last level: `tied_steps` is traced
        last = len(levels) - 1
        rest = levels[jnp.minimum(jnp.arange(len(levels)) + tied_steps, last)]
        return odeint(target.solver, v_target, x, rest, steps=last - tied_steps)

    def check(self, target: Bridge) -> None:
        """Raise ValueError where the target cannot be tied to any source.

        That is for points, for more frequencies than pixels, and for an implicit solver.
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
    """The orthogonal projection of `size` values on their `count` lowest cosines (DCT-II)."""
    waves = np.cos(np.pi * np.arange(count)[:, None] * (np.arange(size) + 0.5)[None] / size)
    waves /= np.linalg.norm(waves, axis=1, keepdims=True)
    return waves.T @ waves

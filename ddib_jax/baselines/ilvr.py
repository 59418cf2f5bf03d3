"""ILVR (Choi et al. 2021): target images whose low frequencies are the source's."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.bridge import Bridge
from ddib_jax.diffusion import probability_flow
from ddib_jax.solvers import is_implicit, odeint
from ddib_jax.types import Image, PRNGKey


@struct.dataclass
class ILVR:
    """Fresh noise decoded by the target's ODE, with the source's low frequencies after every step.

    They are those of the source under as much noise. target: the bridge of the target domain.
    factor: low frequencies are what is left after downsampling by it and upsampling again (the
    paper's N); the larger, the less is kept of the source. The paper draws noise anew at every
    step; here one draw serves all of them, as the ODE needs. Every step is a run of its own, so
    that a multistep solver takes its first step again and again.
    """

    target: Bridge
    factor: int = struct.field(pytree_node=False, default=4)

    def __call__(self, key: PRNGKey, image: Image) -> Image:
        """Images [b h w c] in [-1, 1] -> translations [b h w c].

        Raises ValueError for an implicit solver.
        """
        if is_implicit(self.target.solver):
            raise ValueError(
                "ILVR takes the steps of explicit solvers, not of"
                f" {type(self.target.solver).__name__}."
            )
        levels, flow = self.target.sigmas[::-1], probability_flow(self.target.model)
        noise = jax.random.normal(key, image.shape, image.dtype)

        def interval(x: Array, ends: Float[Array, "2"]) -> tuple[Array, None]:
            x = odeint(self.target.solver, flow, x, ends)
            return x + self._low_pass(image + ends[1] * noise - x), None

        intervals = jnp.stack([levels[:-1], levels[1:]], axis=1)
        x, _ = jax.lax.scan(interval, image + levels[0] * noise, intervals)
        return self.target.model.denoise(x, levels[-1])

    def _low_pass(self, x: Array) -> Array:
        b, h, w, c = x.shape
        shape = (b, max(1, h // self.factor), max(1, w // self.factor), c)
        return jax.image.resize(jax.image.resize(x, shape, "cubic"), x.shape, "cubic")

"""ILVR (Choi et al. 2021): draw a target image whose low frequencies are the source's."""

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
    """Fresh noise decoded by the target's ODE, whose low frequencies are set, after every step, to
    those of the source under as much noise.

    target: the bridge of the target domain. factor: low is what is left after shrinking `factor`
    times and enlarging again (the paper's N); the larger, the less is kept of the source. The paper
    draws noise anew at every step; here one draw serves all of them, as the ODE needs. A step
    starts without memory, so that multistep solvers take their first step again and again.
    """

    target: Bridge
    factor: int = struct.field(pytree_node=False, default=4)

    def __call__(self, key: PRNGKey, image: Image) -> Image:
        """Images [b h w c] in [-1, 1] -> translations [b h w c]; ValueError for an
        implicit solver.
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
            return x + self._low(image + ends[1] * noise - x), None

        x, _ = jax.lax.scan(
            interval, image + levels[0] * noise, jnp.stack([levels[:-1], levels[1:]], axis=1)
        )
        return self.target.model.denoise(x, levels[-1])

    def _low(self, x: Array) -> Array:
        b, h, w, c = x.shape
        small = jax.image.resize(
            x, (b, max(1, h // self.factor), max(1, w // self.factor), c), "cubic"
        )
        return jax.image.resize(small, x.shape, "cubic")

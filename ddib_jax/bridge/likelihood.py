"""The likelihood of data under a bridge, a by-product of the same ODE."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ddib_jax.bridge.bridge import Bridge
from ddib_jax.bridge.checks import as_floats
from ddib_jax.diffusion import probability_flow
from ddib_jax.solvers import solve
from ddib_jax.types import Data, PRNGKey


def log_likelihood(
    bridge: Bridge, x: Data, *, key: PRNGKey | None = None, probes: int = 1
) -> Float[Array, " b"]:
    """log p(x) [b] in nats of data x [b ...], p the density of what is decoded from N(0, I).

    By the instantaneous change of variables the divergence of the flow is integrated beside the
    data (Chen et al. 2018; Song et al. 2021, eq. 39). Without a key its trace is exact, at the
    price of one derivative of the network a dimension; with one it is Hutchinson's estimate,
    without bias, from `probes` random signs a datum. Exponential solvers suit the data and not the
    divergence, which then needs many more steps. Raises ValueError for an implicit solver, whose
    residual would go unnoticed, and for a bridge with a switch.
    """
    if bridge.solver.tolerance is not None:
        raise ValueError(
            f"A likelihood needs an explicit solver; {type(bridge.solver).__name__} is implicit."
        )
    if bridge.switch is not None:
        raise ValueError(
            "A likelihood needs the ODE up to its end; take a bridge without a Gaussian switch."
        )
    x = jnp.asarray(as_floats(x, "data"))
    count, size = len(x), math.prod(x.shape[1:])
    slope = probability_flow(bridge.model)
    if key is None:
        basis = jnp.eye(size, dtype=x.dtype)[:, None]
        directions, weight = jnp.broadcast_to(basis, (size, count, size)), 1.0
    else:
        directions, weight = jax.random.rademacher(key, (probes, count, size), x.dtype), 1 / probes

    def field(sigma: Array, state: Array) -> Array:
        flat_slope = lambda flat: slope(sigma, flat.reshape(x.shape)).reshape(count, size)
        velocity, jacobian = jax.linearize(flat_slope, state[:, :-1])
        divergence = weight * jnp.sum(directions * jax.vmap(jacobian)(directions), axis=(0, 2))
        return jnp.concatenate([velocity, divergence[:, None]], axis=1)

    start = jnp.concatenate([x.reshape(count, size), jnp.zeros((count, 1), x.dtype)], axis=1)
    end = solve(bridge.solver, field, start, bridge.sigmas).y
    variance = 1 + bridge.sigmas[-1] ** 2
    square = jnp.sum(end[:, :-1] ** 2, axis=1)
    gaussian = -0.5 * square / variance - 0.5 * size * jnp.log(2 * math.pi * variance)
    return gaussian + end[:, -1]

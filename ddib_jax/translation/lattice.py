"""Any number of images across a bridge on a lattice, in one program for both directions.

What XLA makes of a network may answer the same question with another last bit wherever it is
compiled as a part of another program. Here every crossing is the same program: of the model's and
the batch's shapes alone, with the noise levels in their order, the start and the pair as arguments.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax import parallel
from ddib_jax.bridge import Auxiliary, Bridge
from ddib_jax.diffusion import probability_flow
from ddib_jax.solvers import LatticeHeun, Solution, solve
from ddib_jax.translation.batches import conditions, under
from ddib_jax.types import Data, HostImages


def cross(
    bridge: Bridge,
    start: HostImages | Auxiliary,
    *,
    rising: bool,
    cond: Any = None,
    batch_size: int = 64,
    progress: Callable = iter,
) -> Solution[np.ndarray]:
    """The states at the other end of a bridge on a lattice, and their pairs.

    start: states [n ...] of the ODE at this end, or the pairs of an `Auxiliary`, which then says
    how many images a device has at once, whatever `batch_size`. Raises ValueError for pairs of
    another solver, grid or precision, or that are no integers [n 2 ...], and FloatingPointError
    where states leave the lattice.
    """
    solver = _lattice(bridge)
    shape, devices = bridge.model.data_shape, jax.local_device_count()
    if isinstance(start, Auxiliary):
        start.check(bridge)
        pairs = _checked(start.value, shape)
        states = np.zeros((len(pairs), *shape), np.float64 if pairs.itemsize == 8 else np.float32)
        batch_size = (start.batch or -(-batch_size // devices)) * devices
    else:
        states = np.asarray(start)
        integer = np.int64 if states.dtype == np.float64 else np.int32
        pairs = np.zeros((len(states), 2, *shape), integer)
        batch_size = min(batch_size, len(states))
    fresh = np.full(len(states), not isinstance(start, Auxiliary))
    batch = {"state": states, "pair": pairs, "fresh": fresh} | conditions(cond)
    sigmas = bridge.sigmas if rising else bridge.sigmas[::-1]
    ends, pairs, evaluations = parallel.map_batches(
        _cross_batch,
        (bridge, sigmas),
        batch,
        batch_size=batch_size,
        at_least=True,
        apart=True,
        progress=progress,
    )
    lost = int((~np.isfinite(ends).reshape(len(ends), -1).all(axis=1)).sum())
    if lost:
        raise FloatingPointError(
            f"The states of {lost} of {len(ends)} images left the lattice, which holds"
            f" {'x / sigma' if solver.exponential else 'x'} up to {solver.limit:g}: the steps are"
            " too long, the images nothing like the model's, or its answers not finite; take more"
            " steps, or another solver."
        )
    aux = Auxiliary(
        pairs,
        np.asarray(bridge.sigmas),
        solver,
        rising=rising,
        precision=bridge.model.precision,
        batch=-(-batch_size // devices),
    )
    return Solution(ends, aux, np.zeros(len(ends), ends.dtype), evaluations)


def states(bridge: Bridge, aux: Auxiliary, *, rising: bool) -> HostImages:
    """The states [n ...] of pairs at the lower end of the grid, or where it rises to the upper."""
    sigma = bridge.sigmas[-1 if rising else 0]
    return parallel.map_batches(
        _state_batch,
        (bridge, sigma),
        _checked(aux.value, bridge.model.data_shape),
        batch_size=64,
    )


def _lattice(bridge: Bridge) -> LatticeHeun:
    if not isinstance(bridge.solver, LatticeHeun):
        raise TypeError(f"{bridge.solver} is no lattice.")
    return bridge.solver


def _checked(pairs: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The pairs [n 2 ...]; raises ValueError where they are none of states of this shape."""
    pairs = np.asarray(pairs)
    if pairs.dtype not in (np.int32, np.int64) or pairs.shape[1:] != (2, *shape):
        found = f"{pairs.dtype} of {' x '.join(map(str, pairs.shape[1:]))}"
        expected = " x ".join(map(str, (2, *shape)))
        raise ValueError(
            f"The auxiliary state of a lattice is integers of {expected} for each image, and this"
            f" is {found}; encode anew with this solver, keeping the auxiliary state."
        )
    return pairs


# The functions below are mapped over batches: `parallel.map_batches` compiles each once.


def _cross_batch(tree: tuple, batch: dict) -> tuple[Data, Any, Any]:
    bridge, sigmas = tree
    bridge = under(bridge, batch)
    solver, fresh = _lattice(bridge), batch["fresh"]
    fresh = fresh.reshape(-1, *[1] * batch["state"].ndim)
    pair = jnp.where(fresh, solver.pair(batch["state"], sigmas[0]), batch["pair"])
    state = solver.state(pair, sigmas[0])
    end = solve(solver, probability_flow(bridge.model), state, sigmas, aux=pair)
    return end.y, end.aux, jnp.broadcast_to(end.evaluations, end.residual.shape)


def _state_batch(tree: tuple, pairs: Any) -> Data:
    bridge, sigma = tree
    return _lattice(bridge).state(pairs, sigma)

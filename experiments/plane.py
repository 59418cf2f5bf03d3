"""What synthetic_2d.py measures of bridges in the plane: cycles, transport, density."""

import functools
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax.bridge import Bridge, log_likelihood
from ddib_jax.diagnosis import steps_within
from ddib_jax.diffusion import DiffusionModel, probability_flow
from ddib_jax.grids import make_grid
from ddib_jax.schedules import Discrete
from ddib_jax.solvers import get_solver
from ddib_jax.transport import wasserstein

REACH, TICKS = 4.0, 81
"""Half the side of the square of densities, and its points a side."""


class Method(NamedTuple):
    """A solver, its number of steps, and whether its auxiliary state is kept for the way back."""

    solver: str
    steps: int
    with_aux: bool = False

    @classmethod
    def within(cls, evaluations: int, name: str, *, with_aux: bool = False) -> "Method":
        """A solver in the most steps that so many evaluations each way allow."""
        return cls(name, steps_within(get_solver(name), evaluations), with_aux)


def bridge_of(model: DiffusionModel, name: str, steps: int, grid: str) -> Bridge:
    return Bridge(model, make_grid(grid, model.schedule, steps), get_solver(name))


@functools.partial(jax.jit, static_argnames="with_aux")
def around(source: Bridge, target: Bridge, points, *, with_aux: bool = False):
    """Latents, translations and what comes back, with auxiliary states kept or made anew."""
    kept = lambda solution: solution.aux if with_aux else None
    to_target = target.scale / source.scale
    up = source.solve(points, rising=True)
    there = target.solve(up.y * to_target, rising=False)
    again = target.solve(there.y, rising=True, aux=kept(there))
    back = source.solve(again.y / to_target, rising=False, aux=kept(up))
    return up.y / source.scale, there.y, back.y


def cycle(models, clouds, pair, method: Method, grid: str) -> dict[str, float]:
    source, target = (
        bridge_of(models[domain], method.solver, method.steps, grid) for domain in pair
    )
    points, _ = clouds[pair[0]]
    run = lambda: around(source, target, points, with_aux=method.with_aux)[2]
    return _timed(run, points, 4 * source.solver.evaluations(method.steps))


def _timed(run, points, evaluations: int) -> dict[str, float]:
    clock = time.perf_counter()
    back = np.asarray(run())
    distances = np.linalg.norm(back - points, axis=1)
    return {
        "mean": float(distances.mean()),
        "worst": float(distances.max()),
        "evaluations": evaluations,
        "seconds": time.perf_counter() - clock,
    }


def summary(method: Method, cycles: list[dict[str, float]]) -> tuple:
    means = [cycle["mean"] for cycle in cycles]
    # The median, as the first holds the compilation.
    seconds = float(np.median([cycle["seconds"] for cycle in cycles]))
    return (
        f"{method.solver} + aux" if method.with_aux else method.solver,
        method.steps,
        cycles[0]["evaluations"],
        len(cycles),
        float(np.mean(means)),
        max(means),
        max(cycle["worst"] for cycle in cycles),
        seconds,
    )


@jax.jit
def _around_shifted(source: Bridge, target: Bridge, points):
    """The cycle on the grids of the paper's code, whose encoder is one index behind its decoder.

    It takes a point for one of the lowest noise level, and goes on from the highest to infinite
    noise; its decoder starts at the highest and ends without noise.
    """
    top, low = source.sigmas[-1], source.sigmas[0]

    def encode(bridge, x):
        x = bridge.encode(x) * jnp.sqrt(1 + top**2)
        return probability_flow(bridge.model)(top, x)

    def decode(bridge, noise):
        x = bridge.decode(noise)
        return x - low * probability_flow(bridge.model)(low, x)

    return decode(source, encode(target, decode(target, encode(source, points))))


def paper_cycle(models, clouds, pair, steps: int, *, shifted: bool) -> dict[str, float]:
    """DDIM with the paper's number of steps, on linear betas."""
    sigmas = jnp.asarray(np.exp(Discrete.linear(steps).log_sigmas), jnp.float32)
    source, target = (Bridge(models[domain], sigmas, get_solver("ddim")) for domain in pair)
    around = _around_shifted if shifted else lambda *args: around(*args)[2]
    points, _ = clouds[pair[0]]
    return _timed(lambda: around(source, target, points), points, 4 * steps)


def transport(
    models, sources, pair, samples, floor: float, grid: str
) -> tuple[float, float, float, float]:
    """(W2 of translations to the target, `floor`, cost of the translation, optimal cost).

    `floor` is W2 of two samples of the target. A single sample of a thousand points may lie off its
    distribution by half of that, so both are means over samples. Costs are the root of the mean
    squared distance between the first sample and its translation, by the bridge and by the optimal
    transport.
    """
    source, target = (bridge_of(models[domain], "rk4", 40, grid) for domain in pair)
    pushed = [np.asarray(around(source, target, points)[1]) for points in sources]
    distance = np.mean([wasserstein(*both) for both in zip(pushed, samples, strict=True)])
    cost = float(np.sqrt(np.mean(np.sum((pushed[0] - sources[0]) ** 2, axis=1))))
    return float(distance), floor, cost, wasserstein(sources[0], pushed[0])


@jax.jit
def _log_density(bridge: Bridge, points):
    return log_likelihood(bridge, points)


def density(model: DiffusionModel) -> np.ndarray:
    """The density of a model on a lattice of the plane; the first row is the lowest."""
    ticks = np.linspace(-REACH, REACH, TICKS, dtype=np.float32)
    points = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    logs = np.asarray(_log_density(bridge_of(model, "rk4", 16, "log-uniform"), points))
    return np.exp(logs).reshape(TICKS, TICKS)

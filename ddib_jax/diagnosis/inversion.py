"""Which solver gives an image back, at what cost in evaluations, seconds and memory."""

import functools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddib_jax.diffusion import DiffusionModel, probability_flow
from ddib_jax.grids import make_grid
from ddib_jax.metrics import pooled_relative_rmse
from ddib_jax.solvers import (
    RK4,
    Adaptive,
    backward,
    count,
    get_solver,
    is_implicit,
    is_reversible,
    odeint,
    odeint_effort,
    odeint_pair,
)
from ddib_jax.types import Images, Solver

PASSES = 8
"""Evaluations that a step of an implicit solver is expected to take, in a budget of them."""


@functools.partial(jax.jit, static_argnames="solver")
def walked(
    solver: Solver,
    model: DiffusionModel,
    x: Float[Array, "b ..."],
    sigmas: Float[Array, " n"],
    steps: Int[Array, ""],
) -> tuple[Array, Float[Array, " b"], Int[Array, ""]]:
    """The first `steps` intervals of a padded grid from x: end, residuals [b], evaluations [].

    Residuals and evaluations are zero for solvers that do not count them. One program serves any
    number of steps and, where shapes agree, any model.
    """
    f = probability_flow(model)
    if is_implicit(solver) or isinstance(solver, Adaptive):
        return odeint_effort(solver, f, x, sigmas, steps=steps)
    return odeint(solver, f, x, sigmas, steps=steps), jnp.zeros(len(x), x.dtype), jnp.asarray(0)


@functools.partial(jax.jit, static_argnames="solver")
def walked_pair(
    solver: Solver,
    model: DiffusionModel,
    x: Float[Array, "b ..."],
    sigmas: Float[Array, " n"],
    steps: Int[Array, ""],
    *,
    second: Array | None = None,
) -> tuple[Array, Array]:
    """As `walked` with a reversible solver, from a pair of states to a pair."""
    return odeint_pair(solver, probability_flow(model), x, sigmas, second=second, steps=steps)


@dataclass(frozen=True)
class Leg:
    """One way along a grid: its end, and what it took.

    end: [b ...]. second: the second state of a reversible solver, or None. residual: the worst.
    evaluations: of the network. seconds: without compilation.
    """

    end: Array
    second: Array | None
    residual: float
    evaluations: int
    seconds: float


@dataclass(frozen=True)
class Road:
    """A grid padded to a common length, and its number of steps: none of them is compiled anew."""

    sigmas: Float[Array, " n"]
    steps: int

    @classmethod
    def of(cls, sigmas: Float[Array, " m"], length: int) -> "Road":
        """The ascending grid `sigmas` of m - 1 steps, padded to `length` steps."""
        padding = jnp.full(length + 1 - len(sigmas), sigmas[-1])
        return cls(jnp.concatenate([sigmas, padding]), len(sigmas) - 1)

    def walk(
        self,
        solver: Solver,
        model: DiffusionModel,
        x: Array,
        *,
        rising: bool,
        second: Array | None = None,
        pair: bool = False,
    ) -> Leg:
        """Integrate the model's ODE from x [b ...] up or down the grid, and time it.

        With `pair`, or from a `second` state, the solver is reversible and the result holds a pair.
        """
        sigmas = self.sigmas if rising else backward(self.sigmas, steps=self.steps)
        is_pair = pair or second is not None

        def run(steps: int) -> tuple:
            arguments = (solver, model, x, sigmas, jnp.asarray(steps))
            result = walked_pair(*arguments, second=second) if is_pair else walked(*arguments)
            return jax.block_until_ready(result)

        run(0)  # compiles
        start = time.perf_counter()
        result = run(self.steps)
        seconds = time.perf_counter() - start
        expected = count(solver, self.steps)
        if is_pair:
            end, second = result
            return Leg(end, second, 0.0, expected, seconds)
        end, residual, evaluations = result
        return Leg(end, None, float(residual.max()), int(evaluations) or expected, seconds)


def steps_within(solver: Solver, evaluations: int) -> int:
    """The most steps of a solver in so many evaluations one way; 0 where not even one fits."""
    if is_implicit(solver):
        return evaluations // PASSES
    steps = evaluations // solver.evaluations
    while steps and count(solver, steps) > evaluations:  # what it evaluates at its start
        steps -= 1
    return steps


@dataclass(frozen=True)
class RoundTrip:
    """Encoding and decoding again by one solver in so many steps, and its errors and cost.

    carried: whether the second state of a reversible solver was kept. evaluations: one way, the
    mean of both. error: relative RMSE of the image that came back. latent: that of the latent to
    the reference's. residual: the worst of an implicit solver. seconds: one way, for one image.
    """

    solver: str
    carried: bool
    steps: int
    evaluations: int
    error: float
    latent: float
    residual: float
    seconds: float


def round_trips(
    model: DiffusionModel,
    images: Images,
    solvers: Iterable[str],
    budgets: Sequence[int],
    *,
    grid: str = "log-uniform",
) -> list[RoundTrip]:
    """Every solver's round trip of images [b h w c] at about so many evaluations one way.

    Reversible solvers are run with their carry and without. Latents are compared with those of RK4
    in as many steps as the largest budget: a solver may invert itself well and still not solve the
    ODE. Budgets in which a solver takes no step are left out.
    """
    images, longest = jnp.asarray(images), max(budgets)
    road_of = lambda steps: Road.of(make_grid(grid, model.schedule, steps), longest)
    reference = road_of(longest).walk(RK4, model, images, rising=True).end
    trips = []
    for name in solvers:
        solver = get_solver(name)
        for budget in budgets:
            steps = steps_within(solver, budget)
            if steps == 0:
                continue
            road = road_of(steps)
            for carried in (False, True) if is_reversible(solver) else (False,):
                up = road.walk(solver, model, images, rising=True, pair=carried)
                inverse = solver.inverse if carried else solver
                down = road.walk(inverse, model, up.end, rising=False, second=up.second)
                trips.append(
                    RoundTrip(
                        name,
                        carried,
                        steps,
                        evaluations=(up.evaluations + down.evaluations + 1) // 2,
                        error=pooled_relative_rmse(np.asarray(down.end), np.asarray(images)),
                        latent=pooled_relative_rmse(np.asarray(up.end), np.asarray(reference)),
                        residual=max(up.residual, down.residual),
                        seconds=(up.seconds + down.seconds) / 2 / len(images),
                    )
                )
    return trips


def recommended(
    trips: Iterable[RoundTrip], error: float, latent: float, *, carried: bool = False
) -> RoundTrip | None:
    """The trip of the fewest evaluations, then seconds, within the limits on both errors.

    None where there is no such trip. carried: among those with the second state, or without.
    """
    suitable = [
        trip
        for trip in trips
        if trip.carried == carried and trip.error <= error and trip.latent <= latent
    ]
    return min(suitable, key=lambda trip: (trip.evaluations, trip.seconds), default=None)


def memory(model: DiffusionModel, solver: Solver, batch: int) -> tuple[int, int]:
    """Bytes of the weights, and of the temporaries that XLA plans for one image among `batch`."""
    x = jax.ShapeDtypeStruct((batch, *model.data_shape), jnp.float32)
    sigmas = jax.ShapeDtypeStruct((2,), jnp.float32)
    steps = jax.ShapeDtypeStruct((), jnp.int32)
    leaves, tree = jax.tree.flatten(model)
    # of leaves: `lower` rebuilds pytrees with placeholders, which run-time checks of types refuse
    run = jax.jit(lambda leaves, *others: walked(solver, jax.tree.unflatten(tree, leaves), *others))
    program = run.lower(leaves, x, sigmas, steps).compile()
    weights = sum(leaf.nbytes for leaf in leaves)
    return weights, program.memory_analysis().temp_size_in_bytes // batch

"""Which solver gives an image back, at what cost in evaluations, seconds and memory."""

import functools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddib_jax.diffusion import DiffusionModel, probability_flow
from ddib_jax.grids import make_grid
from ddib_jax.metrics import pooled_relative_rmse
from ddib_jax.roofline import temporaries
from ddib_jax.solvers import RK4, LatticeHeun, Solution, backward, get_solver, solve, solved
from ddib_jax.translation import to_data, to_images
from ddib_jax.types import Images, Solver


@functools.partial(jax.jit, static_argnames="solver")
def _solve(
    solver: Solver,
    model: DiffusionModel,
    x: Float[Array, "b ..."],
    sigmas: Float[Array, " n"],
    steps: Int[Array, ""],
    *,
    aux: Array | None = None,
) -> Solution[Array]:
    return solve(solver, probability_flow(model), x, sigmas, aux=aux, steps=steps)


class Timed(NamedTuple):
    """A solution, and the seconds that it took without compilation."""

    solution: Solution[Array]
    seconds: float


@dataclass(frozen=True)
class PaddedGrid:
    """A grid padded to a common length, and its number of steps: none of them is compiled anew."""

    sigmas: Float[Array, " n"]
    steps: int

    @classmethod
    def of(cls, sigmas: Float[Array, " m"], length: int) -> "PaddedGrid":
        """The ascending grid `sigmas` of m - 1 steps, padded to `length` steps."""
        padding = jnp.full(length + 1 - len(sigmas), sigmas[-1])
        return cls(jnp.concatenate([sigmas, padding]), len(sigmas) - 1)

    def solve(
        self,
        solver: Solver,
        model: DiffusionModel,
        x: Array,
        *,
        rising: bool,
        aux: Array | None = None,
    ) -> Timed:
        """The model's ODE solved from x [b ...] up or down the grid, or from the pair (x, aux)."""
        sigmas = self.sigmas if rising else backward(self.sigmas, steps=self.steps)
        if isinstance(solver, LatticeHeun) and aux is None:
            # always from a pair: what starts and what goes on is then one program, whose bits agree
            aux = solver.pair(x, sigmas[0])
        run = lambda steps: jax.block_until_ready(
            _solve(solver, model, x, sigmas, jnp.asarray(steps), aux=aux)
        )
        run(0)  # compiles
        start = time.perf_counter()
        solution = run(self.steps)
        return Timed(solution, time.perf_counter() - start)


def steps_within(solver: Solver, evaluations: int) -> int:
    """The most steps of a solver in so many evaluations one way; 0 where not even one fits."""
    fitting = (n for n in range(evaluations, 0, -1) if solver.evaluations(n) <= evaluations)
    return next(fitting, 0)


@dataclass(frozen=True)
class RoundTrip:
    """Encoding and decoding again by one solver in so many steps, and its errors and cost.

    with_aux: whether the auxiliary state of a reversible solver was kept. evaluations: one way, the
    mean of both. error: relative RMSE of the image that came back. latent: that of the latent to
    the reference's. residual: the worst of an implicit solver. seconds: one way, for one image.
    solved: whether a solver that iterates reached its tolerance, without which the driver refuses
    what it gives.
    """

    solver: str
    with_aux: bool
    steps: int
    evaluations: int
    error: float
    latent: float
    residual: float
    seconds: float
    solved: bool = True


def round_trips(
    model: DiffusionModel,
    images: Images,
    solvers: Iterable[str],
    budgets: Sequence[int],
    *,
    grid: str = "log-uniform",
) -> list[RoundTrip]:
    """Every solver's round trip of images [b h w c] at about so many evaluations one way.

    Of a model of codes it is that of the images' codes: `codec_error` is apart.

    Reversible solvers are run with their auxiliary state and without. Latents are compared with
    those of RK4 in as many steps as the largest budget: a solver may invert itself well and still
    not solve the ODE. Budgets in which a solver takes no step are left out.
    """
    data, longest = jnp.asarray(to_data(model, images)), max(budgets)
    grid_of = lambda steps: PaddedGrid.of(make_grid(grid, model.schedule, steps), longest)
    reference = grid_of(longest).solve(RK4, model, data, rising=True).solution.y
    trips = []
    for name in solvers:
        solver = get_solver(name)
        for budget in budgets:
            steps = steps_within(solver, budget)
            if steps == 0:
                continue
            padded = grid_of(steps)
            up, seconds_up = padded.solve(solver, model, data, rising=True)
            ways: dict[bool, tuple[Solver, Array | None]] = {False: (solver, None)}
            if solver.inverse is not None:
                ways[True] = (solver.inverse, up.aux)
            for with_aux, (way_back, aux) in ways.items():
                down, seconds_down = padded.solve(way_back, model, up.y, rising=False, aux=aux)
                trips.append(
                    RoundTrip(
                        name,
                        with_aux,
                        steps,
                        evaluations=int(up.evaluations + down.evaluations + 1) // 2,
                        error=pooled_relative_rmse(np.asarray(down.y), np.asarray(data)),
                        latent=pooled_relative_rmse(np.asarray(up.y), np.asarray(reference)),
                        residual=float(jnp.maximum(up.residual, down.residual).max()),
                        seconds=(seconds_up + seconds_down) / 2 / len(data),
                        solved=bool((solved(solver, up) & solved(way_back, down)).all()),
                    )
                )
    return trips


def codec_error(model: DiffusionModel, images: Images) -> float:
    """The relative RMSE of images [n h w c] that go through the model's codec alone; 0 without one.

    No solver brings an image back nearer than that.
    """
    if model.codec is None:
        return 0.0
    return pooled_relative_rmse(to_images(model, to_data(model, images)), np.asarray(images))


def recommended(
    trips: Iterable[RoundTrip], error: float, latent: float, *, with_aux: bool = False
) -> RoundTrip | None:
    """The trip of the fewest evaluations, then seconds, within the limits on both errors.

    None where there is no such trip; one that was not solved to its tolerance is none. with_aux:
    among those with the auxiliary state, or without.
    """
    suitable = [
        trip
        for trip in trips
        if trip.with_aux == with_aux
        and trip.error <= error
        and trip.latent <= latent
        and trip.solved
    ]
    return min(suitable, key=lambda trip: (trip.evaluations, trip.seconds), default=None)


def memory(model: DiffusionModel, solver: Solver, batch: int) -> tuple[int, int]:
    """Bytes of the weights, and of the temporaries that XLA plans for one image among `batch`."""
    x = jax.ShapeDtypeStruct((batch, *model.data_shape), jnp.float32)
    sigmas = jax.ShapeDtypeStruct((2,), jnp.float32)
    steps = jax.ShapeDtypeStruct((), jnp.int32)
    leaves, tree = jax.tree.flatten(model)
    # of leaves: `lower` rebuilds pytrees with placeholders, which run-time checks of types refuse
    run = jax.jit(lambda leaves, *others: _solve(solver, jax.tree.unflatten(tree, leaves), *others))
    program = run.lower(leaves, x, sigmas, steps).compile()
    weights = sum(np.size(leaf) * jnp.result_type(leaf).itemsize for leaf in leaves)
    return weights, temporaries(program) // batch

"""The doctor's measurements: is a model good enough to bridge, which solver gives the image back,
and at what cost.
"""

import functools
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddib_jax import bridge
from ddib_jax.bridge import Bridge
from ddib_jax.diffusion import DiffusionModel, probability_flow
from ddib_jax.grids import make_grid
from ddib_jax.metrics import METRICS, pooled_relative_rmse
from ddib_jax.metrics.latents import neighbour_correlation_of, neighbour_moments
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
from ddib_jax.types import Images, PRNGKey, Solver

PASSES = 8
"""Evaluations that a step of an implicit solver is expected to take, from which its number of steps
follows.
"""


@dataclass(frozen=True)
class Check:
    """A figure, the range in which a good model has it, and what to do where it lies outside."""

    label: str
    value: float
    low: float
    high: float
    remedy: str

    @property
    def passed(self) -> bool:
        """Whether the figure lies in its range; a NaN does not."""
        return self.low <= self.value <= self.high


_LATENTS: Mapping[str, tuple[float, float, str]] = {
    "latent_mean": (
        -0.1,
        0.1,
        "the model shifts what it encodes: train longer, or check that images are in [-1, 1]",
    ),
    "latent_variance": (
        0.6,
        1.5,
        "the noise scale is wrong at some level: check schedule and preconditioning, train longer",
    ),
    "latent_kurtosis": (
        -1.0,
        3.0,
        (
            "a few values are far too large: the model answers clean regions with patterns of its"
            " own; train longer"
        ),
    ),
    "latent_ks": (0.0, 0.1, "the values are not normally distributed: train longer"),
    "latent_neighbours": (
        -0.1,
        0.1,
        (
            "structure of the image is left in the latent: train longer, most of all at high noise"
            " levels"
        ),
    ),
    "latent_channel_std": (
        0.5,
        2.0,
        (
            "the overall colour is not where the other model looks for it: train more at high noise"
            " levels"
        ),
    ),
}
"""Metric of latents -> the range of a model that is good enough, and what to do outside it."""


def latent_checks(latents: Float[np.ndarray, "n h w c"]) -> tuple[Check, ...]:
    """How close the latents of real images of the model's domain, given the noise that the ODE
    starts from, are to N(0, I).
    """
    return tuple(
        Check(METRICS[name].label, METRICS[name]({"latent": latents}).value, *limits)
        for name, limits in _LATENTS.items()
    )


def noisy_latents(
    here: Bridge, images: Images, key: PRNGKey, *, batch_size: int = 64, progress: Callable = iter
) -> Images:
    """The latents [n h w c] of images with noise of deviation sigmas[0] added: those of an exact
    model are N(0, I).
    """
    noise = np.asarray(jax.random.normal(key, images.shape))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they are far from N(0, I) is what the checks say
        return bridge.encode(
            here,
            images + np.float32(here.sigmas[0]) * noise,
            batch_size=batch_size,
            progress=progress,
        )


def sample_checks(
    samples: Float[np.ndarray, "m h w c"], images: Float[np.ndarray, "n h w c"]
) -> tuple[Check, ...]:
    """Whether what the model makes of Gaussian noise has the brightness, contrast and smoothness of
    its domain's images.

    A round trip says nothing about this: a model whose samples are grid noise can give every image
    back.
    """
    smooth = [
        neighbour_correlation_of(neighbour_moments(part).mean(axis=0)) for part in (samples, images)
    ]
    more = (
        "the samples do not look like the images: train longer, or choose another preconditioning"
    )
    return (
        Check(
            "Samples less images, mean", float(samples.mean() - images.mean()), -0.15, 0.15, more
        ),
        Check(
            "Samples over images, deviation", float(samples.std() / images.std()), 0.75, 1.33, more
        ),
        Check(
            "Samples less images, correlation of neighbours", smooth[0] - smooth[1], -0.1, 0.1, more
        ),
    )


@functools.partial(jax.jit, static_argnames="solver")
def walked(
    solver: Solver,
    model: DiffusionModel,
    x: Float[Array, "b ..."],
    sigmas: Float[Array, " n"],
    steps: Int[Array, ""],
) -> tuple[Array, Float[Array, " b"], Int[Array, ""]]:
    """The first `steps` intervals of a padded grid from x: the end, relative residuals [b] and the
    evaluations taken.

    One program for any number of steps and, where shapes agree, any model.
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
    second: Array | None = None,
) -> tuple[Array, Array]:
    """As `walked` with a reversible solver, from and to a pair of states."""
    return odeint_pair(solver, probability_flow(model), x, sigmas, second, steps=steps)


@dataclass(frozen=True)
class Leg:
    """One way along a grid: its end [b ...], the second state of a reversible solver, worst
    residual, evaluations, seconds.
    """

    end: Array
    second: Array | None
    residual: float
    evaluations: int
    seconds: float


@dataclass(frozen=True)
class Road:
    """A grid padded to a common length, and how many of its steps are walked: so that no number of
    steps is compiled anew.
    """

    sigmas: Float[Array, " n"]
    steps: int

    @classmethod
    def of(cls, sigmas: Float[Array, " m"], length: int) -> "Road":
        """The ascending grid `sigmas` of m - 1 steps, padded to `length` steps."""
        return cls(
            jnp.concatenate([sigmas, jnp.full(length + 1 - len(sigmas), sigmas[-1])]),
            len(sigmas) - 1,
        )

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
        """From x upward, or downward; with `pair` or a `second` state, a reversible solver's pair.
        Its compilation is not timed.
        """
        sigmas = self.sigmas if rising else backward(self.sigmas, self.steps)
        paired = pair or second is not None

        def run(steps: int) -> tuple:
            if paired:
                return jax.block_until_ready(
                    walked_pair(solver, model, x, sigmas, jnp.asarray(steps), second)
                )
            return jax.block_until_ready(walked(solver, model, x, sigmas, jnp.asarray(steps)))

        run(0)
        clock = time.perf_counter()
        end, other, *evaluations = run(self.steps)
        seconds = time.perf_counter() - clock
        if paired:
            return Leg(end, other, 0.0, count(solver, self.steps), seconds)
        return Leg(
            end, None, float(other.max()), int(*evaluations) or count(solver, self.steps), seconds
        )


def steps_within(solver: Solver, evaluations: int) -> int:
    """The most steps that a solver takes in so many evaluations a leg; 0 where not even
    one fits.
    """
    if is_implicit(solver):
        return evaluations // PASSES
    steps = evaluations // solver.evaluations
    while steps and count(solver, steps) > evaluations:
        steps -= 1
    return steps


@dataclass(frozen=True)
class RoundTrip:
    """Encoding and decoding again: which way, the evaluations of a leg, and what it gave.

    error: relative RMSE of the image that came back. latent: that of the latent to the reference's.
    seconds: of a leg and image.
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
    """Every solver's round trip at about so many evaluations a leg; reversible ones with their
    carry and without.

    Latents are held against those of RK4 in as many steps as the largest budget: a solver may
    invert itself well and still not solve the ODE. Budgets in which a solver takes no step are left
    out.
    """
    trips, longest, images = [], max(budgets), jnp.asarray(images)
    truth = (
        Road.of(make_grid(grid, model.schedule, longest), longest)
        .walk(RK4, model, images, rising=True)
        .end
    )
    for name in solvers:
        solver = get_solver(name)
        for budget in budgets:
            steps = steps_within(solver, budget)
            if steps == 0:
                continue
            road = Road.of(make_grid(grid, model.schedule, steps), longest)
            for carried in (False, True)[: 1 + is_reversible(solver)]:
                there = road.walk(solver, model, images, rising=True, pair=carried)
                inverse = solver.inverse if carried else solver
                back = road.walk(inverse, model, there.end, rising=False, second=there.second)
                trips.append(
                    RoundTrip(
                        name,
                        carried,
                        steps,
                        (there.evaluations + back.evaluations + 1) // 2,
                        pooled_relative_rmse(np.asarray(back.end), np.asarray(images)),
                        pooled_relative_rmse(np.asarray(there.end), np.asarray(truth)),
                        max(there.residual, back.residual),
                        (there.seconds + back.seconds) / 2 / len(images),
                    )
                )
    return trips


def recommended(
    trips: Iterable[RoundTrip], error: float, latent: float, *, carried: bool = False
) -> RoundTrip | None:
    """The trip of the fewest evaluations, then seconds, whose errors are at most the wanted ones;
    None where there is none.
    """
    fit = [
        trip
        for trip in trips
        if trip.carried == carried and trip.error <= error and trip.latent <= latent
    ]
    return min(fit, key=lambda trip: (trip.evaluations, trip.seconds), default=None)


def memory(model: DiffusionModel, solver: Solver, batch: int) -> tuple[int, int]:
    """Bytes of the weights, and of the temporaries that XLA plans for one image among `batch`."""
    x = jax.ShapeDtypeStruct((batch, *model.data_shape), jnp.float32)
    sigmas = jax.ShapeDtypeStruct((2,), jnp.float32)
    leaves, tree = jax.tree.flatten(model)
    run = jax.jit(lambda leaves, *others: walked(solver, jax.tree.unflatten(tree, leaves), *others))
    program = run.lower(leaves, x, sigmas, jax.ShapeDtypeStruct((), jnp.int32)).compile()
    return (
        sum(leaf.nbytes for leaf in leaves),
        program.memory_analysis().temp_size_in_bytes // batch,
    )

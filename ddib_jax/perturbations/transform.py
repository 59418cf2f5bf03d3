"""What a perturbation is: a pure function, the stage at which it acts, and its coefficients."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax.numpy as jnp
from jaxtyping import Array

from ddib_jax.types import Context, Perturbation, Scalar

Stage = Literal["image", "level", "latent"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""What a perturbation may act on, in the order of a translation."""


@dataclass(frozen=True)
class Transform:
    """One row of `PERTURBATIONS`: a function (array, coefficient, context) -> array, and its facts.

    stage: what it acts on: the `latent` [b h w c], the `image` [b h w c] before it is encoded, or
    the noise `level` (a scalar sigma) at which the two bridges meet. low, high: the range of its
    coefficients, both ends included. neutral: the coefficient at which it is the identity, or None.
    sweep: the coefficients that a study tries. needs: the parts of the context that it looks at:
    `data`, the source; `noise`, Gaussian and fixed; `latent`, as it was encoded; `reference`, the
    latent of another image. whole: whether coefficients are whole numbers. keeps_variance: whether
    white Gaussian latents keep their mean square.
    """

    function: Callable[[Array, Scalar, Context], Array]
    low: float | int
    high: float | int
    neutral: float | int | None
    sweep: tuple[float | int, ...]
    description: str
    needs: tuple[str, ...] = ()
    stage: Stage = "latent"
    whole: bool = False
    keeps_variance: bool = False

    def __call__(self, latent: Array, coefficient: Scalar, context: Context) -> Array:
        """The perturbed latent, of the same shape."""
        return self.function(latent, coefficient, context)


@dataclass(frozen=True)
class Fixed:
    """A perturbation with one coefficient of its own, whatever the others of a sequence take."""

    transform: Transform
    coefficient: float | int

    @property
    def stage(self) -> Stage:
        """What the perturbation acts on."""
        return self.transform.stage

    @property
    def needs(self) -> tuple[str, ...]:
        """The parts of the context that the perturbation looks at."""
        return self.transform.needs

    def __call__(self, latent: Array, coefficient: Scalar, context: Context) -> Array:
        """The latent perturbed by the fixed coefficient."""
        return self.transform(latent, jnp.asarray(self.coefficient, latent.dtype), context)


@dataclass(frozen=True)
class Sequence:
    """Perturbations one after the other; all that are not `Fixed` share the coefficient.

    Raises ValueError where one acts on the image or the noise level after one that acts on the
    latent.
    """

    steps: tuple[Perturbation, ...]

    def __post_init__(self):
        stages = [STAGES.index(stage_of(step)) for step in self.steps]
        if stages != sorted(stages):
            raise ValueError(
                "A perturbation of the image or of the noise level comes before the latent's own;"
                " reorder them."
            )

    def __call__(self, latent: Array, coefficient: Scalar, context: Context) -> Array:
        """The latent after every step that acts on latents."""
        return at(self, "latent", latent, coefficient, context)


def stage_of(step: Any) -> Stage:
    """What one step of a perturbation acts on; a plain function acts on the latent."""
    return getattr(step, "stage", "latent")


def steps_of(perturbation: Any) -> tuple[Any, ...]:
    """The steps of a sequence; any other perturbation is its own only step."""
    return getattr(perturbation, "steps", (perturbation,))


def at(
    perturbation: Any, stage: Stage, value: Array, coefficient: Scalar, context: Context
) -> Array:
    """`value` after those steps of the perturbation that act on `stage`, in their order."""
    for step in steps_of(perturbation):
        if stage_of(step) == stage:
            value = step(value, coefficient, context)
    return value


def needs(perturbation: Any) -> frozenset[str]:
    """The parts of the context that a perturbation's steps look at.

    Of a plain function nothing is known: it may look at data, noise and latent.
    """
    anything = ("data", "noise", "latent")
    return frozenset(
        part for step in steps_of(perturbation) for part in getattr(step, "needs", anything)
    )


def acts_before_latent(perturbation: Any) -> bool:
    """Whether it changes what is encoded: then every coefficient needs an encoding of its own."""
    return any(stage_of(step) != "latent" for step in steps_of(perturbation))


def check_coefficient(name: str, transform: Transform, coefficient: float | int) -> None:
    """Raise ValueError for a coefficient that the perturbation called `name` does not take.

    That is one that is not finite, out of range, or not whole where it must be.
    """
    kind = "a whole number" if transform.whole else "a number"
    if not math.isfinite(coefficient) or not transform.low <= coefficient <= transform.high:
        raise ValueError(
            f"The coefficient {coefficient:g} does not suit '{name}', which takes {kind} from"
            f" {transform.low:g} to {transform.high:g}."
        )
    if transform.whole and coefficient != round(coefficient):
        raise ValueError(
            f"The coefficient {coefficient:g} does not suit '{name}', which takes whole numbers."
        )


def sequence(steps: Iterable[Perturbation]) -> Perturbation:
    """The steps as one perturbation; one step alone is itself."""
    steps = tuple(steps)
    return steps[0] if len(steps) == 1 else Sequence(steps)

"""What a perturbation is: a pure function of (array, coefficient, context), where it acts, and
which coefficients it takes.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array

from ddib_jax.types import Context, Scalar

Stage = Literal["image", "level", "latent"]


@dataclass(frozen=True)
class Transform:
    """One row of `PERTURBATIONS`: a function (latent [b h w c], coefficient, context) -> latent,
    and what is known of it.

    It acts on the `latent`, on the `image` before it is encoded, or on the noise `level` (a scalar
    sigma) at which the two bridges meet. Coefficients lie in [low, high] and are whole numbers
    where `whole` says so; at `neutral` (None: nowhere) it is the identity. `needs` names the parts
    of the context that it looks at: `image`, the source; `noise`, Gaussian and fixed; `latent`, as
    it was encoded; `other`, the latent of another image. `sweep` are the coefficients that a study
    tries. `keeps_variance` claims that it gives white Gaussian latents the mean square that they
    had.
    """

    function: Callable[[Array, Scalar, Context], Array]
    low: float | int
    high: float | int
    neutral: float | int | None
    sweep: tuple[float | int, ...]
    words: str
    needs: tuple[str, ...] = ()
    stage: Stage = "latent"
    whole: bool = False
    keeps_variance: bool = False

    def __call__(self, latent: Array, coefficient: Scalar, context: Context) -> Array:
        """The perturbed latent, of the same shape."""
        return self.function(latent, coefficient, context)


@dataclass(frozen=True)
class Fixed:
    """A perturbation held at one coefficient: in a sequence it stays while the others are swept."""

    transform: Transform
    coefficient: float | int

    def __call__(self, latent: Array, coefficient: Scalar, context: Context) -> Array:
        """The latent perturbed by the fixed coefficient."""
        return self.transform(latent, jnp.asarray(self.coefficient, latent.dtype), context)


@dataclass(frozen=True)
class Sequence:
    """Perturbations one after the other; all that are not `Fixed` share the coefficient.

    Raises ValueError where one acts on the image or the noise level after one that acts on the
    latent.
    """

    steps: tuple[Transform | Fixed, ...]

    def __post_init__(self):
        order = [("image", "level", "latent").index(stage_of(step)) for step in self.steps]
        if order != sorted(order):
            raise ValueError(
                "A perturbation of the image or of the noise level comes before the latent's own;"
                " reorder them."
            )

    def __call__(self, latent: Array, coefficient: Scalar, context: Context) -> Array:
        """The latent after every step that acts on latents."""
        return at(self, "latent", latent, coefficient, context)


def stage_of(step: Any) -> Stage:
    """Where a perturbation acts; a plain function acts on the latent."""
    return getattr(getattr(step, "transform", step), "stage", "latent")


def steps_of(perturbation: Any) -> tuple[Any, ...]:
    """The steps of a sequence; any other perturbation is its own only step."""
    return getattr(perturbation, "steps", (perturbation,))


def at(
    perturbation: Any, stage: Stage, value: Array, coefficient: Scalar, context: Context
) -> Array:
    """`value` after those steps of the perturbation that act on `stage`."""
    for step in steps_of(perturbation):
        if stage_of(step) == stage:
            value = step(value, coefficient, context)
    return value


def needs(perturbation: Any) -> frozenset[str]:
    """The parts of the context that a perturbation's steps look at; a plain function may look at
    image, noise and latent.
    """
    parts = (
        getattr(getattr(step, "transform", step), "needs", ("image", "noise", "latent"))
        for step in steps_of(perturbation)
    )
    return frozenset(part for step in parts for part in step)


def acts_before_latent(perturbation: Any) -> bool:
    """Whether every coefficient needs an encoding of its own."""
    return any(stage_of(step) != "latent" for step in steps_of(perturbation))


def check_coefficient(name: str, transform: Transform, coefficient: float | int) -> None:
    """Raise ValueError for a coefficient that is not finite, out of range, or not whole where it
    must be.
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


def sequence(steps: Iterable[Transform | Fixed]) -> Transform | Fixed | Sequence:
    """The steps as one perturbation; one step alone is itself."""
    steps = tuple(steps)
    return steps[0] if len(steps) == 1 else Sequence(steps)

"""The sliders of the page, made of the registry of perturbations."""

import math
from dataclasses import dataclass

import numpy as np

from ddib_jax.perturbations import PERTURBATIONS, Transform, check_coefficient, get_perturbation

SEVEN = 7
"""Values of the row that shows one slider at several of them."""
_FINE = 200
"""Positions of a slider at least."""
_FAR = 100
"""A slider whose ends are further apart than so many times is logarithmic."""


@dataclass(frozen=True)
class Slider:
    """A perturbation as the page shows it.

    low, high: the ends of the slider, which reaches over the neutral value and those that a study
    tries; least, most: the range of the coefficient itself, which the field beside it takes. step:
    between two positions, of a logarithmic slider between two logarithms. claims: what is known of
    it, in words.
    """

    name: str
    description: str
    low: float
    high: float
    step: float
    least: float
    most: float
    neutral: float | None
    start: float
    logarithmic: bool
    whole: bool
    stage: str
    needs: tuple[str, ...]
    claims: tuple[str, ...]

    def seven(self) -> tuple[float, ...]:
        """Seven values from one end to the other; fewer where they must be whole and are few."""
        if self.logarithmic:
            values = np.geomspace(self.low, self.high, SEVEN)
        else:
            values = np.linspace(self.low, self.high, SEVEN)
        if self.whole:
            values = np.unique(np.rint(values))
        return tuple(float(f"{value:.6g}") for value in values)


def slider(name: str, *, highest: float, side: int) -> Slider:
    """The slider of the perturbation `name`.

    highest: the noise level of the latents, above which no level is lowered. side: pixels of an
    image's shorter side, above which no cell has a meaning. Raises ValueError for an unknown name.
    """
    transform = get_perturbation(name)
    values = [*transform.sweep, *(() if transform.neutral is None else (transform.neutral,))]
    low, high = float(min(values)), float(max(values))
    neutral = transform.neutral
    if transform.stage == "level":
        high = min(high, highest)
        low = min(low, high / 2)
    if transform.whole:
        high = min(high, side / 2)
    check_coefficient(name, transform, high)
    logarithmic = low > 0 and high / low > _FAR
    span = math.log(high / low) if logarithmic else high - low
    step = 1.0 if transform.whole else _round(span / _FINE)
    return Slider(
        name=name,
        description=transform.description,
        low=low,
        high=high,
        step=step,
        least=float(transform.low),
        most=float(transform.high),
        neutral=None if neutral is None else min(float(neutral), max(high, float(transform.low))),
        start=_start(transform, low, high),
        logarithmic=logarithmic,
        whole=transform.whole,
        stage=transform.stage,
        needs=transform.needs,
        claims=_claims(transform),
    )


def all_sliders(*, highest: float, side: int) -> tuple[Slider, ...]:
    """Those of all perturbations that do something, in the registry's order."""
    return tuple(
        slider(name, highest=highest, side=side)
        for name, transform in PERTURBATIONS.items()
        if transform.high > transform.low
    )


def _start(transform: Transform, low: float, high: float) -> float:
    """Where a slider stands that is put into the chain: where it does nothing, if there is one."""
    if transform.neutral is not None:
        return float(
            min(transform.neutral, high) if transform.stage == "level" else transform.neutral
        )
    return float(min(max(1.0, low), high))


def _claims(transform: Transform) -> tuple[str, ...]:
    claims = []
    if transform.keeps_variance:
        claims.append("keeps the variance of a white Gaussian latent")
    if transform.neutral is not None:
        claims.append(f"does nothing at {transform.neutral:g}")
    if transform.stage == "image":
        claims.append("acts on the image, which is encoded anew")
    if transform.stage == "level":
        claims.append("acts on the noise level at which the bridges meet, so encodes anew")
    return tuple(claims)


def _round(step: float) -> float:
    """The step, or a smaller one, that is 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return max(unit * power for unit in (1, 2, 5) if unit * power <= step * (1 + 1e-9))

"""Perturbations of a latent between encoding and decoding, each named in `PERTURBATIONS`.

Every one is a pure function called with (latent [b h w c], coefficient, context), and can be jitted
and vmapped over its coefficient.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ddib_jax.perturbations import pixels, spatial, spectral
from ddib_jax.perturbations.transform import (
    Fixed,
    Sequence,
    Transform,
    acts_before_latent,
    at,
    check_coefficient,
    needs,
    sequence,
    stage_of,
    steps_of,
)
from ddib_jax.types import Perturbation

_FRACTIONS = (0.1, 0.3, 0.5, 0.7, 0.9)
_CELLS = (1, 2, 4, 8)

PERTURBATIONS: Mapping[str, Transform] = MappingProxyType(
    {
        "none": Transform(
            pixels.none,
            low=0,
            high=0,
            neutral=0,
            sweep=(0,),
            description="the latent as it is",
            keeps_variance=True,
        ),
        "normalise": Transform(
            pixels.normalise,
            low=0,
            high=10,
            neutral=None,
            sweep=(0.5, 0.75, 1.0, 1.5, 2.0),
            description="mean 0, standard deviation the coefficient",
        ),
        "add-noise": Transform(
            pixels.add_noise,
            low=0,
            high=10,
            neutral=0,
            sweep=(0.01, 0.1, 0.3, 0.7),
            description="fixed noise times the coefficient added",
            needs=("noise",),
        ),
        "blend-image": Transform(
            pixels.blend_image,
            low=0,
            high=1,
            neutral=0,
            sweep=_FRACTIONS,
            description="the coefficient's share of the source image",
            needs=("data",),
        ),
        "checkerboard-image": Transform(
            pixels.checkerboard_image,
            low=0,
            high=1024,
            neutral=0,
            sweep=_CELLS,
            description="cells of the source image, pixels wide",
            needs=("data",),
            whole=True,
        ),
        "checkerboard-noise": Transform(
            pixels.checkerboard_noise,
            low=0,
            high=1024,
            neutral=0,
            sweep=_CELLS,
            description="cells of fixed noise, pixels wide",
            needs=("noise",),
            whole=True,
        ),
        "local-rotation": Transform(
            spatial.local_rotation,
            low=0,
            high=3,
            neutral=0,
            sweep=(0, 1, 2, 3),
            description="quarter turns of every 2 x 2 block",
            whole=True,
            keeps_variance=True,
        ),
        "blur-image": Transform(
            spatial.blur,
            low=0,
            high=100,
            neutral=0,
            sweep=(0.5, 1.0, 2.0, 4.0),
            description="the image blurred before encoding, pixels",
            stage="image",
        ),
        "blur": Transform(
            spatial.blur,
            low=0,
            high=100,
            neutral=0,
            sweep=(0.25, 0.5, 1.0, 2.0),
            description="the latent blurred, pixels",
        ),
        "rotate": Transform(
            spatial.rotate,
            low=-360,
            high=360,
            neutral=0,
            sweep=(5, 15, 45, 90, 180),
            description="the latent turned, degrees",
            keeps_variance=True,
        ),
        "slerp-noise": Transform(
            pixels.slerp_noise,
            low=0,
            high=1,
            neutral=0,
            sweep=_FRACTIONS,
            description="along the sphere to fixed noise",
            needs=("noise",),
            keeps_variance=True,
        ),
        "slerp-other": Transform(
            pixels.slerp_other,
            low=0,
            high=1,
            neutral=0,
            sweep=_FRACTIONS,
            description="along the sphere to another image's latent",
            needs=("reference",),
            keeps_variance=True,
        ),
        "keep-low": Transform(
            spectral.keep_low,
            low=0,
            high=1,
            neutral=1,
            sweep=(0.0, 0.0625, 0.125, 0.25, 0.5),
            description="low spatial frequencies kept up to the coefficient, the rest noise",
            needs=("noise",),
            keeps_variance=True,
        ),
        "keep-high": Transform(
            spectral.keep_high,
            low=0,
            high=2,
            neutral=0,
            sweep=(0.0625, 0.125, 0.25, 0.5),
            description="high spatial frequencies kept from the coefficient up, the rest noise",
            needs=("noise",),
            keeps_variance=True,
        ),
        "phase-of-noise": Transform(
            spectral.phase_of_noise,
            low=0,
            high=1,
            neutral=0,
            sweep=_FRACTIONS,
            description="Fourier phases turned to those of noise",
            needs=("noise",),
            keeps_variance=True,
        ),
        "magnitude-of-noise": Transform(
            spectral.magnitude_of_noise,
            low=0,
            high=1,
            neutral=0,
            sweep=(0.25, 0.5, 1.0),
            description="Fourier magnitudes of noise",
            needs=("noise",),
            keeps_variance=True,
        ),
        "match-channels": Transform(
            pixels.match_channels,
            low=0,
            high=1,
            neutral=0,
            sweep=(0.5, 1.0),
            description="channel statistics given back, as they were encoded",
            needs=("latent",),
        ),
        "recolour": Transform(
            pixels.recolour,
            low=0,
            high=1,
            neutral=0,
            sweep=(0.5, 1.0),
            description="channel statistics of another image's latent",
            needs=("reference",),
        ),
        "gaussianise": Transform(
            pixels.gaussianise,
            low=0,
            high=1,
            neutral=0,
            sweep=(0.5, 1.0),
            description="the histogram of the values made normal",
        ),
        "partial-noise": Transform(
            pixels.partial_noise,
            low=0.01,
            high=1000000.0,
            neutral=1000000.0,
            sweep=(0.5, 1.0, 2.0, 5.0, 20.0),
            description="the bridges meet at this sigma",
            stage="level",
        ),
    }
)
"""Name -> perturbation, its range of coefficients and what it claims."""


def get_perturbation(name: str) -> Transform:
    """The registered perturbation `name`; raises ValueError, with the list, for an unknown one."""
    if name not in PERTURBATIONS:
        raise ValueError(f"Unknown perturbation '{name}'; known are {', '.join(PERTURBATIONS)}.")
    return PERTURBATIONS[name]


def parse_perturbation(words: Iterable[str], coefficients: Iterable[float | int]) -> Perturbation:
    """The sequence of the perturbations that are written as `name` or `name=value`.

    A value fixes a perturbation's coefficient; those without one take the swept `coefficients`,
    which are only checked here. Raises ValueError for an unknown name, a coefficient out of range,
    or one that acts before the latent after one that acts on it.
    """
    steps, coefficients = [], tuple(coefficients)
    for word in words:
        name, equals, value = word.partition("=")
        transform = get_perturbation(name)
        try:
            fixed = float(value) if equals else None
        except ValueError as error:
            raise ValueError(
                f"'{value}' in '{word}' is not a number; write a perturbation as {name}=0.5."
            ) from error
        for coefficient in coefficients if fixed is None else (fixed,):
            check_coefficient(name, transform, coefficient)
        steps.append(transform if fixed is None else Fixed(transform, fixed))
    return sequence(steps)


FRESH_NOISE = parse_perturbation(("slerp-noise=1", "normalise=1"), ())
"""The fixed noise in the latent's place, of variance 1 however long the latent was."""

__all__ = [
    "FRESH_NOISE",
    "PERTURBATIONS",
    "Fixed",
    "Sequence",
    "Transform",
    "acts_before_latent",
    "at",
    "check_coefficient",
    "get_perturbation",
    "needs",
    "parse_perturbation",
    "sequence",
    "stage_of",
    "steps_of",
]

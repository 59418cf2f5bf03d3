"""Perturbations of a latent between encoding and decoding: pure jnp transforms, each named in
`PERTURBATIONS`.

Every one is called (latent [b h w c], coefficient, context) and can be jitted and vmapped over its
coefficient.
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

_SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
_CELLS = (1, 2, 4, 8)

PERTURBATIONS: Mapping[str, Transform] = MappingProxyType(
    {
        "none": Transform(pixels.none, 0, 0, 0, (0,), "the latent as it is", keeps_variance=True),
        "normalise": Transform(
            pixels.normalise,
            0,
            10,
            None,
            (0.5, 0.75, 1.0, 1.5, 2.0),
            "mean 0, standard deviation the coefficient",
        ),
        "add-noise": Transform(
            pixels.add_noise,
            0,
            10,
            0,
            (0.01, 0.1, 0.3, 0.7),
            "fixed noise times the coefficient added",
            ("noise",),
        ),
        "blend-image": Transform(
            pixels.blend_image,
            0,
            1,
            0,
            _SHARES,
            "the coefficient's share of the source image",
            ("image",),
        ),
        "checkerboard-image": Transform(
            pixels.checkerboard_image,
            0,
            1024,
            0,
            _CELLS,
            "cells of the source image, pixels wide",
            ("image",),
            whole=True,
        ),
        "checkerboard-noise": Transform(
            pixels.checkerboard_noise,
            0,
            1024,
            0,
            _CELLS,
            "cells of fixed noise, pixels wide",
            ("noise",),
            whole=True,
        ),
        "local-rotation": Transform(
            spatial.local_rotation,
            0,
            3,
            0,
            (0, 1, 2, 3),
            "quarter turns of every 2 x 2 block",
            whole=True,
            keeps_variance=True,
        ),
        "blur-image": Transform(
            spatial.blur,
            0,
            100,
            0,
            (0.5, 1.0, 2.0, 4.0),
            "the image blurred before encoding, pixels",
            stage="image",
        ),
        "blur": Transform(
            spatial.blur, 0, 100, 0, (0.25, 0.5, 1.0, 2.0), "the latent blurred, pixels"
        ),
        "rotate": Transform(
            spatial.rotate,
            -360,
            360,
            0,
            (5, 15, 45, 90, 180),
            "the latent turned, degrees",
            keeps_variance=True,
        ),
        "slerp-noise": Transform(
            pixels.slerp_noise,
            0,
            1,
            0,
            _SHARES,
            "along the sphere to fixed noise",
            ("noise",),
            keeps_variance=True,
        ),
        "slerp-other": Transform(
            pixels.slerp_other,
            0,
            1,
            0,
            _SHARES,
            "along the sphere to another image's latent",
            ("other",),
            keeps_variance=True,
        ),
        "keep-low": Transform(
            spectral.keep_low,
            0,
            1,
            1,
            (0.0, 0.0625, 0.125, 0.25, 0.5),
            "low spatial frequencies kept up to the coefficient, the rest noise",
            ("noise",),
            keeps_variance=True,
        ),
        "keep-high": Transform(
            spectral.keep_high,
            0,
            2,
            0,
            (0.0625, 0.125, 0.25, 0.5),
            "high spatial frequencies kept from the coefficient up, the rest noise",
            ("noise",),
            keeps_variance=True,
        ),
        "phase-of-noise": Transform(
            spectral.phase_of_noise,
            0,
            1,
            0,
            _SHARES,
            "Fourier phases turned to those of noise",
            ("noise",),
            keeps_variance=True,
        ),
        "magnitude-of-noise": Transform(
            spectral.magnitude_of_noise,
            0,
            1,
            0,
            (0.25, 0.5, 1.0),
            "Fourier magnitudes of noise",
            ("noise",),
            keeps_variance=True,
        ),
        "match-channels": Transform(
            pixels.match_channels,
            0,
            1,
            0,
            (0.5, 1.0),
            "channel statistics given back, as they were encoded",
            ("latent",),
        ),
        "recolour": Transform(
            pixels.recolour,
            0,
            1,
            0,
            (0.5, 1.0),
            "channel statistics of another image's latent",
            ("other",),
        ),
        "gaussianise": Transform(
            pixels.gaussianise, 0, 1, 0, (0.5, 1.0), "the histogram of the values made normal"
        ),
        "partial-noise": Transform(
            pixels.partial_noise,
            0.01,
            1e6,
            1e6,
            (0.5, 1.0, 2.0, 5.0, 20.0),
            "the bridges meet at this sigma",
            stage="level",
        ),
    }
)
"""Name -> perturbation, its range of coefficients and what it claims."""


def get_perturbation(name: str) -> Transform:
    """The perturbation of that name; raises ValueError with the list for an unknown one."""
    if name not in PERTURBATIONS:
        raise ValueError(f"Unknown perturbation '{name}'; known are {', '.join(PERTURBATIONS)}.")
    return PERTURBATIONS[name]


def parse_perturbation(
    words: Iterable[str], coefficients: Iterable[float | int]
) -> Transform | Fixed | Sequence:
    """The sequence of the named perturbations; `name=value` holds one at a coefficient, the others
    share the swept ones.

    Raises ValueError for an unknown name, a coefficient that does not suit, or an order that cannot
    be.
    """
    steps, coefficients = [], tuple(coefficients)
    for word in words:
        name, _, value = word.partition("=")
        transform = get_perturbation(name)
        try:
            held = (float(value),) if value else ()
        except ValueError as error:
            raise ValueError(
                f"'{value}' in '{word}' is not a number; write a perturbation as {name}=0.5."
            ) from error
        for coefficient in held or coefficients:
            check_coefficient(name, transform, coefficient)
        steps.append(Fixed(transform, *held) if held else transform)
    return sequence(steps)


__all__ = [
    "PERTURBATIONS",
    "Fixed",
    "Sequence",
    "Transform",
    "acts_before_latent",
    "at",
    "get_perturbation",
    "needs",
    "parse_perturbation",
    "stage_of",
    "sequence",
    "steps_of",
]

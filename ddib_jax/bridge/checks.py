"""Checks of images, latents and models before and after a translation: errors and warnings."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ddib_jax.diffusion import DiffusionModel
from ddib_jax.solvers import threshold
from ddib_jax.types import Images, Solver


def check_meeting(source: DiffusionModel, target: DiffusionModel) -> None:
    """Raise ValueError where the latents of `source` cannot meet those that `target` decodes.

    Their numbers of channels may be unlike (`meet`); heights and widths may not, for no map of
    pixels keeps both the noise and the picture's scale.
    """
    here, there = source.data_shape, target.data_shape
    if here != there and (len(here) != 3 or len(there) != 3 or here[:2] != there[:2]):
        raise ValueError(
            f"The two models cannot meet: the source makes latents of {_by(here)}, the target"
            f" decodes {_by(there)}; train both at one size. Numbers of channels may differ."
        )


def check_shape(model: DiffusionModel, arrays: Images, kind: str) -> None:
    """Raise ValueError where the arrays [n ...] are none, or not of the shape of the model's data.

    kind: what the error calls them, "images" or "latents".
    """
    expected = model.image_shape if kind == "images" else model.data_shape
    shape = np.shape(arrays)[1:]
    if len(arrays) == 0:
        raise ValueError(f"The model takes {kind} of {_by(expected)}; none were given.")
    if shape != expected:
        raise ValueError(f"The model takes {kind} of {_by(expected)}; these are of {_by(shape)}.")


def _by(shape: tuple[int, ...]) -> str:
    """The shape as people write it: "32 x 32 x 3"."""
    return " x ".join(map(str, shape))


def as_floats(arrays: Any, kind: str) -> Any:
    """Arrays [n ...], or a list of n arrays, as floats of JAX's own precision.

    kind: "images", which may be bytes from 0 to 255 and become floats in [-1, 1], "latents" or
    "data". What lies on a device stays there. Raises ValueError for whole numbers otherwise, whose
    range nobody could know, and for what is no array of numbers.
    """
    try:
        found = arrays if isinstance(arrays, jax.Array) else np.asarray(arrays)
    except ValueError as error:
        raise ValueError(f"The {kind} are not of one shape; give arrays that are.") from error
    own = jnp.result_type(float)
    if found.dtype == np.uint8 and kind == "images":
        return found.astype(own) / 127.5 - 1
    if not jnp.issubdtype(found.dtype, jnp.floating):
        raise ValueError(
            f"The {kind} are of {found.dtype}; give floats (images in [-1, 1]), or images as bytes"
            " (uint8)."
        )
    return found if found.dtype == own else found.astype(own)


def check_finite(arrays: np.ndarray, kind: str) -> np.ndarray:
    """The arrays [n ...] as they are; raises FloatingPointError where one is not finite."""
    broken = int((~np.isfinite(arrays).reshape(len(arrays), -1).all(axis=1)).sum())
    if broken:
        raise FloatingPointError(
            f"{broken} of {len(arrays)} {kind} are not finite; take more steps or another solver,"
            " or check the model."
        )
    return arrays


def check_solved(solver: Solver, residuals: Float[np.ndarray, " n"]) -> None:
    """Raise FloatingPointError, with the residual, where a solver did not reach its tolerance."""
    limit = threshold(solver, residuals.dtype)
    count = 0 if limit is None else int((~(residuals <= limit)).sum())
    if count:
        raise FloatingPointError(
            f"{type(solver).__name__} did not converge on {count} of {len(residuals)} images: the"
            f" worst relative residual is {residuals.max():.2g} where {limit:.2g} is wanted; take"
            " more steps or a reversible solver."
        )


def warn_of_guidance(source: DiffusionModel, target: DiffusionModel) -> None:
    """Warn where source and target are guided in ways that are described differently.

    Translating back then follows another ODE, and the cycle does not close.
    """
    ours, theirs = _guidance(source), _guidance(target)
    if ours != theirs:
        warnings.warn(
            f"The source is {ours} and the target {theirs}; guide both alike if the cycle is to"
            " close.",
            stacklevel=3,
        )


def _guidance(model: DiffusionModel) -> str:
    return "unguided" if model.guidance is None else f"under {model.guidance.describe()}"


def warn_of_latents(moments: Float[np.ndarray, "n 2"]) -> None:
    """Warn where latents are far from N(0, I), from the mean and mean square of each.

    The source model then does not know the images that they are the latents of.
    """
    mean, square = np.mean(moments, axis=0)
    variance = square - mean**2
    if np.isfinite(variance) and not (abs(mean) < 0.5 and 0.02 < variance < 2):
        warnings.warn(
            f"The latents have mean {mean:.2f} and variance {variance:.2g}, far from N(0, I): the"
            " source model does not know these images (another domain, another range of values, or"
            " too little training), and translations will not be good; `ddib diagnose` says what"
            " is wrong.",
            stacklevel=3,
        )

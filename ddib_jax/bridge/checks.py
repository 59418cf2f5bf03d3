"""What is refused, and what is warned of, where images, latents and models meet."""

import warnings

import jax
import numpy as np
from jaxtyping import Float

from ddib_jax.bridge.bridge import Bridge
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.types import Images


def check_meeting(source: DiffusionModel, target: DiffusionModel) -> None:
    """Raise ValueError where the latents of `source` are not of the shape that `target` decodes."""
    if source.data_shape != target.data_shape:
        raise ValueError(
            f"The two models cannot meet: the source makes latents of {_words(source.data_shape)},"
            f" the target decodes {_words(target.data_shape)}; train both at one size and number of"
            " channels."
        )


def check_shape(bridge: Bridge, arrays: Images, kind: str) -> None:
    """Raise ValueError where the arrays are none, or not of the shape of the bridge's model."""
    expected = bridge.model.data_shape
    if len(arrays) == 0 or np.shape(arrays)[1:] != expected:
        found = (
            "none were given"
            if len(arrays) == 0
            else f"these are of {_words(np.shape(arrays)[1:])}"
        )
        raise ValueError(f"The model takes {kind} of {_words(expected)}; {found}.")


def _words(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def check_finite(arrays: np.ndarray, kind: str) -> np.ndarray:
    """The arrays [n ...]; raises FloatingPointError where one is not finite."""
    broken = int((~np.isfinite(arrays).reshape(len(arrays), -1).all(axis=1)).sum())
    if broken:
        raise FloatingPointError(
            f"{broken} of {len(arrays)} {kind} are not finite; take more steps or another solver,"
            " or check the model."
        )
    return arrays


def warn_of_guidance(source: DiffusionModel, target: DiffusionModel) -> None:
    """Warn where the two legs are guided in different ways, or by different scales: the way back is
    another one then.
    """
    told = [
        None if model.guidance is None else (type(model.guidance).__name__, _scale(model))
        for model in (source, target)
    ]
    if told[0] != told[1]:
        words = ["unguided" if one is None else f"under {one[0]} of scale {one[1]}" for one in told]
        warnings.warn(
            f"The source leg is {words[0]} and the target leg {words[1]}; guide both alike if the"
            " cycle is to close.",
            stacklevel=3,
        )


def _scale(model: DiffusionModel) -> str:
    return ", ".join(f"{scale:g}" for scale in np.unique(jax.device_get(model.guidance.scale)))


def warn_of_latents(moments: Float[np.ndarray, "n 2"]) -> None:
    """Warn where latents, of these means and mean squares, are far from N(0, I): their model does
    not know these images.
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

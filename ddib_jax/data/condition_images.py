"""Condition images out of any picture: edges, a skeleton, depth; for control without other tools.

They are what detectors make of photographs, or near it; scikit-image (extra `condition`) does the
work.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

_BLUR = 1 / 16  # of the shorter side, the deviation
_SMALLEST = 100  # of the picture, one in so many pixels makes a region
_COARSENESS = 300.0  # of regions: how much stronger than within them a boundary must be


class Condition(NamedTuple):
    """One row of `CONDITIONS`: of one picture [h w 3] in [0, 1] another one, and what it shows."""

    make: Callable[[Float[np.ndarray, "h w 3"]], Float[np.ndarray, "h w 3"]]
    description: str


def _edges(picture: np.ndarray) -> np.ndarray:
    from skimage.feature import canny

    return _in_three(canny(_contrast(picture), sigma=_sigma(picture)).astype(np.float32))


def _skeleton(picture: np.ndarray) -> np.ndarray:
    from skimage.morphology import skeletonize

    return _in_three(skeletonize(_object(picture)).astype(np.float32))


def _depth(picture: np.ndarray) -> np.ndarray:
    from scipy.ndimage import distance_transform_edt

    distance = np.asarray(distance_transform_edt(_object(picture)))
    return _in_three(distance / max(float(distance.max()), 1.0))


def _inverted(picture: np.ndarray) -> np.ndarray:
    return 1 - picture


def _blurred(picture: np.ndarray) -> np.ndarray:
    from skimage.filters import gaussian

    return gaussian(picture, sigma=_BLUR * min(picture.shape[:2]), channel_axis=-1)


def _segments(picture: np.ndarray) -> np.ndarray:
    from skimage.color import label2rgb
    from skimage.segmentation import felzenszwalb

    least = picture.shape[0] * picture.shape[1] // _SMALLEST
    regions = felzenszwalb(picture, scale=_COARSENESS, sigma=0.5, min_size=least)
    return label2rgb(regions + 1, bg_label=0)


CONDITIONS: Mapping[str, Condition] = MappingProxyType(
    {
        "edges": Condition(_edges, "white edges on black (Canny 1986)"),
        "skeleton": Condition(_skeleton, "the middle line of what differs from the background"),
        "depth": Condition(_depth, "how far inside of what differs from the background, as depth"),
        "inverted": Condition(_inverted, "the complement of every colour"),
        "blurred": Condition(_blurred, "without detail finer than an eighth of the picture"),
        "segments": Condition(_segments, "regions of like colour, each of a colour of its own"),
    }
)
"""Kinds of condition images by name."""


def condition_image(picture: Float[np.ndarray, "h w 3"], kind: str) -> Float[np.ndarray, "h w 3"]:
    """A condition image of a picture [h w 3], both float32 in [-1, 1].

    Raises ValueError for an unknown kind, with the list, and ImportError without scikit-image.
    """
    check_kind(kind)
    try:
        made = CONDITIONS[kind].make((np.asarray(picture, np.float32) + 1) / 2)
    except ModuleNotFoundError as error:
        raise ImportError(
            "Condition images need scikit-image: install ddib_jax[condition]."
        ) from error
    return (2 * np.clip(made, 0, 1) - 1).astype(np.float32)


def check_kind(kind: str) -> None:
    """Raise ValueError, with the list, for a kind that is not in `CONDITIONS`."""
    if kind not in CONDITIONS:
        raise ValueError(f"There is no condition '{kind}'; known are {', '.join(CONDITIONS)}.")


def _contrast(picture: np.ndarray) -> np.ndarray:
    """A picture's values [h w] along the direction in which its colours differ most, from 0 on.

    Not brightness, by which yellow on white has no edge: of a grey picture it is the same up to its
    sign, as wide as a single channel's range.
    """
    colours = picture.reshape(-1, 3)
    direction = np.linalg.eigh(np.cov(colours, rowvar=False))[1][:, -1]
    values = picture @ (direction / np.abs(direction).sum())
    return values - values.min()


def _sigma(picture: np.ndarray) -> float:
    """The deviation of the edges' filter: 1 for pictures up to 256 pixels, as is usual."""
    return max(1.0, min(picture.shape[:2]) / 256)


def _object(picture: np.ndarray) -> np.ndarray:
    """Where a picture differs from its edge's median colour, by Otsu's threshold (1979)."""
    from skimage.filters import threshold_otsu

    ring: Any = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    distance = np.linalg.norm(picture - np.median(ring, axis=0), axis=-1)
    return (
        distance > threshold_otsu(distance) if np.ptp(distance) else np.zeros_like(distance, bool)
    )


def _in_three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=-1)

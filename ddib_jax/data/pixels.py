"""The pixels of one image as a cloud of points in a colour space (Su et al. 2023, section 4.3)."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from ddib_jax.data.folder import read_image
from ddib_jax.data.pictures import View
from ddib_jax.data.sources import ALL, Indices

_LAB_CENTRE, _LAB_UNIT = (50.0, 0.0, 0.0), (50.0, 128.0, 128.0)
_GREY = 4  # bytes between the channels of a pixel that still looks grey: what JPEG makes of grey


@dataclass(frozen=True)
class ColourSpace:
    """A colour space: from RGB [n 3] in [0, 1] to points [n 3] of about [-1, 1], and back.

    The way back does not clip.
    """

    points: Callable[[Float[np.ndarray, "n 3"]], Float[np.ndarray, "n 3"]]
    rgb: Callable[[Float[np.ndarray, "n 3"]], Float[np.ndarray, "n 3"]]


def _colour():
    try:
        from skimage import color
    except ImportError as error:
        raise ImportError(
            "CIELAB needs scikit-image: install ddib_jax[colours], or use the colour space rgb."
        ) from error
    return color


def _to_lab(rgb: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    return (_colour().rgb2lab(rgb) - _LAB_CENTRE) / _LAB_UNIT


def _from_lab(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    lab = np.asarray(points, np.float64) * _LAB_UNIT + _LAB_CENTRE
    lab[:, 0] = np.clip(lab[:, 0], 0, 100)
    # A translation may be more saturated than any display's colour: clipped, without a warning.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        xyz = np.clip(_colour().lab2xyz(lab), 0, None)
    return _colour().xyz2rgb(xyz)


COLOUR_SPACES: dict[str, ColourSpace] = {
    "lab": ColourSpace(_to_lab, _from_lab),
    "rgb": ColourSpace(lambda rgb: 2 * rgb - 1, lambda points: (points + 1) / 2),
}
"""Name -> space: CIELAB (D65) as ((L - 50) / 50, a / 128, b / 128), and RGB as in images."""


def colour_space(name: str) -> ColourSpace:
    """A registered colour space; raises ValueError, with the list, for an unknown one."""
    if name not in COLOUR_SPACES:
        raise ValueError(f"Unknown colour space '{name}'; known are {', '.join(COLOUR_SPACES)}.")
    return COLOUR_SPACES[name]


def to_points(pixels: UInt8[np.ndarray, "n 3"], space: str) -> Float[np.ndarray, "n 3"]:
    """Bytes of RGB as float32 points of a colour space."""
    return colour_space(space).points(pixels / 255.0).astype(np.float32)


def to_pixels(points: Float[np.ndarray, "n 3"], space: str) -> UInt8[np.ndarray, "n 3"]:
    """Points of a colour space as bytes of RGB, clipped and rounded to nearest.

    Raises ValueError where one is not finite.
    """
    if not np.isfinite(points).all():
        raise ValueError("The points hold values that are not finite; they are no colours.")
    return np.rint(np.clip(colour_space(space).rgb(points), 0, 1) * 255).astype(np.uint8)


class PixelCloud:
    """The pixels of an image, row by row, as an `ImageSource` of points (3,) of a colour space.

    A draw with a generator spreads every byte over its own width, for a density has no atoms.
    Raises ValueError for a file that `read_image` cannot read, and for a grey image or one of a
    single colour, which have no palette.
    """

    labels, classes = None, ()
    image_shape = (3,)

    def __init__(self, path: str | Path, *, space: str = "lab"):
        colour_space(space)
        try:
            image = read_image(path, View())
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{path} cannot be read as an image ({getattr(error, 'strerror', None) or error})."
            ) from error
        self.space, self.size = space, image.shape[:2]
        self.pixels = image.reshape(-1, 3)
        if np.ptp(self.pixels.astype(int), axis=1).max() <= _GREY:
            raise ValueError(f"{path} is grey: it has no palette to give or to take.")
        if np.ptp(self.pixels, axis=0).max() <= _GREY:
            raise ValueError(f"{path} has a single colour: it has no palette to give or to take.")

    def __len__(self) -> int:
        return len(self.pixels)

    def take(
        self, indices: Indices, *, rng: np.random.Generator | None = None, part: slice = ALL
    ) -> Float[np.ndarray, "m 3"]:
        """The pixels at `indices` as points; with a generator, each anywhere within its bytes."""
        pixels = self.pixels[np.asarray(indices)].astype(np.float64)
        if rng is not None:
            pixels += rng.random(pixels.shape) - 0.5
        return colour_space(self.space).points(np.clip(pixels[part] / 255, 0, 1)).astype(np.float32)

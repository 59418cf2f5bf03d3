"""Six distributions of the plane, of mean 0 and variance 1 (Su et al. 2023, section 4.1).

Rings and squares are bands, half a unit wide, around radii 1, 2, 3 (concentric) or 1, 1, 1 (side by
side). `Shape` holds the raw shape's mean and variance, by which its points are normalised.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ddib_jax.data.sources import ALL, Indices

Sample = tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " n"]]
"""Points, and each one's position along the shape in [0, 1), by which figures colour it."""


@dataclass(frozen=True)
class Shape:
    """How raw points are drawn, their mean, and their variance, averaged over both coordinates."""

    draw: Callable[[int, np.random.Generator], Sample]
    mean: tuple[float, float]
    variance: float


def _moons(count: int, rng: np.random.Generator) -> Sample:
    """Two half circles of radius 1, with Gaussian noise of .05 (scikit-learn's `make_moons`)."""
    angle, lower = np.pi * rng.random(count), rng.integers(2, size=count)
    # The lower moon is the upper one turned by half a circle and moved to (1, 1/2).
    sign = 1 - 2 * lower[:, None]
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = sign * circle + lower[:, None] * [1.0, 0.5]
    return points + _MOON_NOISE * rng.normal(size=points.shape), (lower + angle / np.pi) / 2


def _checkerboard(count: int, rng: np.random.Generator) -> Sample:
    """The eight black unit squares of a board of four by four."""
    x, y = 4 * rng.random(count) - 2, rng.random(count) - 2 * rng.integers(2, size=count)
    return np.stack([x, y + np.floor(x) % 2], axis=1), (2 - x) / 4


def _circle(fraction: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 2"]:
    return np.stack([np.cos(2 * np.pi * fraction), np.sin(2 * np.pi * fraction)], axis=1)


def _square(fraction: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 2"]:
    """Along the edge of [-1, 1]^2, from the upper left corner by the right."""
    side, along = np.divmod(4 * fraction, 1)
    x = np.select([side == 0, side == 1, side == 2], [2 * along - 1, 1, 1 - 2 * along], -1.0)
    y = np.select([side == 0, side == 1, side == 2], [1.0, 1 - 2 * along, -1.0], 2 * along - 1)
    return np.stack([x, y], axis=1)


def _bands(
    outline: Callable, radii: tuple[float, ...], centres: tuple[float, ...], spread: float
) -> Shape:
    """Bands along an outline, each with the same number of points.

    `spread` is the mean square of a coordinate on the outline of radius 1.
    """

    def draw(count: int, rng: np.random.Generator) -> Sample:
        which, fraction = rng.integers(len(radii), size=count), rng.random(count)
        radius = np.asarray(radii)[which] + _WIDTH * (rng.random(count) - 0.5)
        points = outline(fraction) * radius[:, None]
        points[:, 0] += np.asarray(centres)[which]
        return points, (which + fraction) / len(radii)

    # E[radius^2], the radius being uniform in a band; the centres move the first coordinate alone,
    # hence the half.
    square = np.mean(np.square(radii)) + _WIDTH**2 / 12
    return Shape(draw, (0.0, 0.0), float(spread * square + np.mean(np.square(centres)) / 2))


_MOON_NOISE, _WIDTH, _CONCENTRIC, _ALIKE = 0.05, 0.5, (1.0, 2.0, 3.0), (1.0, 1.0, 1.0)

SHAPES: dict[str, Shape] = {
    "moons": Shape(_moons, (0.5, 0.25), (0.75 + 0.5625 - 1 / np.pi) / 2 + _MOON_NOISE**2),
    "checkerboard": Shape(_checkerboard, (0.0, 0.0), 4 / 3),
    "concentric-rings": _bands(_circle, _CONCENTRIC, (0.0, 0.0, 0.0), 1 / 2),
    "concentric-squares": _bands(_square, _CONCENTRIC, (0.0, 0.0, 0.0), 2 / 3),
    "parallel-rings": _bands(_circle, _ALIKE, (-2.8, 0.0, 2.8), 1 / 2),
    "parallel-squares": _bands(_square, _ALIKE, (-3.0, 0.0, 3.0), 2 / 3),
}


def draw_points(shape: str, count: int, rng: np.random.Generator) -> Sample:
    """`count` points of a named shape, of mean 0 and variance 1, and their positions along it.

    Both are float32, [n 2] and [n] in [0, 1). Raises ValueError, with the list, for an unknown
    shape.
    """
    if shape not in SHAPES:
        raise ValueError(f"Unknown shape '{shape}'; known are {', '.join(SHAPES)}.")
    kind = SHAPES[shape]
    points, positions = kind.draw(count, rng)
    points = (points - kind.mean) / np.sqrt(kind.variance)
    return points.astype(np.float32), positions.astype(np.float32)


class Points:
    """A shape as an `ImageSource` of points (2,).

    `take` reads a fixed set of `size` points, drawn from `seed`; with a generator it draws new
    ones.
    """

    image_shape, labels, classes = (2,), None, ()

    def __init__(self, shape: str, *, size: int = 100_000, seed: int = 0):
        self.shape = shape
        self._points, self.positions = draw_points(shape, size, np.random.default_rng(seed))

    def __len__(self) -> int:
        return len(self._points)

    def take(
        self, indices: Indices, *, rng: np.random.Generator | None = None, part: slice = ALL
    ) -> Float[np.ndarray, "m 2"]:
        """The points at `indices` of the fixed set; with a generator, as many new ones."""
        if rng is None:
            return self._points[np.asarray(indices)[part]]
        return draw_points(self.shape, len(indices), rng)[0][part]

"""Pictures that are drawn from random numbers alone, with their partners: heads, and lands.

Every function of a count and a seed returns pairs, [n h w c] and [n h w d], in the types of their
files.
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

SIDE = 32
_FINE = 4
"""Points each way that a pixel is the mean of."""

Pair = tuple[np.ndarray, np.ndarray]


_TISSUES = ("air", "scalp", "skull", "fluid", "grey", "white", "calcified", "oedema")
_MR = np.asarray([0.0, 0.85, 0.08, 0.20, 0.50, 0.70, 0.05, 0.35])
"""Signal of each tissue in a T1-weighted picture, in units of 3000."""
_CT = np.asarray([-1000.0, -20.0, 1100.0, 8.0, 38.0, 30.0, 700.0, 18.0])
"""Hounsfield units."""
_GAIN, _RICIAN, _BIAS, _CT_NOISE = 3000.0, 0.03, 0.15, 10.0


def phantoms(count: int, seed: int) -> Pair:
    """Heads: MR-like uint16 and CT-like int16 [n h w 1]."""
    rng = np.random.default_rng((seed, 1))
    heads = [_head(rng) for _ in range(count)]
    return np.stack([mr for mr, _ in heads]), np.stack([ct for _, ct in heads])


def inverted(values: np.ndarray) -> np.ndarray:
    """MR-like heads with bright and dark exchanged, and the air around them left black.

    The head is what exceeds a quarter of the range and all that this encloses, less its outermost
    pixels, which are half air.
    """
    turned = np.zeros_like(values)
    for picture, into in zip(values[..., 0], turned[..., 0], strict=True):
        head = ndimage.binary_erosion(ndimage.binary_fill_holes(picture > 0.25 * _GAIN))
        into[head] = np.clip(_GAIN - picture[head].astype(float), 0, _GAIN)
    return turned


def _head(rng: np.random.Generator) -> Pair:
    x, y = _places()
    centre, turn = rng.uniform(-0.06, 0.06, 2), rng.uniform(-0.3, 0.3)
    axes = np.asarray([rng.uniform(0.64, 0.76), rng.uniform(0.78, 0.90)])
    inside = lambda shrunk: _ellipse(x, y, centre, axes - shrunk, turn)
    scalp, skull = rng.uniform(0.06, 0.10), rng.uniform(0.10, 0.17)
    depths = np.cumsum([0, scalp, skull, 0.04, rng.uniform(0.08, 0.12)])
    tissue = np.zeros(x.shape, int)
    for depth, name in zip(depths, ("scalp", "skull", "fluid", "grey", "white"), strict=True):
        tissue[inside(depth)] = _TISSUES.index(name)
    brain = inside(depths[3])
    large = np.asarray([rng.uniform(0.04, 0.09), rng.uniform(0.14, 0.24)])
    for side in (-1, 1):
        place = _turned(centre, (side * rng.uniform(0.09, 0.13), rng.uniform(-0.05, 0.05)), turn)
        tissue[_ellipse(x, y, place, large, turn - side * 0.3)] = _TISSUES.index("fluid")
    for name in rng.choice(["calcified", "oedema"], rng.integers(0, 4)):
        place = _turned(centre, rng.uniform(-0.45, 0.45, 2), turn)
        spot = _ellipse(x, y, place, rng.uniform(0.05, 0.13, 2), rng.uniform(0, np.pi))
        tissue[spot & brain] = _TISSUES.index(name)
    mr = (_MR * rng.normal(1, 0.04, len(_MR)))[tissue]
    slope = rng.normal(0, _BIAS, 5)
    mr = _pixels(
        mr
        * np.exp(slope @ np.stack([x, y, x * y, x * x - 0.3, y * y - 0.3]).reshape(5, -1)).reshape(
            x.shape
        )
    )
    noise = rng.normal(0, _RICIAN, (2, *mr.shape))
    mr = np.hypot(mr + noise[0], noise[1])
    ct = _CT.copy()
    ct[2] += rng.normal(0, 100)
    ct = _pixels(ct[tissue]) + rng.normal(0, _CT_NOISE, mr.shape)
    return (
        np.rint(np.clip(_GAIN * mr, 0, 65535)).astype(np.uint16)[..., None],
        np.rint(np.maximum(ct, _CT[0])).astype(np.int16)[..., None],
    )


_COVERS = ("water", "road", "soil", "meadow", "crop", "forest")
_SAR = np.asarray([-22.0, -17.0, -13.0, -11.0, -9.0, -6.5])
"""Backscatter of each cover in decibels."""
_OPTICAL = np.asarray(
    [
        [22, 44, 66],
        [150, 148, 145],
        [168, 136, 100],
        [122, 152, 84],
        [176, 170, 84],
        [60, 112, 62],
    ]
)
_LOOKS = 16
"""Of the speckle, whose intensity has a Gamma distribution of that shape and of mean 1."""


def lands(count: int, seed: int) -> Pair:
    """Lands: SAR-like float32 [n h w 1] in decibels and optical bytes [n h w 3]."""
    rng = np.random.default_rng((seed, 2))
    found = [_land(rng) for _ in range(count)]
    return np.stack([sar for sar, _ in found]), np.stack([optical for _, optical in found])


def _land(rng: np.random.Generator) -> Pair:
    x, y = _places()
    fields = rng.integers(8, 16)
    seeds = rng.uniform(-1.2, 1.2, (fields, 2))
    cover = rng.choice(np.arange(2, len(_COVERS)), fields)
    distance = (x[..., None] - seeds[:, 0]) ** 2 + (y[..., None] - seeds[:, 1]) ** 2
    field = np.argmin(distance, axis=-1)
    kind, own = cover[field], field
    for number in range(rng.integers(0, 3)):
        angle, offset = rng.uniform(0, np.pi), rng.uniform(-0.7, 0.7)
        road = np.abs(x * np.cos(angle) + y * np.sin(angle) - offset) < 0.04
        kind, own = np.where(road, 1, kind), np.where(road, fields + number, own)
    if rng.uniform() < 0.7:
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.6, 0.6)
        along = -x * np.sin(angle) + y * np.cos(angle)
        bend = rng.uniform(0.05, 0.25) * np.sin(rng.uniform(2, 4) * along + rng.uniform(0, 6))
        river = np.abs(x * np.cos(angle) + y * np.sin(angle) - offset - bend) < rng.uniform(
            0.1, 0.3
        )
        kind, own = np.where(river, 0, kind), np.where(river, fields + 3, own)
    shade = rng.normal(0, 1, fields + 4)[own]
    intensity = _pixels(10 ** ((_SAR[kind] + 0.5 * rng.normal(0, 1, fields + 4)[own]) / 10))
    speckle = rng.gamma(_LOOKS, 1 / _LOOKS, intensity.shape)
    colours = _OPTICAL[kind] * (1 + 0.08 * shade[..., None])
    optical = np.stack([_pixels(colours[..., c]) for c in range(3)], axis=-1)
    optical = optical + rng.normal(0, 3, optical.shape)
    return (
        (10 * np.log10(intensity * speckle)).astype(np.float32)[..., None],
        np.rint(np.clip(optical, 0, 255)).astype(np.uint8),
    )


def _places() -> tuple[np.ndarray, np.ndarray]:
    """The fine points' x and y in [-1, 1]."""
    at = (np.arange(SIDE * _FINE) + 0.5) / (SIDE * _FINE) * 2 - 1
    x, y = np.meshgrid(at, at)
    return x, y


def _pixels(fine: Float[np.ndarray, "k l"]) -> Float[np.ndarray, "h w"]:
    return fine.reshape(SIDE, _FINE, SIDE, _FINE).mean(axis=(1, 3))


def _turned(centre, place, turn: float) -> np.ndarray:
    cos, sin = np.cos(turn), np.sin(turn)
    return centre + np.asarray([[cos, -sin], [sin, cos]]) @ np.asarray(place)


def _ellipse(x, y, centre, axes, turn: float) -> Bool[np.ndarray, "k l"]:
    dx, dy = x - centre[0], y - centre[1]
    cos, sin = np.cos(turn), np.sin(turn)
    u, v = cos * dx + sin * dy, -sin * dx + cos * dy
    return (u / axes[0]) ** 2 + (v / axes[1]) ** 2 < 1

"""Images as PNG files: one by one, or as a grid."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

_COLUMNS = 16
ON_SHEET = 4 * _COLUMNS
"""Images that a sheet of images and their results shows at most."""


def to_bytes(images: Float[np.ndarray, "*n h w c"]) -> UInt8[np.ndarray, "*n h w c"]:
    """Floats in [-1, 1], clipped, to bytes in [0, 255], rounded to nearest."""
    return np.rint((np.clip(np.asarray(images), -1, 1) + 1) * 127.5).astype(np.uint8)


def displayed(images: Float[np.ndarray, "*n h w _"]) -> Float[np.ndarray, "*n h w c"]:
    """Images of any channels as people see them: of two the first, of four or more three."""
    channels = images.shape[-1]
    return images if channels in (1, 3) else images[..., : 1 if channels == 2 else 3]


def alike(*groups: Float[np.ndarray, "n h w _"]) -> list[Float[np.ndarray, "n h w c"]]:
    """Groups of images as people see them, grey ones as colours where others have some."""
    shown = [displayed(images) for images in groups]
    colours = max(images.shape[-1] for images in shown)
    grey = lambda images: images.shape[-1] < colours
    return [np.repeat(images, colours, axis=-1) if grey(images) else images for images in shown]


def write_images(
    directory: str | Path, names: Sequence[str], images: Sequence[Any] | np.ndarray
) -> list[Path]:
    """Write images [h w c] in [-1, 1], of 1 or 3 channels, as `directory`/NAME.png; their paths."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"{name}.png" for name in names]
    for path, image in zip(paths, map(to_bytes, images), strict=True):
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(path)
    return paths


def write_grid(
    path: str | Path, images: Float[np.ndarray, "n h w c"], *, columns: int = 8, zoom: int = 2
) -> Path:
    """Write images in [-1, 1] as one PNG, row by row, `zoom` times as large; returns the path.

    Of two channels the first is shown, of four or more the first three.
    """
    tiles = to_bytes(displayed(images)).repeat(zoom, axis=1).repeat(zoom, axis=2)
    count, height, width, channels = tiles.shape
    rows = -(-count // columns)
    sheet = np.full((rows * columns, height + 2, width + 2, channels), 255, np.uint8)
    sheet[:count, 1:-1, 1:-1] = tiles
    sheet = sheet.reshape(rows, columns, height + 2, width + 2, channels).transpose(0, 2, 1, 3, 4)
    sheet = sheet.reshape(rows * (height + 2), columns * (width + 2), channels)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet.squeeze(-1) if channels == 1 else sheet).save(path)
    return path


def write_sheet(
    path: str | Path, images: Float[np.ndarray, "n h w _"], results: Float[np.ndarray, "n h w _"]
) -> Path:
    """Write rows of the first `ON_SHEET` images, each above a row of their results, as one PNG.

    Grey ones beside colours are shown in these.
    """
    columns = min(len(images), _COLUMNS)
    images, results = alike(images, results)
    rows = []
    for start in range(0, min(len(images), ON_SHEET), columns):
        for part in (images, results):
            row = part[start : start + columns]
            white = np.ones((columns - len(row), *row.shape[1:]), row.dtype)
            rows.append(np.concatenate([row, white]))
    return write_grid(path, np.concatenate(rows), columns=columns)

"""Arrays of any type and number of channels cropped and resized, without a detour by 8 bits."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image


class Window(NamedTuple):
    """A part of a picture in its pixels, and the height and width that it is resized to."""

    top: int
    left: int
    height: int
    width: int
    shape: tuple[int, int]

    @property
    def whole(self) -> bool:
        """Whether it begins in the picture's corner and keeps its size."""
        return (self.top, self.left) == (0, 0) and (self.height, self.width) == self.shape


def central(height: int, width: int, shape: tuple[int, int] | None) -> Window:
    """The largest central part of a picture that has the proportions of `shape`; None for all."""
    if shape is None:
        return Window(0, 0, height, width, (height, width))
    unit = min(height / shape[0], width / shape[1])
    part = max(1, round(shape[0] * unit)), max(1, round(shape[1] * unit))
    return Window((height - part[0]) // 2, (width - part[1]) // 2, *part, shape)


def resized(values: Float[np.ndarray, "h w c"], window: Window) -> Float[np.ndarray, "H W c"]:
    """The window of float32 values at its shape, by Lanczos' antialiasing filter, as of pictures.

    A window that keeps its size keeps its values to the bit.
    """
    top, left, height, width, shape = window
    part = values[top : top + height, left : left + width]
    if part.shape[:2] == shape:
        return part
    planes = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(plane, np.float32)).resize(
                (shape[1], shape[0]), Image.Resampling.LANCZOS
            )
        )
        for plane in np.moveaxis(part, -1, 0)
    ]
    return np.stack(planes, axis=-1)

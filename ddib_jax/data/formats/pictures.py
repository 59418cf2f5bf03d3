"""Pictures of 8 bits as Pillow decodes them: JPEG, WebP, BMP and others."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ddib_jax.data.formats.header import Header, Plain, Values, in_units
from ddib_jax.data.formats.png import PNG


class Picture(Plain):
    """A picture of 8 bits, upright by its EXIF orientation; results are PNG, without loss."""

    suffixes = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".ppm", ".pgm", ".pnm", ".gif")

    def header(self, path: Path) -> Header:
        """Type and shape; results are written as PNG."""
        with Image.open(path) as file:
            image = _decoded(file)
            height, width = image.height, image.width
            channels = len(image.getbands())
        wide = image.mode.startswith("I")
        return Header("picture", ".png", "uint16" if wide else "uint8", (height, width, channels))

    def read(self, path: Path, header: Header) -> Values:
        """The picture as one slice, of an animation the first."""
        with Image.open(path) as file:
            pixels = np.asarray(_decoded(file))
        return in_units(header, pixels.reshape(1, *header.shape))

    def takes(self, dtype: str, channels: int) -> bool:
        """What PNG holds."""
        return PNG().takes(dtype, channels)

    def write(self, path: Path, header: Header, values: Values) -> None:
        """Write a PNG."""
        PNG().write(path, header, values)


def _decoded(file: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(file)
    if image.mode == "P":
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode not in ("1", "L", "LA", "RGB", "RGBA", "I;16", "I;16B", "I"):
        return image.convert("RGB")
    return image.convert("L") if image.mode == "1" else image

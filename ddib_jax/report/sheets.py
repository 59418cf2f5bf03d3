"""Contact sheets: images enlarged by whole pixels, labelled, on a dark ground."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image, ImageDraw, ImageFont

from ddib_jax.data.png import to_bytes

BACKGROUND = (14, 16, 20)
LABEL = (214, 218, 226)
GAP = 6
MARGIN = 24
CELL = 128
LINE = 24


def to_uint8(images: Shaped[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "n h w 3"]:
    """Images as RGB bytes: bytes as they are, floats in [-1, 1] scaled and NaN as 0; grey made RGB.

    Raises:
        ValueError: the images are not [n, h, w, 1 or 3].
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"The images have shape {images.shape}; give [n, h, w, 1 or 3].")
    if images.dtype != np.uint8:
        images = to_bytes(np.nan_to_num(images.astype(np.float64)))
    return images if images.shape[-1] == 3 else np.repeat(images, 3, axis=-1)


def latent_images(latent: Float[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n h w k"]:
    """Latents as images: three standard deviations either side fill [-1, 1].

    Of codes of more channels than colours the first three are shown.
    """
    return np.clip(latent[..., :3].astype(np.float64) / 3.0, -1.0, 1.0)


def _font(size: int) -> ImageFont.FreeTypeFont:
    # matplotlib brings it, so that a sheet looks the same on every machine.
    file = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(str(file), size)


def _enlarge(image: UInt8[np.ndarray, "h w 3"], scale: int) -> Image.Image:
    return Image.fromarray(np.repeat(np.repeat(image, scale, axis=0), scale, axis=1))


def contact_sheet(
    rows: Mapping[str, Shaped[np.ndarray, "n h w c"]],
    path: Path,
    *,
    captions: Sequence[str] | None = None,
    scale: int | None = None,
) -> Path:
    """Write a PNG of labelled rows of images, column under column; returns its path.

    Shapes: every row [n, h, w, 1 or 3], uint8 or float in [-1, 1]; `captions`, one a column, stand
    below and may have several lines. A pixel becomes `scale` pixels wide, by default so many that
    an image is about 128 wide.

    Raises:
        ValueError: no rows, rows of unlike shape, or captions that are not one a column.
    """
    sheets = {label: to_uint8(np.asarray(images)) for label, images in rows.items()}
    shapes = {images.shape for images in sheets.values()}
    if len(shapes) != 1 or 0 in next(iter(shapes)):
        raise ValueError(
            f"The rows of a sheet have shapes {sorted(shapes)}; give rows of one shape, not empty."
        )
    count, height, width, _ = next(iter(shapes))
    if captions is not None and len(captions) != count:
        raise ValueError(
            f"There are {len(captions)} captions for {count} columns; give one a column."
        )
    factor = scale if scale is not None else max(1, CELL // max(height, width))
    height, width = height * factor, width * factor
    font = _font(26)
    longest = max(font.getlength(line) for label in sheets for line in label.split("\n"))
    gutter = MARGIN + round(longest) + 18
    lines = max((caption.count("\n") + 1 for caption in captions or ()), default=0)
    below = LINE * lines + 8 if lines else 0
    size = (
        gutter + count * (width + GAP) - GAP + MARGIN,
        2 * MARGIN + len(sheets) * (height + GAP) - GAP + below,
    )
    sheet = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for line, (label, images) in enumerate(sheets.items()):
        top = MARGIN + line * (height + GAP)
        draw.multiline_text(
            (gutter - 18, top + height / 2), label, LABEL, font, "rm", align="right"
        )
        for column, image in enumerate(images):
            sheet.paste(_enlarge(image, factor), (gutter + column * (width + GAP), top))
    small = _font(18)
    for column, caption in enumerate(captions or ()):
        centre = gutter + column * (width + GAP) + width / 2
        draw.multiline_text(
            (centre, size[1] - MARGIN - below + 12), caption, LABEL, small, "ma", align="center"
        )
    return _save(sheet, path)


def gallery(
    above: Shaped[np.ndarray, "n h w c"],
    below: Shaped[np.ndarray, "n h w c"],
    path: Path,
    *,
    columns: int = 24,
    scale: int | None = None,
) -> Path:
    """Write a PNG of pairs, an image of `above` on top of one of `below`; returns its path.

    Shapes: two sets [n, h, w, 1 or 3], uint8 or float in [-1, 1]. `scale` as in `contact_sheet`,
    by default half as large.

    Raises:
        ValueError: the sets are empty or of unlike shape.
    """
    first, second = to_uint8(np.asarray(above)), to_uint8(np.asarray(below))
    if first.shape != second.shape or len(first) == 0:
        raise ValueError(
            f"The sets have shapes {first.shape} and {second.shape}; give two of one shape, not"
            " empty."
        )
    pairs = np.concatenate([first, second], axis=1)
    factor = scale if scale is not None else max(1, CELL // (2 * max(first.shape[1:3])))
    height, width = pairs.shape[1] * factor, pairs.shape[2] * factor
    columns = min(columns, len(pairs))
    lines = -(-len(pairs) // columns)
    size = (
        2 * MARGIN + columns * (width + GAP) - GAP,
        2 * MARGIN + lines * (height + 2 * GAP) - 2 * GAP,
    )
    sheet = Image.new("RGB", size, BACKGROUND)
    for index, pair in enumerate(pairs):
        line, column = divmod(index, columns)
        corner = (MARGIN + column * (width + GAP), MARGIN + line * (height + 2 * GAP))
        sheet.paste(_enlarge(pair, factor), corner)
    return _save(sheet, path)


def _save(sheet: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)
    return path

"""Parts of a page that a reader moves: images before and after, and strips of pictures."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from ddib_jax.report.sheets import to_uint8

SMALL = 128
"""Sides of images up to here are enlarged by whole pixels, larger ones smoothly."""


def png_uri(image: Shaped[np.ndarray, "h w c"]) -> str:
    """An image of one or three channels, bytes or floats in [-1, 1], as the URI of a PNG."""
    pixels = to_uint8(image[None])[0]
    grey = image.shape[-1] == 1
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if grey else pixels).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def before_after(
    before: Shaped[np.ndarray, "n h w c"],
    after: Shaped[np.ndarray, "n h w c"],
    names: Sequence[str],
    *,
    words: tuple[str, str] = ("source", "translation"),
) -> str:
    """HTML of pairs of images, one upon the other, each with a slider that parts them.

    The sliders are moved by pointer, finger or arrow keys, and one above moves all. Shapes: two
    sets [n h w 1 or 3], bytes or floats in [-1, 1]; `names`, one a pair, stand below. words: what
    the images on the left and on the right are.
    """
    left, right = (escape(word, quote=True) for word in words)
    slider = '<input type="range" min="0" max="100" value="50"'
    pairs = []
    for one, other, name in zip(before, after, names, strict=True):
        label = escape(str(name), quote=True)
        pairs.append(
            '<figure class="pair"><div class="split">'
            f'<img alt="{right} of {label}" src="{png_uri(other)}">'
            f'<img class="before" alt="{left} {label}" src="{png_uri(one)}">'
            f'{slider} aria-label="{label}: per cent of the {left}"></div>'
            f'<figcaption title="{label}">{label}</figcaption></figure>'
        )
    together = (
        f'<div class="together"><span>{right}</span>'
        f'{slider} data-all aria-label="all images: per cent of the {left}"><span>{left}</span>'
        "</div>"
    )
    return _pairs(before, together, pairs)


def tiled(images: Shaped[np.ndarray, "n h w c"], names: Sequence[str]) -> str:
    """HTML of images [n h w 1 or 3] side by side, each with its name below."""
    figures = []
    for image, name in zip(images, names, strict=True):
        label = escape(str(name), quote=True)
        figures.append(
            f'<figure class="pair"><img alt="{label}" src="{png_uri(image)}">'
            f'<figcaption title="{label}">{label}</figcaption></figure>'
        )
    return _pairs(images, "", figures)


def strips(
    rows: Mapping[str, Shaped[np.ndarray, "m h w c"]], heads: Sequence[str], *, caption: str = ""
) -> str:
    """HTML of rows of m pictures under `heads`, a row's label before it; they scroll sideways."""
    top = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    body = ""
    for label, pictures in rows.items():
        body += f'<tr><th scope="row">{escape(label)}</th>'
        for head, picture in zip(heads, pictures, strict=True):
            words = escape(f"{label}: {head}", quote=True)
            body += f'<td><img alt="{words}" src="{png_uri(picture)}"></td>'
        body += "</tr>"
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    kind = _kind(next(iter(rows.values())))
    # To be scrolled by keys, it can have the focus.
    return (
        f'<figure><div class="strips{kind}" tabindex="0"><table><thead><tr><td></td>{top}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>{below}</figure>"
    )


def _pairs(images: Shaped[np.ndarray, "n h w c"], head: str, figures: Sequence[str]) -> str:
    tiles = f'<div class="tiled">{"".join(figures)}</div>'
    return f'<div class="pairs{_kind(images)}">{head}{tiles}</div>'


def _kind(images: Shaped[np.ndarray, "n h w c"]) -> str:
    return " pixelated" if max(images.shape[1:3]) <= SMALL else ""

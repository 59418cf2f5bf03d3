"""The explorer of a sweep: one HTML file with sliders over coefficients and images."""

import json
import os
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from ddib_jax.report.contents import arrays_of
from ddib_jax.report.sheets import latent_images, to_uint8
from ddib_jax.report.widgets import SMALL, png_uri
from ddib_jax.runs import Run

EXPLORER = "explorer.html"
"""The name of the file, beside the run that it is made of."""
LARGEST = 9_500_000
"""Bytes of the pictures of an explorer: a file of 10 MB can be sent by mail."""


def write_explorer(run: Run, path: Path, *, largest: int = LARGEST) -> Path:
    """Write the explorer of a run of the name "sweep"; returns its path.

    The arrays are those of the layout `sweep`, with `latent` [n k h w c] where there are latents.
    Images are taken in order, each with its translations and latents under every coefficient,
    until their pictures take `largest` bytes; one is taken in any case, and the page says how many
    are left out.

    Raises:
        ValueError: an array is missing.
    """
    found, coefficients, names = arrays_of(run, ("translation", "coefficients", "names"))
    images: list[dict[str, Any]] = []
    size = 0
    for index, name in enumerate(names):
        image = _entry(run, index, str(name))
        size += len(json.dumps(image))
        if images and size > largest:
            break
        images.append(image)
    table = run.tables.get("latents")
    data = {
        "coefficients": [f"{value:g}" for value in coefficients],
        "images": images,
        "pixelated": max(found.shape[2:4]) <= SMALL,
        "figures": None if table is None else {"heads": table.columns[1:], "rows": table.rows},
    }
    assets = resources.files("ddib_jax.report")
    read = lambda name: assets.joinpath(name).read_text("utf-8")
    page = Template(read("explorer.html")).substitute(
        title=escape(run.title),
        lead=escape(run.texts.get("summary", "")),
        perturbation=escape(run.texts.get("perturbation", "")),
        shown=escape(_shown(len(images), len(names))),
        command=escape(run.command),
        style=read("page.css") + read("explorer.css"),
        script=read("explorer.js"),
        # No "<" stands in the data: it could end the element that holds them.
        data=json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"),
    )
    draft = path.with_name(f".{path.name}")
    draft.write_text(page, "utf-8")
    os.replace(draft, path)
    return path


def _entry(run: Run, index: int, name: str) -> dict[str, Any]:
    """An image's pictures: the source, and translation and latent under each coefficient."""
    arrays = run.arrays
    latents = _latents(arrays["latent"][index]) if "latent" in arrays else ()
    return {
        "name": name,
        "source": png_uri(arrays["source"][index]) if "source" in arrays else None,
        "translations": [png_uri(image) for image in arrays["translation"][index]],
        "latents": [png_uri(image) for image in latents],
    }


def _latents(values: Float[np.ndarray, "k h w c"]) -> UInt8[np.ndarray, "k h w 3"]:
    """Latents as pictures, of other than three channels the first one or three."""
    channels = 3 if values.shape[-1] >= 3 else 1
    return to_uint8(latent_images(values[..., :channels]))


def _shown(count: int, total: int) -> str:
    if count == total:
        return f"All {total} images of the run are here." if total > 1 else ""
    return f"The first {count} of the run's {total} images are here: more would make a large file."

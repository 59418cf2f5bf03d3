"""Images in a NumPy file, as many data sets and samplers' outputs are handed on."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float

from ddib_jax.data.sources import ALL, Indices, to_float


class ArrayImages:
    """The images of an .npz file, an `ImageSource` of (h, w, c) in [-1, 1] without augmentation.

    The file holds bytes [n h w c] as `images`, or as `arr_0`, the name under which guided-diffusion
    writes samples, and optionally integers [n] from 0 as `labels`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds something else, or is damaged.
    """

    def __init__(self, path: str | Path):
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"There is no file {path}: give npz:FILE with a file of images."
            )
        try:
            with np.load(path, allow_pickle=False) as stored:
                name = "images" if "images" in stored else "arr_0"
                self._pixels = stored[name]
                labels = stored.get("labels", None)
        except (KeyError, ValueError, OSError, EOFError, TypeError, BadZipFile) as error:
            raise ValueError(
                f"{path} is no .npz file with an array `images`, or it is cut short."
            ) from error
        _check_images(path, self._pixels)
        self.image_shape = self._pixels.shape[1:]
        self.labels, self.classes = None, ()
        if labels is not None:
            _check_labels(path, labels, len(self._pixels))
            self.labels = labels.astype(np.int32)
            self.classes = tuple(str(label) for label in range(int(labels.max()) + 1))

    def __len__(self) -> int:
        return len(self._pixels)

    def take(
        self, indices: Indices, *, rng: np.random.Generator | None = None, part: slice = ALL
    ) -> Float[np.ndarray, "m h w c"]:
        """The images at `indices`, float32 in [-1, 1]; `rng` is not used."""
        return to_float(self._pixels[np.asarray(indices)[part]])


def _check_images(path: Path, pixels: np.ndarray) -> None:
    is_images = pixels.ndim == 4 and pixels.shape[-1] in (1, 3) and len(pixels) > 0
    if pixels.dtype != np.uint8 or not is_images:
        raise ValueError(
            f"The images in {path} are {pixels.dtype} {pixels.shape}: expected bytes"
            " [n, h, w, 1 or 3]."
        )


def _check_labels(path: Path, labels: np.ndarray, count: int) -> None:
    if labels.shape != (count,) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise ValueError(
            f"{path} has labels {labels.dtype} {labels.shape} for {count} images, or negative"
            " ones: expected one whole number an image, from 0."
        )

"""Images in a NumPy file, as many data sets and samplers' outputs are handed on."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float

from ddib_jax.data.sources import ALL, Indices, to_float


class ArrayImages:
    """The images of an .npz file, an `ImageSource` of (h, w, c) in [-1, 1] without augmentation.

    The file holds bytes [n h w c] as `images` (or as its first array, `arr_0`, as guided-diffusion
    writes samples) and, where it has them, integers [n] as `labels`. Raises FileNotFoundError for a
    missing file and ValueError for one of another content.
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
        if (
            self._pixels.dtype != np.uint8
            or self._pixels.ndim != 4
            or self._pixels.shape[-1] not in (1, 3)
            or len(self._pixels) == 0
        ):
            raise ValueError(
                f"The images in {path} are {self._pixels.dtype} {self._pixels.shape}: expected"
                " bytes [n, h, w, 1 or 3]."
            )
        if labels is not None and (
            labels.shape != self._pixels.shape[:1]
            or labels.dtype.kind not in "iu"
            or labels.min() < 0
        ):
            raise ValueError(
                f"{path} has labels {labels.dtype} {labels.shape} for {len(self._pixels)} images,"
                " or negative ones: expected one whole number an image, from 0."
            )
        self.labels = None if labels is None else labels.astype(np.int32)
        self.image_shape = self._pixels.shape[1:]
        self.classes = (
            ()
            if self.labels is None
            else tuple(str(label) for label in range(int(self.labels.max()) + 1))
        )

    def __len__(self) -> int:
        return len(self._pixels)

    def take(
        self, indices: Indices, rng: np.random.Generator | None = None, part: slice = ALL
    ) -> Float[np.ndarray, "m h w c"]:
        """The images at `indices`, float32 in [-1, 1]; `rng` is not used."""
        return to_float(self._pixels[np.asarray(indices)[part]])

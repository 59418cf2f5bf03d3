"""What a run keeps of any number of images for its page, taken from the batches as they come."""

import numpy as np
from jaxtyping import Float, UInt8

from ddib_jax.data.png import displayed, to_bytes

SHOWN = 48
"""Images of a page at most, before and after."""
ROOM = 2**22
"""Bytes of all images of a page, before or after: fewer large ones are shown than small ones."""
FEWEST = 4
"""Images of a page, however large they are."""
MEASURED = 2**24
"""Bytes of the latents that are measured."""


class Recorder:
    """The first images of a translation, by name, as bytes, and the first of its latents.

    Kept are at most `SHOWN` images and as many as take `ROOM` bytes by each name, but not fewer
    than `FEWEST`; of latents as many as take `MEASURED` bytes, and not fewer than of the images.
    """

    def __init__(self) -> None:
        self._images: dict[str, list[np.ndarray]] = {}
        self._latents: list[np.ndarray] = []
        self._shown, self._measured = SHOWN, 0

    def add(
        self,
        *,
        latents: Float[np.ndarray, "n ..."] | None = None,
        **images: Float[np.ndarray, "n ..."],
    ) -> None:
        """Keep what is still wanted of a batch: images [n ... h w c] in [-1, 1] by their names.

        Every batch has the same names, and n images of each.
        """
        for name, array in images.items():
            self._shown = min(self._shown, max(FEWEST, ROOM // array[0].size))
            parts = self._images.setdefault(name, [])
            if (missing := self._shown - sum(map(len, parts))) > 0:
                parts.append(to_bytes(displayed(array[:missing])))
        if latents is not None:
            most = max(self._shown, MEASURED // latents[0].nbytes)
            if (missing := most - self._measured) > 0:
                self._latents.append(np.array(latents[:missing], np.float32))
                self._measured += len(self._latents[-1])

    def __len__(self) -> int:
        """How many images are kept by each name."""
        return min((self._shown, *(sum(map(len, parts)) for parts in self._images.values())))

    def images(self) -> dict[str, UInt8[np.ndarray, "n ..."]]:
        """The images [n ... h w c] by their names."""
        return {name: np.concatenate(parts)[: self._shown] for name, parts in self._images.items()}

    def floats(self, name: str) -> Float[np.ndarray, "n ..."]:
        """The images of that name in [-1, 1] again."""
        return self.images()[name].astype(np.float32) / 127.5 - 1

    def latents(self) -> Float[np.ndarray, "n ..."] | None:
        """The latents [n ...], or None where there were none."""
        return np.concatenate(self._latents) if self._latents else None

"""Couplings by a linear map: what it keeps of an image moves as the source's ODE has it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.bridge.couplings.coupling import Rows
from ddib_jax.diffusion import probability_flow
from ddib_jax.types import Data, Denoiser, Image, Latent, Scalar, VectorField


@struct.dataclass
class Linear:
    """dy = v_source(y), dx = v_target(x) + strength P (v_source(y) - v_target(x)).

    P, a linear map of images, says what is the source's: a band of frequencies (`Cosines`), a part
    of the picture (`Pixels`). With a projection P and strength 1 the translation's P x is that of
    the image itself; with strength 0 the target's ODE is left alone. As it is one ODE of the pair
    (y, x), the pair is led back to the latents. It costs the source's evaluations a second time.

    kick: leave both ODEs alone and replace what is kept after every step instead, x + strength P (y
    - x), as ILVR does (Choi et al. 2021), which couples a path of noise to an image. It suits maps
    that are no projections; the result depends on the number of steps, and no solver keeps its
    order.
    """

    keep: Any
    strength: Scalar | float = 1.0
    kick: bool = struct.field(pytree_node=False, default=False)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError where the map does not take data of this shape."""
        self.keep.check(shape)

    def start(self, source: Latent, target: Latent) -> Rows:
        """The pair of latents, the target's with what is kept of the source's."""
        return jnp.stack([source, target + self.strength * self.keep(source - target)], axis=1)

    def field(self, source: Denoiser, target: Denoiser) -> VectorField:
        """The slope of the pair."""
        v_source, v_target = probability_flow(source), probability_flow(target)

        def slope(sigma: Scalar, rows: Rows) -> Rows:
            dy, dx = v_source(sigma, rows[:, 0]), v_target(sigma, rows[:, 1])
            if not self.kick:
                dx = dx + self.strength * self.keep(dy - dx)
            return jnp.stack([dy, dx], axis=1)

        return slope

    @property
    def after(self) -> Callable[[Rows], Rows] | None:
        """The replacement after a step, of the form that has one."""
        if not self.kick:
            return None
        return lambda rows: self.start(rows[:, 0], rows[:, 1])

    def result(self, rows: Rows) -> Data:
        """The target's row."""
        return rows[:, 1]


@struct.dataclass
class Cosines:
    """Every channel's cosines (DCT-II, orthonormal) times `weights` [h w], in [0, 1].

    Entry (i, j) is that of i half waves down and j across; (0, 0) is the mean.
    """

    weights: Float[Array | np.ndarray, "h w"]

    @classmethod
    def band(cls, size: tuple[int, ...], low: int, high: int) -> "Cosines":
        """Cosines of `low` up to below `high` half waves, the larger of both ways; `size` (h, w).

        Raises ValueError where there is none in an image of this size.
        """
        height, width = size[:2]
        if not 0 <= low < high or low >= max(height, width):
            raise ValueError(
                f"There is no frequency from {low} up to below {high} in images of {height} x"
                f" {width}; count half waves from 0 up to the side."
            )
        larger = np.maximum(*np.indices((height, width)))
        return cls(((low <= larger) & (larger < high)).astype(np.float32))

    @classmethod
    def agreement(
        cls, source: Float[np.ndarray, "n h w c"], target: Float[np.ndarray, "m h w c"]
    ) -> "Cosines":
        """The share of power that the spectra of two sets of images have in common.

        Smaller over larger mean power, by rings of equal larger half waves: 1 where both domains
        have as much, near 0 where one has what the other lacks. The idea of choosing what to keep
        by where domains agree is DDWM's; the weight is this project's.
        """
        rows, columns = np.indices(source.shape[1:3])
        larger = np.maximum(rows, columns)
        powers = []
        for images in (source, target):
            power = np.square(_cosines(images)).mean(axis=(0, 3))
            sums = np.bincount(larger.ravel(), power.ravel())
            powers.append(sums / np.bincount(larger.ravel()))
        ratio = np.minimum(*powers) / np.maximum(np.maximum(*powers), np.finfo(np.float32).tiny)
        return cls(ratio[larger].astype(np.float32))

    def at_size(self, height: int, width: int) -> "Cosines":
        """The same wavelengths, in pixels, in pictures of another size."""
        own = self.weights.shape
        down, across = (
            np.arange(size) * before // size
            for size, before in zip((height, width), own, strict=True)
        )
        return Cosines(self.weights[down[:, None], across])

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError for data that are not images of the weights' size."""
        if len(shape) != 3 or shape[:2] != self.weights.shape:
            raise ValueError(
                f"A coupling of frequencies of {_by(self.weights.shape)} images cannot hold data of"
                f" {_by(shape)}; make it for their size."
            )

    def __call__(self, x: Image) -> Image:
        """What is kept of x [b h w c]."""
        down, across = (jnp.asarray(waves(size), x.dtype) for size in x.shape[1:3])
        weights = jnp.asarray(self.weights, x.dtype)[None, :, :, None]
        spectrum = jnp.einsum("pi,qj,bijc->bpqc", down, across, x, precision="highest")
        return jnp.einsum("pi,qj,bpqc->bijc", down, across, weights * spectrum, precision="highest")


@struct.dataclass
class Pixels:
    """Images times `mask` [h w 1] in [0, 1]: the source where it is 1."""

    mask: Float[Array | np.ndarray, "h w 1"]

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError for data that are not images of the mask's size."""
        if len(shape) != 3 or shape[:2] != self.mask.shape[:2]:
            raise ValueError(
                f"A mask of {_by(self.mask.shape[:2])} does not fit data of {_by(shape)}; give one"
                " of their size."
            )

    def __call__(self, x: Image) -> Image:
        """What is kept of x [b h w c]."""
        return jnp.asarray(self.mask, x.dtype) * x


@struct.dataclass
class Resized:
    """Images shrunk `factor` times and enlarged again by cubic interpolation, as ILVR's filter."""

    factor: int = struct.field(pytree_node=False, default=4)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError where the factor does not shrink data of this shape."""
        if len(shape) != 3 or not 1 <= self.factor <= min(shape[:2]):
            raise ValueError(
                f"The factor {self.factor} does not shrink data of {_by(shape)}; give images, and 1"
                " or more up to their side."
            )

    def __call__(self, x: Image) -> Image:
        """What is kept of x [b h w c]."""
        b, h, w, c = x.shape
        small = (b, max(1, h // self.factor), max(1, w // self.factor), c)
        return jax.image.resize(jax.image.resize(x, small, "cubic"), x.shape, "cubic")


def waves(size: int) -> Float[np.ndarray, "n n"]:
    """The orthonormal cosines of `size` values (DCT-II), one a row, the lowest first."""
    rows = np.cos(np.pi * np.arange(size)[:, None] * (np.arange(size) + 0.5)[None] / size)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _cosines(images: np.ndarray) -> np.ndarray:
    down, across = (waves(size) for size in images.shape[1:3])
    return np.einsum("pi,qj,nijc->npqc", down, across, np.asarray(images), optimize=True)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))

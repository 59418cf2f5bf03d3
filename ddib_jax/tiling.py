"""Windows over a large picture: one denoiser, and so one ODE, of many smaller ones."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

OVERLAP = 0.5
"""How far neighbouring windows overlap, unless asked otherwise, as a share of their side."""
AT_ONCE = 64
"""Windows of all images that are denoised at once, unless asked otherwise."""


@struct.dataclass
class Tiling:
    """D(x) = sum_k w_k D_k(x) / sum_k w_k, the average of overlapping windows' denoisers.

    MultiDiffusion (Bar-Tal et al. 2023, equation 5) with smooth weights, as in Mixture of Diffusers
    (Jimenez 2023); here it is the denoiser that is averaged, at every noise level that a solver
    asks for, and not the state after a step: a large picture has one ODE, without seams, and every
    solver inverts it as it does any other. w is the product of squared sines over the window's
    sides, which fall to nearly nothing at its border.

    rows [r] and columns [k]: the upper left corners of windows, which are leaves: other ones of the
    same number never retrace. window: height and width of one. at_once: how many windows of all
    images are denoised together; memory grows with it, and with the picture only by its own size.
    axis: of devices that all hold the same pictures, by its name; each then denoises its share of
    the windows. None for one device alone.
    """

    rows: Int[Array, " r"]
    columns: Int[Array, " k"]
    window: tuple[int, int] = struct.field(pytree_node=False)
    at_once: int = struct.field(pytree_node=False, default=AT_ONCE)
    axis: str | None = struct.field(pytree_node=False, default=None)

    @classmethod
    def over(
        cls,
        size: tuple[int, int],
        window: tuple[int, int],
        *,
        overlap: float = OVERLAP,
        shift: tuple[float, float] = (0.0, 0.0),
        at_once: int = AT_ONCE,
    ) -> "Tiling":
        """Windows evenly spaced over a picture of `size`, height and width, from border to border.

        overlap: of neighbours, at least this share of their side. shift: by how many strides all
        windows but those at the borders are moved, from -0.5 to 0.5, down and to the right.

        Raises:
            ValueError: a window is larger than the picture, or the overlap is not from 0 to below
                1.
        """
        if size[0] < window[0] or size[1] < window[1]:
            raise ValueError(
                f"The model's window of {window[0]} x {window[1]} pixels is larger than a picture"
                f" of {size[0]} x {size[1]}; enlarge it, or pad or resize it to the model's size"
                " (--fit pad, --fit resize)."
            )
        if not 0 <= overlap < 1:
            raise ValueError(f"Windows overlap by {overlap}; give a share from 0 to below 1.")
        rows, columns = (
            _corners(length, side, overlap, part)
            for length, side, part in zip(size, window, shift, strict=True)
        )
        return cls(jnp.asarray(rows), jnp.asarray(columns), window, at_once)

    def __call__(
        self, denoise: Callable[[Array], Array], x: Float[Array, "b h w c"]
    ) -> Float[Array, "b h w c"]:
        """The averaged answers at x, of a denoiser of windows [b k l c]."""
        weight = self._weights(x.dtype)
        spread = tuple(
            sum_of(x.shape[axis], corners, profile)
            for axis, corners, profile in zip(
                (1, 2), (self.rows, self.columns), weight, strict=True
            )
        )
        corners = jnp.stack(jnp.meshgrid(self.rows, self.columns, indexing="ij"), -1).reshape(-1, 2)
        count = len(corners)
        devices = 1 if self.axis is None else jax.lax.psum(1, self.axis)
        share = -(-count // devices)
        together = max(1, min(share, self.at_once // len(x)))
        # of every so many windows one is this device's; those that fill up are seen, not counted
        chosen = devices * jnp.arange(share + -share % together)
        if self.axis is not None:
            chosen += jax.lax.axis_index(self.axis)
        counted = (chosen < count).astype(x.dtype)
        corners = corners[jnp.minimum(chosen, count - 1)]
        size = (len(x), *self.window, x.shape[-1])
        profile = (weight[0][:, None] * weight[1])[..., None]

        def cut(corner: Array) -> Array:
            return jax.lax.dynamic_slice(x, (0, corner[0], corner[1], 0), size)

        def add(canvas: Array, group: tuple[Array, Array]) -> tuple[Array, None]:
            places, used = group
            answers = jax.vmap(lambda corner: denoise(cut(corner)))(places)
            for place, share, answer in zip(places, used, answers, strict=True):
                start = (0, place[0], place[1], 0)
                before = jax.lax.dynamic_slice(canvas, start, size)
                canvas = jax.lax.dynamic_update_slice(
                    canvas, before + share * profile * answer, start
                )
            return canvas, None

        groups = (corners.reshape(-1, together, 2), counted.reshape(-1, together))
        canvas, _ = jax.lax.scan(add, jnp.zeros_like(x), groups)
        if self.axis is not None:
            canvas = jax.lax.psum(canvas, self.axis)
        return canvas / (spread[0][:, None] * spread[1])[..., None]

    def _weights(self, dtype: jnp.dtype) -> tuple[Array, Array]:
        sides = (np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2 for side in self.window)
        rows, columns = (jnp.asarray(side, dtype) for side in sides)
        return rows, columns


def sum_of(
    length: int, corners: Int[Array, " n"], profile: Float[Array, " k"]
) -> Float[Array, " m"]:
    """The sum [length] of copies of a profile that begin at corners."""
    places = (corners[:, None] + jnp.arange(len(profile))).reshape(-1)
    values = jnp.broadcast_to(profile, (len(corners), len(profile))).reshape(-1)
    return jnp.zeros(length, profile.dtype).at[places].add(values)


def _corners(length: int, side: int, overlap: float, shift: float) -> Int[np.ndarray, " n"]:
    """Where windows of a side begin along a length, the first at 0 and the last at its end."""
    room, stride = length - side, max(1, math.floor(side * (1 - overlap)))
    count = -(-room // stride) + 1
    even = np.linspace(0, room, count)
    if count > 2:
        even[1:-1] += shift * room / (count - 1)
    return np.rint(even).astype(np.int32)

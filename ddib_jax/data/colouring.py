"""The colouring of Coloured MNIST in the optimal-transport literature.

Gushchin et al., "Entropic Neural Optimal Transport via Diffusion Processes" (ENOT), NeurIPS 2023.
"""

import numpy as np
from jaxtyping import Float

# Rows: sextant round(hue / 60) % 6. Columns: red, green, blue as indices into (1, 0, 1 - f, f),
# the fractions of the value, where f = (hue % 60) / 60.
_SEXTANTS = np.array([[0, 3, 2], [2, 0, 3], [1, 0, 3], [1, 2, 0], [3, 1, 0], [0, 1, 2]])


def enot_tint(hue: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n 3"]:
    """The RGB colour in [0, 1] of full value at a hue in degrees, by ENOT's published code.

    Any real hue is taken. The map is not the HSV hexcone, and is kept as published so that figures
    stay comparable. With f = (hue % 60) / 60 the six sextants are

        (1, f, 1 - f), (1 - f, 1, f), (0, 1, f), (0, 1 - f, 1), (f, 0, 1), (1, 0, 1 - f),

    chosen by round(hue / 60) % 6, half to even. As the sextant is rounded while f is not shifted
    with it, the colour jumps at odd multiples of 30 degrees, where the sextant changes, and at
    multiples of 60, where f wraps. The first two sextants, hues in [330, 360) and [0, 90), mix all
    three channels, so no saturated red to green is ever made. The HSV hue of the colour is
    therefore not the hue given.
    """
    hue = np.asarray(hue, np.float64)
    fraction = (hue % 60) / 60
    sextant = np.round(hue / 60).astype(np.int64) % 6
    levels = np.stack(
        [np.ones_like(fraction), np.zeros_like(fraction), 1 - fraction, fraction], axis=-1
    )
    return np.take_along_axis(levels, _SEXTANTS[sextant], axis=-1)


def enot_colour(
    value: Float[np.ndarray, "n h w"], hue: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n h w 3"]:
    """Colour grey images by one hue each, as ENOT does (see `enot_tint`).

    `value` and the result are float32 in [0, 1]; `hue` is in degrees. Black stays black.
    """
    if len(value) != len(hue):
        raise ValueError(f"Found {len(value)} images but {len(hue)} hues: give one hue an image.")
    tint = enot_tint(hue).astype(np.float32)
    return value[..., None].astype(np.float32, copy=False) * tint[:, None, None, :]

"""Metrics of pictures beside the pictures that they should be, one figure a picture.

Every picture is [h w c] and its values span `data_range`, the width of the range that they could
have: 2 for [-1, 1], 255 for bytes. PSNR, SSIM and their kin depend on it.
"""

import numpy as np
from jaxtyping import Float

from ddib_jax.metrics.arrays import AnyArray, host_pair

WINDOW = 11
"""Pixels of the side of SSIM's Gaussian window."""
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""The exponents of MS-SSIM's scales, finest first (Wang et al. 2003, section 4.2)."""
_SIGMA = 1.5
_K1, _K2 = 0.01, 0.03


def mae(
    images: Float[AnyArray, "n ..."], reference: Float[AnyArray, "n ..."]
) -> Float[np.ndarray, " n"]:
    """Mean absolute error of every image, mean |a - b|.

    Shapes: two sets [n, ...] -> [n]; in the images' own unit, 0 or more.

    Raises:
        ValueError: the shapes differ, a value is not finite, or the sets are empty.
    """
    first, second = _finite(images, reference)
    return np.abs(first - second).reshape(len(first), -1).mean(axis=1)


def psnr(
    images: Float[AnyArray, "n ..."], reference: Float[AnyArray, "n ..."], *, data_range: float
) -> Float[np.ndarray, " n"]:
    """Peak signal-to-noise ratio of every image, 10 log10(data_range^2 / mean (a - b)^2), in dB.

    Shapes: two sets [n, ...] -> [n]; infinity where both are equal.

    Raises:
        ValueError: the shapes differ, a value is not finite, the sets are empty, or the range is
            not positive.
    """
    first, second = _finite(images, reference)
    square = np.square(first - second).reshape(len(first), -1).mean(axis=1)
    with np.errstate(divide="ignore"):
        return 10 * np.log10(_positive(data_range) ** 2 / square)


def ssim(
    images: Float[AnyArray, "n h w c"], reference: Float[AnyArray, "n h w c"], *, data_range: float
) -> Float[np.ndarray, " n"]:
    """Structural similarity of every image (Wang et al. 2004, equation 13).

    The mean over channels and places of (2 m_a m_b + c1)(2 s_ab + c2) / ((m_a^2 + m_b^2 + c1)
    (s_a^2 + s_b^2 + c2)), of means and covariances under a Gaussian window of 11 pixels and
    deviation 1.5, at the places where it lies within the picture; c1 and c2 are (.01 data_range)^2
    and (.03 data_range)^2. Shapes: two sets [n, h, w, c] -> [n], at most 1; NaN for pictures
    smaller than the window.

    Raises:
        ValueError: the shapes differ or are not [n, h, w, c], a value is not finite, the sets are
            empty, or the range is not positive.
    """
    first, second = _pictures(images, reference)
    if min(first.shape[1:3]) < WINDOW:
        return np.full(len(first), np.nan)
    similarity, _ = _similarity(first, second, _positive(data_range))
    return similarity


def ms_ssim(
    images: Float[AnyArray, "n h w c"], reference: Float[AnyArray, "n h w c"], *, data_range: float
) -> Float[np.ndarray, " n"]:
    """Multi-scale structural similarity of every image (Wang et al. 2003, equation 7).

    The product over five scales, each of half the last one's pixels by means of 2 x 2, of the
    contrast and structure terms to the powers `SCALES`, with the luminance term at the coarsest;
    each a mean over channels and places, and no less than 0. Shapes: two sets [n, h, w, c] -> [n],
    from 0 to 1; NaN where the coarsest scale is smaller than the window of `ssim`, that is for a
    side below 176 pixels.

    Raises:
        ValueError: as `ssim`.
    """
    first, second = _pictures(images, reference)
    data_range = _positive(data_range)
    if min(first.shape[1:3]) // 2 ** (len(SCALES) - 1) < WINDOW:
        return np.full(len(first), np.nan)
    found = np.ones(len(first))
    for scale, power in enumerate(SCALES):
        similarity, contrast = _similarity(first, second, data_range)
        term = similarity if scale == len(SCALES) - 1 else contrast
        found *= np.maximum(term, 0) ** power
        first, second = _halved(first), _halved(second)
    return found


def ncc(
    images: Float[AnyArray, "n ..."], reference: Float[AnyArray, "n ..."]
) -> Float[np.ndarray, " n"]:
    """Normalised cross-correlation of every image, Pearson's correlation of the values of both.

    Lewis (1995), at no displacement. Blind to brightness and contrast. Shapes: two sets [n, ...] ->
    [n] in [-1, 1]; NaN where either is constant.

    Raises:
        ValueError: the shapes differ, a value is not finite, or the sets are empty.
    """
    first, second = (part.reshape(len(part), -1) for part in _finite(images, reference))
    first, second = (part - part.mean(axis=1, keepdims=True) for part in (first, second))
    size = np.sqrt(np.sum(first**2, axis=1) * np.sum(second**2, axis=1))
    product = np.sum(first * second, axis=1)
    return np.divide(product, size, out=np.full(len(size), np.nan), where=size > 0)


def histogram_drift(
    images: Float[AnyArray, "n h w c"], reference: Float[AnyArray, "n h w c"]
) -> Float[np.ndarray, " n"]:
    """Wasserstein's distance of order 1 between the histograms of every image and its reference.

    The mean over channels of the mean absolute difference of the sorted values (Vallender 1974): by
    how much intensities have shifted on average, wherever they lie. Shapes: two sets [n, h, w, c]
    -> [n]; in the images' own unit, 0 or more.

    Raises:
        ValueError: the shapes differ or are not [n, h, w, c], a value is not finite, or the sets
            are empty.
    """
    first, second = (
        np.sort(part.reshape(len(part), -1, part.shape[-1]), axis=1)
        for part in _pictures(images, reference)
    )
    return np.abs(first - second).mean(axis=(1, 2))


def dice(
    images: Float[AnyArray, "n h w c"], reference: Float[AnyArray, "n h w c"], *, threshold: float
) -> Float[np.ndarray, " n"]:
    """Dice's coefficient of what exceeds a threshold in every image, 2 |A and B| / (|A| + |B|).

    Dice (1945), of the pixels whose mean over channels is above `threshold`, which is in the
    images' own unit. Shapes: two sets [n, h, w, c] -> [n] in [0, 1]; NaN where no pixel exceeds it
    in either.

    Raises:
        ValueError: the shapes differ or are not [n, h, w, c], a value is not finite, or the sets
            are empty.
    """
    first, second = (
        part.mean(axis=-1).reshape(len(part), -1) > threshold
        for part in _pictures(images, reference)
    )
    size = (first.sum(axis=1) + second.sum(axis=1)).astype(np.float64)
    both = 2.0 * np.sum(first & second, axis=1)
    return np.divide(both, size, out=np.full(len(size), np.nan), where=size > 0)


def _finite(images: AnyArray, reference: AnyArray) -> tuple[np.ndarray, np.ndarray]:
    first, second = host_pair(images, reference)
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError(
            "The images hold a NaN or an infinity; mask what was not measured before comparing."
        )
    return first, second


def _pictures(images: AnyArray, reference: AnyArray) -> tuple[np.ndarray, np.ndarray]:
    if images.ndim != 4:
        raise ValueError(f"The images have shape {images.shape}; give pictures [n, h, w, c].")
    return _finite(images, reference)


def _positive(data_range: float) -> float:
    if not data_range > 0:
        raise ValueError(f"The data range is {data_range}; give the width of the range of values.")
    return float(data_range)


def _similarity(
    first: Float[np.ndarray, "n h w c"], second: Float[np.ndarray, "n h w c"], data_range: float
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Every picture's structural similarity, and its part of contrast and structure alone."""
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    mean_a, mean_b = _smoothed(first), _smoothed(second)
    var_a = _smoothed(first * first) - mean_a**2
    var_b = _smoothed(second * second) - mean_b**2
    covariance = _smoothed(first * second) - mean_a * mean_b
    contrast = (2 * covariance + c2) / (var_a + var_b + c2)
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return (luminance * contrast).mean(axis=(1, 2, 3)), contrast.mean(axis=(1, 2, 3))


def _smoothed(images: Float[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n k l c"]:
    """Means under the Gaussian window, at the places where it lies within the picture."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-0.5 * (offsets / _SIGMA) ** 2)
    weights /= weights.sum()
    rows, columns = (size - WINDOW + 1 for size in images.shape[1:3])
    down = np.zeros_like(images[:, :rows])
    for i, weight in enumerate(weights):
        down += weight * images[:, i : i + rows]
    across = np.zeros_like(down[:, :, :columns])
    for i, weight in enumerate(weights):
        across += weight * down[:, :, i : i + columns]
    return across


def _halved(images: Float[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n k l c"]:
    """Means of 2 x 2 pixels; an odd last row or column is left out."""
    count, height, width, channels = images.shape
    rows, columns = height // 2, width // 2
    cut = images[:, : 2 * rows, : 2 * columns]
    return cut.reshape(count, rows, 2, columns, 2, channels).mean(axis=(2, 4))

"""How far a translation can be trusted: where it depends on what should not matter, and of what.

`deviations` says where a translation depends on noise, steps and windows that could as well have
been others; `Domain` whether an image is of the kind that the source model knows at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ddib_jax import parallel, translation
from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.diagnosis.checks import noisy_latents
from ddib_jax.metrics import latents
from ddib_jax.tiling import Tiling
from ddib_jax.types import HostImages, PRNGKey

LEVELS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Noise levels at which a model's errors are measured, of those within its schedule."""
FALSE_ALARMS = 0.05
"""The share of images of the domain that are called strange, unless asked otherwise."""
_SHRINKAGE = 0.05
"""Of the covariance of features, towards its diagonal."""


def variations(ddib: DDIB, count: int, *, overlap: float) -> list[DDIB]:
    """This DDIB in `count` ways that should not matter: other switch levels, and other windows.

    The level at which the bridges meet, log-uniform from the highest one down to a third of it; of
    tiled models also windows that are moved by up to half a stride. The first is the DDIB itself
    (`deviations` adds noise to what it is given).
    """
    # the golden ratio's multiples cover the unit interval evenly, however many there are
    shares = [(index * 0.618034) % 1 for index in range(count)]
    varied = []
    for index, share in enumerate(shares):
        shift = (0.0, 0.0) if index == 0 else ((share + 0.25) % 1 - 0.5, (share + 0.75) % 1 - 0.5)
        bridges = [
            _varied(bridge, 3.0**-share, shift, overlap) for bridge in (ddib.source, ddib.target)
        ]
        varied.append(replace(ddib, source=bridges[0], target=bridges[1]))
    return varied


def deviations(
    ddib: DDIB,
    images: HostImages,
    count: int,
    *,
    key: PRNGKey,
    overlap: float = 0.5,
    indices: np.ndarray | None = None,
    batch_size: int = 64,
    progress: Callable = iter,
) -> Float[np.ndarray, "n h w 1"]:
    """The standard deviation of every pixel over `count` translations, over channels in quadrature.

    They are those of `variations`, each of the image with its own noise of the lowest noise level,
    which a model cannot tell from the image. images [n h w c] in [-1, 1]; the deviation is in the
    same unit. indices [n]: of the images, by which their noise is drawn, 0 to n - 1 unless given.
    Costs `count` translations, in one compiled program.

    Raises:
        ValueError: fewer than two translations, or as `translate` does.
    """
    if count < 2:
        raise ValueError(f"A deviation is of at least two translations; found {count}.")
    indices = np.arange(len(images)) if indices is None else indices
    total, square = np.zeros(images.shape), np.zeros(images.shape)
    for member, varied in enumerate(progress(variations(ddib, count, overlap=overlap))):
        keys = translation.image_keys(jax.random.fold_in(key, member), indices)
        noise = _noise(keys, images.shape[1:])
        noisy = images + float(ddib.source.sigmas[0]) * np.asarray(noise)
        found = translation.translate(
            varied, noisy.astype(np.float32), indices=indices, batch_size=batch_size
        ).astype(np.float64)
        total, square = total + found, square + found**2
    variance = np.maximum(square / count - (total / count) ** 2, 0) * count / (count - 1)
    return np.sqrt(variance.mean(axis=-1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class Domain:
    """What images of a domain look like to its model, and which images are strange to it.

    mean [k] and root [k k]: of the features of images of the domain, root root^T the inverse of
    their covariance. threshold: the score above which an image is strange. false_alarms: the share
    of images of the domain that are above it, on average over held-out sets. images: how many it
    was calibrated on.
    """

    mean: Float[np.ndarray, " k"]
    root: Float[np.ndarray, "k k"]
    threshold: float
    false_alarms: float
    images: int

    @classmethod
    def of(
        cls, features: Float[np.ndarray, "n k"], *, false_alarms: float = FALSE_ALARMS
    ) -> "Domain":
        """The domain of images that the model was not trained on, from their `domain_features`.

        Every second image makes mean and covariance, the others the threshold: the smallest score
        that is exceeded by so few of them that a further image of the domain exceeds it with a
        probability of at most `false_alarms` (split conformal prediction, Vovk et al. 2005).

        Raises:
            ValueError: there are too few images for so small a share of false alarms.
        """
        fitted, calibrated = features[::2], features[1::2]
        rank = int(np.ceil((len(calibrated) + 1) * (1 - false_alarms)))
        if rank > len(calibrated) or len(fitted) <= features.shape[1]:
            needed = 2 * max(int(np.ceil(1 / false_alarms)), features.shape[1] + 1)
            raise ValueError(
                f"{len(features)} images of the domain are too few for a share of"
                f" {false_alarms:g} false alarms; give at least {needed}."
            )
        covariance = np.cov(fitted, rowvar=False)
        diagonal = np.diag(np.diag(covariance)) + 1e-12 * np.eye(len(covariance))
        covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * diagonal
        root = np.linalg.cholesky(np.linalg.inv(covariance))
        domain = cls(fitted.mean(axis=0), root, np.inf, false_alarms, len(features))
        threshold = float(np.sort(domain.score(calibrated))[rank - 1])
        return replace(domain, threshold=threshold)

    def score(self, features: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
        """How strange images are: Mahalanobis' distance of their features to the domain's mean."""
        return np.sqrt(np.sum(np.square((features - self.mean) @ self.root), axis=1))


def domain_features(
    bridge: Bridge,
    images: HostImages,
    *,
    key: PRNGKey,
    batch_size: int = 64,
    progress: Callable = iter,
) -> Float[np.ndarray, "n k"]:
    """What a model says of each image: statistics of its latent, and the terms of its likelihood.

    Of the latent the mean, the logarithm of the variance, the kurtosis, the correlation of
    neighbours and the mean square of channel sums, which are 0, 0, 0, 0 and 1 for N(0, I). Of the
    likelihood the logarithm of the mean squared error |D(x + sigma n, sigma) - x|^2 at each of
    `LEVELS`, whose weighted integral over noise levels bounds it (Kingma et al. 2021, equation 15);
    apart, for errors that are too small are as strange as those that are too large.

    images [n h w c] in [-1, 1].
    """
    encoded = noisy_latents(key, bridge, images, batch_size=batch_size, progress=progress)
    raw, near = latents.moments(encoded), latents.neighbour_moments(encoded)
    sums = latents.channel_sums(encoded)
    low, high = bridge.model.schedule.sigma_range
    levels = np.asarray([level for level in LEVELS if low <= level <= high], np.float32)
    data = translation.to_data(bridge.model, images, batch_size=batch_size)
    batch = {"data": data, "index": np.arange(len(data))}
    errors = parallel.map_batches(
        _denoising_errors, (bridge.model, key, jnp.asarray(levels)), batch, batch_size=batch_size
    )
    of_latents = [
        [
            latents.mean_of(moments),
            np.log(latents.variance_of(moments)),
            np.tanh(latents.excess_kurtosis_of(moments) / 3),
            latents.neighbour_correlation_of(neighbours),
            np.log(1e-3 + channels[1]),
        ]
        for moments, neighbours, channels in zip(raw, near, sums, strict=True)
    ]
    return np.concatenate([np.asarray(of_latents), np.log(1e-12 + errors)], axis=1)


def strange(domain: Domain, scores: Float[np.ndarray, " n"], names: Sequence[str]) -> str:
    """In words, which images are not of the domain; "" for none."""
    found = [
        f"{name} ({score:.1f})"
        for name, score in zip(names, scores, strict=True)
        if score > domain.threshold
    ]
    if not found:
        return ""
    more = f" and {len(found) - 10} more" if len(found) > 10 else ""
    return (
        f"{len(found)} of {len(names)} images do not look like the source model's domain, their"
        f" scores are above {domain.threshold:.1f}: {', '.join(found[:10])}{more}. Of images of the"
        f" domain {100 * domain.false_alarms:g} in 100 are above it."
    )


def _varied(bridge: Bridge, share: float, shift: tuple[float, float], overlap: float) -> Bridge:
    model = bridge.model
    if model.tiling is not None:
        size = (model.data_shape[0], model.data_shape[1])
        tiling = Tiling.over(
            size, model.tiling.window, overlap=overlap, shift=shift, at_once=model.tiling.at_once
        )
        bridge = replace(bridge, model=replace(model, tiling=tiling))
    return bridge if share == 1 else bridge.up_to(bridge.sigmas[-1] * share)


def _noise(keys: Any, shape: tuple[int, ...]) -> jax.Array:
    return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)


# The function below is mapped over batches: `parallel.map_batches` compiles it once.


def _denoising_errors(tree: tuple, batch: dict) -> jax.Array:
    model, key, levels = tree
    data, keys = batch["data"], translation.image_keys(key, batch["index"])

    def error(place: jax.Array) -> jax.Array:
        level = levels[place]
        own = jax.vmap(jax.random.fold_in, (0, None))(keys, place)
        noise = _noise(own, data.shape[1:])
        denoised = model.denoise(data + level * noise, level)
        return jnp.mean(jnp.square(denoised - data).reshape(len(data), -1), axis=1)

    return jax.lax.map(error, jnp.arange(len(levels))).T

"""Whether a model is good enough for a bridge: its latents and its samples against limits."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from ddib_jax.bridge import Bridge
from ddib_jax.metrics import METRICS
from ddib_jax.metrics.latents import neighbour_correlation_of, neighbour_moments
from ddib_jax.translation import encode, to_data
from ddib_jax.types import HostImages, Images, PRNGKey


@dataclass(frozen=True)
class Check:
    """A figure, the range in which a good model has it, and what to do where it lies outside."""

    label: str
    value: float
    low: float
    high: float
    remedy: str

    @property
    def passed(self) -> bool:
        """Whether the figure lies in its range; a NaN does not."""
        return self.low <= self.value <= self.high


class _Limits(NamedTuple):
    low: float
    high: float
    remedy: str


_LATENTS: Mapping[str, _Limits] = {
    "latent_mean": _Limits(
        low=-0.1,
        high=0.1,
        remedy="the model shifts what it encodes: train longer, or check that images are in"
        " [-1, 1]",
    ),
    "latent_variance": _Limits(
        low=0.6,
        high=1.5,
        remedy="the noise scale is wrong at some level: check schedule and preconditioning, train"
        " longer",
    ),
    "latent_kurtosis": _Limits(
        low=-1.0,
        high=3.0,
        remedy="a few values are far too large: the model answers clean regions with patterns of"
        " its own; train longer",
    ),
    "latent_ks": _Limits(
        low=0.0, high=0.1, remedy="the values are not normally distributed: train longer"
    ),
    "latent_neighbours": _Limits(
        low=-0.1,
        high=0.1,
        remedy="structure of the image is left in the latent: train longer, most of all at high"
        " noise levels",
    ),
    "latent_channel_std": _Limits(
        low=0.5,
        high=2.0,
        remedy="the overall colour is not where the other model looks for it: train more at high"
        " noise levels",
    ),
}
"""Metric of latents -> the range of a model that is good enough, and what to do outside it."""


def latent_checks(latents: Float[np.ndarray, "n h w c"]) -> tuple[Check, ...]:
    """How close the latents of real images of the model's domain are to N(0, I).

    latents: those of images with the noise that the ODE starts from, as `noisy_latents` gives them.
    """
    return tuple(
        Check(METRICS[name].label, METRICS[name]({"latent": latents}).value, *limits)
        for name, limits in _LATENTS.items()
    )


def noisy_latents(
    key: PRNGKey, bridge: Bridge, images: Images, *, batch_size: int = 64, progress: Callable = iter
) -> HostImages:
    """The latents [n h w c] of images [n h w c] with noise of deviation sigmas[0] added.

    Those of an exact model are N(0, I). Raises as `translation.encode` does, and does not warn.
    """
    data = to_data(bridge.model, images, batch_size=batch_size)
    noise = np.asarray(jax.random.normal(key, data.shape))
    noisy = data + np.float32(bridge.sigmas[0]) * noise
    of_codes = replace(bridge, model=replace(bridge.model, codec=None))  # as they are
    with warnings.catch_warnings():
        # that they are far from N(0, I) is for the checks to say
        warnings.simplefilter("ignore")
        return encode(of_codes, noisy, batch_size=batch_size, progress=progress).y


def sample_checks(
    samples: Float[np.ndarray, "m h w c"], images: Float[np.ndarray, "n h w c"]
) -> tuple[Check, ...]:
    """Whether samples have the brightness, contrast and smoothness of images of their domain.

    A round trip says nothing about this: a model whose samples are grid noise can give every image
    back.
    """
    smoothness = lambda part: neighbour_correlation_of(neighbour_moments(part).mean(axis=0))
    remedy = (
        "the samples do not look like the images: train longer, or choose another preconditioning"
    )
    mean = float(samples.mean() - images.mean())
    deviation = float(samples.std() / images.std())
    correlation = smoothness(samples) - smoothness(images)
    return (
        Check("Samples less images, mean", mean, -0.15, 0.15, remedy),
        Check("Samples over images, deviation", deviation, 0.75, 1.33, remedy),
        Check("Samples less images, correlation of neighbours", correlation, -0.1, 0.1, remedy),
    )

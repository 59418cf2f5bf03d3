"""Classical maps from one domain's values to another's, learnt of unpaired images of both.

Each takes the images of a training, [n h w c] and [m h w d] in [-1, 1], and returns a map of any
images [k h w c] to [k h w d].
"""

from collections.abc import Callable

import numpy as np

from ddib_jax.data.pixels import COLOUR_SPACES
from ddib_jax.types import HostImages

Map = Callable[[HostImages], HostImages]
_BINS = 256


def mean_picture(a: HostImages, b: HostImages) -> Map:
    """The mean of the target's images, whatever is given."""
    mean = b.mean(axis=0)
    return lambda images: np.broadcast_to(mean, (len(images), *mean.shape))


def histograms(a: HostImages, b: HostImages) -> Map:
    """Each channel's values to those of the target's channel of the same rank."""
    ranks = np.linspace(0, 1, _BINS + 1)
    here, there = (np.quantile(images, ranks, axis=(0, 1, 2)) for images in (a, b))

    def matched(images: HostImages) -> HostImages:
        channels = [
            np.interp(images[..., c], here[:, c], there[:, c]) for c in range(images.shape[-1])
        ]
        return np.stack(channels, axis=-1)

    return matched


def reinhard(a: HostImages, b: HostImages) -> Map:
    """In CIELAB the target's mean and deviation of each coordinate (Reinhard et al. 2001)."""
    lab = COLOUR_SPACES["lab"]
    points = lambda images: lab.points(np.clip((images.reshape(-1, 3) + 1) / 2, 0, 1))
    here, there = points(a), points(b)
    scale = there.std(axis=0) / here.std(axis=0)

    def moved(images: HostImages) -> HostImages:
        found = (points(images) - here.mean(axis=0)) * scale + there.mean(axis=0)
        return 2 * lab.rgb(found).reshape(images.shape) - 1

    return moved


def colour_table(a: HostImages, b: HostImages) -> Map:
    """Grey to the mean colour of the target's pixels whose brightness is of the same rank."""
    colours = b.reshape(-1, b.shape[-1])
    order = np.argsort(colours.mean(axis=1), kind="stable")
    table = np.stack([part.mean(axis=0) for part in np.array_split(colours[order], _BINS)])
    edges = np.quantile(a, np.arange(1, _BINS) / _BINS)
    return lambda images: table[np.searchsorted(edges, images[..., 0])]

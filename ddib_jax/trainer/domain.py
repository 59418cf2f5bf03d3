"""What a training takes from its domain before the first step: statistics, and a reference."""

import dataclasses
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from ddib_jax import distributed
from ddib_jax.data import ImageSource
from ddib_jax.preconditioning import PRECONDITIONINGS
from ddib_jax.trainer.batches import needed
from ddib_jax.types import Preconditioning


@struct.dataclass
class Reference:
    """Images of the domain [n ...] that `stable_target` averages over, and their labels [n].

    The labels are None for a model without classes.
    """

    images: Float[Array, "n ..."]
    labels: Int[Array, " n"] | None

    @classmethod
    def draw(
        cls, source: ImageSource, count: int, seed: int, *, labelled: bool
    ) -> "Reference | None":
        """`count` images of the source, or None for none."""
        if count == 0:
            return None
        rng = np.random.default_rng([seed, len(source), count])
        indices = _draw_indices(source, count, rng)
        images = jnp.asarray(source.take(indices, rng=rng))
        labels = needed(source.labels)[indices] if labelled else None
        return cls(images, None if labels is None else jnp.asarray(labels))

    def related(self, label: Int[Array, " b"] | None, null: int) -> Bool[Array, "b n"] | None:
        """Which of the images a label [b] could mean: those that bear it, and all for `null`.

        None, which means all, for images without labels.
        """
        if label is None or self.labels is None:
            return None
        return (label[:, None] == self.labels[None]) | (label == null)[:, None]


def statistics(
    kind: str, source: ImageSource, *, rank: int, seed: int, work_dir: Path
) -> Preconditioning:
    """A preconditioning fitted to training images.

    kind: of `PRECONDITIONINGS`; only "edm" and "wiener" have something to fit. They see up to 8,192
    images, or 4,096 where an image has more than 4,096 values. rank: principal directions of a
    Wiener filter, which is written to `work_dir`, so that a resumed run has the same bits.
    """
    preconditioning = PRECONDITIONINGS[kind]
    if kind not in ("edm", "wiener"):
        return preconditioning()
    if kind == "edm":
        return preconditioning(sigma_data=data_deviation(source, rank=rank, seed=seed))
    path = work_dir / "wiener.npz"
    if not path.exists() and distributed.shard().index == 0:
        images = _drawn(source, rank, seed)
        fitted = preconditioning.fit(images, rank=min(rank, math.prod(source.image_shape) - 1))
        names = [field.name for field in dataclasses.fields(preconditioning)]
        draft = path.with_suffix(".draft.npz")
        np.savez(draft, **{name: getattr(fitted, name) for name in names})
        draft.rename(path)
    distributed.barrier("statistics")
    return preconditioning(**{name: jnp.asarray(array) for name, array in np.load(path).items()})


def data_deviation(source: ImageSource, *, rank: int, seed: int) -> float:
    """The standard deviation of the images' values, from those that `statistics` sees."""
    return round(float(np.std(_drawn(source, rank, seed))), 4)


def _drawn(source: ImageSource, rank: int, seed: int) -> np.ndarray:
    """The images that statistics are of."""
    rng = np.random.default_rng([seed, len(source)])
    few = max(min(4096, len(source)), rank + 1)
    indices = _draw_indices(source, 8192 if math.prod(source.image_shape) <= 4096 else few, rng)
    return source.take(indices, rng=rng)


def _draw_indices(source: ImageSource, count: int, rng: np.random.Generator) -> np.ndarray:
    """Of `count` images: distinct where there are as many, otherwise with replacement."""
    if len(source) >= count:
        return rng.permutation(len(source))[:count]
    return rng.choice(len(source), count)

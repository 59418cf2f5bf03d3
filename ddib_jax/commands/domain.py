"""What a training takes from its domain: statistics and a reference first, then a batch a step."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from ddib_jax import distributed
from ddib_jax.data import ImageSource, batch_at
from ddib_jax.distributed import Shard
from ddib_jax.preconditioning import PRECONDITIONINGS
from ddib_jax.types import Preconditioning

_WHOLE = Shard()


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
        labels = _needed(source.labels)[indices] if labelled else None
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


@dataclasses.dataclass(frozen=True)
class Batches:
    """The batch of a step, a pure function of it.

    A batch holds `image`, `index` (in the batch of all hosts) and, where labelled, `label`. A
    fraction `label_dropout` of the labels is the null label instead, the number after the last
    class (Ho and Salimans 2022); with `flip` half of the images are mirrored left to right. Of the
    `batch_size` images, this host's `shard` is given.
    """

    source: ImageSource
    batch_size: int
    seed: int
    labelled: bool = False
    label_dropout: float = 0.0
    flip: bool = False
    shard: Shard = _WHOLE

    def __call__(self, step: int) -> dict[str, Any]:
        images, labels = batch_at(
            self.source,
            step,
            batch_size=self.batch_size,
            seed=self.seed,
            shard=(self.shard.index, self.shard.count),
        )
        index = np.arange(len(images)) + self.shard.index * len(images)
        if self.flip:
            mirrored = self._chances(step, 2)[index] < 0.5
            images = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
        batch = {"image": images, "index": index}
        if self.labelled:
            dropped = self._chances(step, 1)[index] < self.label_dropout
            null = len(self.source.classes)
            batch["label"] = np.where(dropped, null, _needed(labels)).astype(np.int32)
        return batch

    def _chances(self, step: int, stream: int) -> np.ndarray:
        """Uniform numbers [batch_size], the same on all hosts, from which each takes its part."""
        return np.random.default_rng([self.seed, step, 0, stream]).random(self.batch_size)


class BatchesInOrder:
    """Batches of an iterator by their step, which is asked for in order.

    `fit` asks for the batch of a step; worker processes make the batches of consecutive steps, and
    cannot go back. start: the step of the iterator's first batch. Called with a step that is not
    the next one, it raises ValueError instead of giving the batch of another.
    """

    def __init__(self, batches: Iterator[dict[str, Any]], start: int):
        self._batches, self._next_step = batches, start

    def __call__(self, step: int) -> dict[str, Any]:
        if step != self._next_step:
            raise ValueError(
                f"The batch of step {self._next_step} is next, and that of step {step} was asked"
                " for; batches that are made ahead are taken in order."
            )
        self._next_step += 1
        return next(self._batches)


def _needed(labels: np.ndarray | None) -> np.ndarray:
    """The labels; raises ValueError where there are none."""
    if labels is None:
        raise ValueError("The data have no labels; leave them out, or give data that have some.")
    return labels


def _draw_indices(source: ImageSource, count: int, rng: np.random.Generator) -> np.ndarray:
    """Of `count` images: distinct where there are as many, otherwise with replacement."""
    if len(source) >= count:
        return rng.permutation(len(source))[:count]
    return rng.choice(len(source), count)

"""What a training takes from its domain: statistics and reference images before the first step, and
the batch of any step.
"""

import dataclasses
import math
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


@struct.dataclass
class Reference:
    """Images of the domain [n ...] that `stable_target` averages over, and their labels [n] where
    the model is told them.
    """

    images: Float[Array, "n ..."]
    labels: Int[Array, " n"] | None

    @classmethod
    def drawn(
        cls, source: ImageSource, count: int, seed: int, *, labelled: bool
    ) -> "Reference | None":
        """`count` images of the source, or None for none."""
        if count == 0:
            return None
        rng = np.random.default_rng([seed, len(source), count])
        indices = _drawn(source, count, rng)
        return cls(
            jnp.asarray(source.take(indices, rng=rng)),
            jnp.asarray(source.labels[indices]) if labelled else None,
        )

    def related(self, label: Int[Array, " b"] | None, null: int) -> Bool[Array, "b n"] | None:
        """Which of the images could be meant by a label [b]: those that bear it, and all by the
        null label.
        """
        if label is None:
            return None
        return (label[:, None] == self.labels[None]) | (label == null)[:, None]


def statistics(
    kind: str, source: ImageSource, *, rank: int, seed: int, work_dir: Path
) -> Preconditioning:
    """A preconditioning fitted to up to 8,192 training images (4,096 where they have more values
    than that); a Wiener filter is kept, so that a resumed run has the same bits.
    """
    made = PRECONDITIONINGS[kind]
    if kind not in ("edm", "wiener"):
        return made()
    rng = np.random.default_rng([seed, len(source)])
    values = math.prod(source.image_shape)
    sample = _drawn(source, 8192 if values <= 4096 else max(min(4096, len(source)), rank + 1), rng)
    if kind == "edm":
        return made(sigma_data=round(float(np.std(source.take(sample, rng=rng))), 4))
    kept = work_dir / "wiener.npz"
    if not kept.exists() and distributed.shard().index == 0:
        fitted = made.fit(source.take(sample, rng=rng), rank=min(rank, values - 1))
        draft = kept.with_suffix(".draft.npz")
        np.savez(
            draft, **{field.name: getattr(fitted, field.name) for field in dataclasses.fields(made)}
        )
        draft.rename(kept)
    distributed.barrier("statistics")
    return made(**{name: jnp.asarray(array) for name, array in np.load(kept).items()})


@dataclasses.dataclass(frozen=True)
class Batches:
    """The batch of a step, a pure function of it: `image`, `index` (place in the batch of all
    hosts) and, where labelled, `label`.

    A share `label_dropout` of the labels is the null label instead, the number after the last class
    (Ho and Salimans 2022); with `flip` half of the images are mirrored left to right. Of the
    `batch_size` images, this host's `shard` is given.
    """

    source: ImageSource
    batch_size: int
    seed: int
    labelled: bool = False
    label_dropout: float = 0.0
    flip: bool = False
    shard: Shard = Shard()

    def __call__(self, step: int) -> dict[str, Any]:
        images, labels = batch_at(
            self.source, step, batch_size=self.batch_size, seed=self.seed, shard=self.shard
        )
        index = np.arange(len(images)) + self.shard.index * len(images)
        if self.flip:
            mirrored = (
                np.random.default_rng([self.seed, step, 0, 2]).random(self.batch_size)[index] < 0.5
            )
            images = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
        made = {"image": images, "index": index}
        if self.labelled:
            dropped = (
                np.random.default_rng([self.seed, step, 0, 1]).random(self.batch_size)[index]
                < self.label_dropout
            )
            made["label"] = np.where(dropped, len(self.source.classes), labels).astype(np.int32)
        return made


def _drawn(source: ImageSource, count: int, rng: np.random.Generator) -> np.ndarray:
    """Places of `count` images: distinct where there are as many, otherwise drawn again
    and again.
    """
    return (
        rng.permutation(len(source))[:count]
        if len(source) >= count
        else rng.choice(len(source), count)
    )

"""The batches of a training: of a step, a pure function of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ddib_jax.data import ImageSource, batch_at, captions_at
from ddib_jax.distributed import Shard
from ddib_jax.text import Tokenizer
from ddib_jax.trainer.captions import captioned

_WHOLE = Shard()


@dataclass(frozen=True)
class Batches:
    """The batch of a step, a pure function of it.

    A batch holds `image`, `index` (in the batch of all hosts) and what the network is told of each
    image, `cond`: where `labelled` the label, with a `tokenizer` the tokens of the caption. A
    fraction `label_dropout` is told the null label, the number after the last class, or the empty
    text instead (Ho and Salimans 2022); with `flip` half of the images are mirrored left to right.
    Of the `batch_size` images, this host's `shard` is given.
    """

    source: ImageSource
    batch_size: int
    seed: int
    labelled: bool = False
    label_dropout: float = 0.0
    tokenizer: Tokenizer | None = None
    flip: bool = False
    shard: Shard = _WHOLE

    def __call__(self, step: int) -> dict[str, Any]:
        drawn = {
            "batch_size": self.batch_size,
            "seed": self.seed,
            "shard": (self.shard.index, self.shard.count),
        }
        images, labels = batch_at(self.source, step, **drawn)
        index = np.arange(len(images)) + self.shard.index * len(images)
        if self.flip:
            mirrored = self._chances(step, 2)[index] < 0.5
            images = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
        batch = {"image": images, "index": index}
        dropped = self._chances(step, 1)[index] < self.label_dropout
        if self.labelled:
            null = len(self.source.classes)
            batch["cond"] = np.where(dropped, null, needed(labels)).astype(np.int32)
        elif self.tokenizer is not None:
            captions = captions_at(captioned(self.source), step, **drawn)
            told = ("" if drop else text for text, drop in zip(captions, dropped, strict=True))
            batch["cond"] = np.stack([self.tokenizer(text).ids for text in told])
        return batch

    def _chances(self, step: int, stream: int) -> np.ndarray:
        """Uniform numbers [batch_size], the same on all hosts, from which each takes its part."""
        return np.random.default_rng([self.seed, step, 0, stream]).random(self.batch_size)


def needed(labels: np.ndarray | None) -> np.ndarray:
    """The labels; raises ValueError where there are none."""
    if labels is None:
        raise ValueError("The data have no labels; leave them out, or give data that have some.")
    return labels

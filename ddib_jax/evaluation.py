"""A translated data set -> figures: what the judge sees in it, and every metric that can be
measured.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from flax import struct
from jaxtyping import Array, Float

from ddib_jax import parallel
from ddib_jax.metrics import METRICS
from ddib_jax.runs import MetricRow
from ddib_jax.types import Image, Network, Params


@struct.dataclass
class Classifier:
    """A classifier of images: a network that returns (logits, features), and its weights."""

    params: Params
    network: Network = struct.field(pytree_node=False)

    def __call__(self, image: Image) -> tuple[Float[Array, "b k"], Float[Array, "b d"]]:
        """Images [b h w c] in [-1, 1] -> logits [b classes], features [b d]."""
        return self.network.apply({"params": self.params}, image)


def classify(
    classifier: Classifier,
    images: Float[np.ndarray, "n h w c"],
    *,
    batch_size: int = 256,
    progress: Callable = iter,
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n d"]]:
    """Logits and features of any number of images, in batches on all local devices; host arrays."""
    return parallel.map_batches(
        Classifier.__call__, classifier, images, batch_size=batch_size, progress=progress
    )


def evaluate(
    samples: Mapping[str, Any], targets: Mapping[str, float | str] | None = None
) -> tuple[MetricRow, ...]:
    """One row for every metric of `METRICS` whose samples are there, in the registry's order.

    samples: as `ddib_jax.metrics` names them. targets: what is wanted of a metric, by its name.
    Raises ValueError for a target of no measured metric.
    """
    measured = {name: metric for name, metric in METRICS.items() if metric.available(samples)}
    targets = targets or {}
    if unknown := targets.keys() - measured.keys():
        raise ValueError(
            f"There is no figure for {', '.join(sorted(unknown))}; measured are"
            f" {', '.join(measured)}."
        )
    rows = []
    for name, metric in measured.items():
        estimate = metric(samples)
        rows.append(
            MetricRow(
                name,
                metric.label,
                estimate.value,
                estimate.low,
                estimate.high,
                unit=metric.unit,
                better=metric.better,
                target=targets.get(name),
                note=metric.note,
                n=estimate.n,
            )
        )
    return tuple(rows)

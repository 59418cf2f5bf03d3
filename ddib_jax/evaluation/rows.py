"""Rows of a run: a classifier's outputs, and every metric that applies to a translated data set."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from flax import struct
from jaxtyping import Array, Float

from ddib_jax import parallel
from ddib_jax.metrics import METRICS, Estimate, Metric
from ddib_jax.runs import MetricRow
from ddib_jax.types import ClassifierNetwork, Image, Params


@struct.dataclass
class Classifier:
    """A classifier of images: a network that returns (logits, features), and its weights."""

    params: Params
    network: ClassifierNetwork = struct.field(pytree_node=False)

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
    """Logits [n classes] and features [n d] of any number of images [n h w c] in [-1, 1].

    In batches on all local devices; arrays of the host.
    """
    return parallel.map_batches(
        Classifier.__call__, classifier, images, batch_size=batch_size, progress=progress
    )


def evaluate(
    samples: Mapping[str, Any], *, targets: Mapping[str, float | str] | None = None
) -> tuple[MetricRow, ...]:
    """One row for every metric of `METRICS` whose samples are present, in the registry's order.

    samples: as `ddib_jax.metrics` names them. targets: the value aimed at, by a metric's name.
    Raises ValueError for a target of a metric that is not measured.
    """
    measured = {name: metric for name, metric in METRICS.items() if metric.available(samples)}
    targets = targets or {}
    if unknown := targets.keys() - measured.keys():
        raise ValueError(
            f"There is no figure for {', '.join(sorted(unknown))}; measured are"
            f" {', '.join(measured)}."
        )
    return tuple(
        metric_row(name, metric, metric(samples), target=targets.get(name))
        for name, metric in measured.items()
    )


def metric_row(
    name: str, metric: Metric, estimate: Estimate, *, target: float | str | None = None
) -> MetricRow:
    """The row of a metric's estimate; target: the value aimed at, or words for the reader."""
    return MetricRow(
        name,
        metric.label,
        estimate.value if np.isfinite(estimate.value) else None,
        estimate.low,
        estimate.high,
        unit=metric.unit,
        better=metric.better,
        target=target,
        note=metric.note,
        n=estimate.n,
        group=metric.group,
    )

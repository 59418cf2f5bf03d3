"""The metrics of a training's steps, until every callback has been told of them."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ddib_jax import parallel


@dataclass
class _Row:
    """A call of one or more steps: the first of them, their metrics [steps], the wait for data."""

    first: int
    metrics: Any
    waited: float


class History:
    """What the calls of a training have computed since its callbacks were last told.

    callbacks: how many there are. start: steps done before the first call. max_skipped: more
    skipped steps than this are an error.
    """

    def __init__(self, callbacks: int, start: int, max_skipped: int):
        self._rows: list[_Row] = []
        self._new: list[_Row] = []
        self._told = [start] * callbacks
        self._max_skipped = max_skipped

    def add(self, first: int, metrics: Any, waited: float) -> None:
        """Keep a call's metrics, arrays on devices, without waiting for them."""
        self._new.append(_Row(first, metrics, waited))

    def fetch(self) -> None:
        """Wait for all metrics.

        Raises FloatingPointError where more than `max_skipped` steps were skipped.
        """
        for row in self._new:
            row.metrics = parallel.unreplicate(row.metrics)
        skipped = np.concatenate([row.metrics["skipped"] for row in self._new])
        if skipped[-1] > self._max_skipped:
            step = self._new[0].first + int(np.argmax(skipped > self._max_skipped)) + 1
            raise FloatingPointError(
                "The loss or its gradient was infinite or not a number in"
                f" {self._max_skipped + 1} steps, the last of them step {step}; they were skipped,"
                " and the checkpoints of earlier steps are still good. Lower the learning rate, or"
                " check the images."
            )
        self._rows = [row for row in self._rows if row.first >= min(self._told)] + self._new
        self._new = []

    def tell(self, callback: int, done: int) -> dict[str, float | int]:
        """The scalars of a `Moment`, of the steps up to `done` since this callback was last told.

        callback: its number.
        """
        since, self._told[callback] = self._told[callback], done
        rows = [row for row in self._rows if row.first >= since]
        waited = sum(row.waited for row in rows) / (done - since)
        return _means(rows) | {"data_seconds": waited} | _memory()


def _means(rows: list[_Row]) -> dict[str, float]:
    """Averages over the steps that were not skipped, NaN where all were."""
    # `skipped` is a running count: where it rises, a step was skipped. Of the first step here the
    # count before is not at hand, so its own loss and gradient decide.
    oldest = rows[0].metrics
    skipped = np.concatenate([row.metrics["skipped"] for row in rows])
    taken = np.diff(skipped, prepend=skipped[:1]) == 0
    taken[0] = np.isfinite(oldest["loss"][0]) and np.isfinite(oldest["grad_norm"][0])
    means: dict[str, float] = {}
    for name in oldest:
        values = np.concatenate([row.metrics[name] for row in rows])[taken]
        means[name] = float(np.mean(values)) if len(values) else math.nan
    return means | {"skipped": int(skipped[-1])}


def _memory() -> dict[str, float]:
    """The most memory that a device has held, in GB, where the backend counts it."""
    counts = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" not in counts:
        return {}
    return {"device_memory_gb": counts["peak_bytes_in_use"] / 1e9}

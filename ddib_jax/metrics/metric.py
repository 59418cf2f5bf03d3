"""A metric is what it measures, which samples it takes, and how its figure is summed up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ddib_jax.metrics.intervals import Estimate


@dataclass(frozen=True)
class Metric:
    """One row of `METRICS`: `measure` makes values of the named samples, `summarise` makes an
    `Estimate` of the values.

    `measure` gives one value or one row an image, or a single number, whose estimate then has no
    interval. `unit` is "" for a plain number and "proportion" for a proportion in [0, 1]; `better` says which
    way is up, None where neither is; `note` is a line for the reader of a table.
    """

    label: str
    takes: tuple[str, ...]
    measure: Callable[..., Any]
    summarise: Callable[[np.ndarray], Estimate] | None = None
    unit: str = ""
    better: Literal["higher", "lower"] | None = None
    note: str = ""

    def available(self, samples: Mapping[str, Any]) -> bool:
        """Whether every sample that the metric takes is there."""
        return all(name in samples for name in self.takes)

    def __call__(self, samples: Mapping[str, Any]) -> Estimate:
        """The metric's estimate from the samples that it takes; NaN with n = 0 where no image could
        be measured.

        Raises:
            ValueError: a sample is missing, or does not fit the metric.
        """
        missing = [name for name in self.takes if name not in samples]
        if missing:
            raise ValueError(
                f"The metric '{self.label}' takes {', '.join(self.takes)}; {', '.join(missing)} is"
                " missing."
            )
        values = self.measure(*(samples[name] for name in self.takes))
        if self.summarise is None:
            return Estimate(float(values), None, None, len(samples[self.takes[0]]))
        return self.summarise(np.asarray(values))

"""`Metric`: what is measured, of which samples, and how the figure is estimated."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ddib_jax.metrics.intervals import Estimate


@dataclass(frozen=True)
class Metric:
    """One row of `METRICS`: a function of named samples, and of its values an `Estimate`.

    takes: the names of the samples that `measure` is called with. measure: gives one value or one
    row an image, of which `summarise` makes the estimate; or, without `summarise`, the estimate
    itself or a single number, whose estimate has no interval. unit: "" for a plain number,
    "proportion" for one in [0, 1]. better: None where neither direction is. note: a line below a
    table. group: what kind of figure it is, in a word or two.
    """

    label: str
    takes: tuple[str, ...]
    measure: Callable[..., Any]
    summarise: Callable[[np.ndarray], Estimate] | None = None
    unit: str = ""
    better: Literal["higher", "lower"] | None = None
    note: str = ""
    group: str = ""

    def available(self, samples: Mapping[str, Any]) -> bool:
        """Whether the samples have all that the metric takes."""
        return all(name in samples for name in self.takes)

    def __call__(self, samples: Mapping[str, Any]) -> Estimate:
        """The metric's estimate; NaN with n = 0 where no image can be measured.

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
        if isinstance(values, Estimate):
            return values
        if self.summarise is None:
            return Estimate(float(values), None, None, len(samples[self.takes[0]]))
        return self.summarise(np.asarray(values))

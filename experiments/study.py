"""What every study begins and ends with: its clock, its models, its run on disk and its page."""

import datetime
from collections.abc import Callable, Collection, Iterable, Mapping, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddib_jax import pretrained, runs
from ddib_jax.evaluation import Classifier, classify, evaluate
from ddib_jax.parallel import machine
from ddib_jax.report import text_table, write_report
from ddib_jax.report.tables import value_text
from ddib_jax.types import HostImages
from pages import LAYOUTS

RUNS = Path(__file__).resolve().parent.parent / "runs"
"""Where the studies' runs lie."""
FIRST_PAIR = ("first-five", "first-seven")
"""The pair of fives and sevens that was shipped first, of 32 groups, on which many figures rest.

A clone of the repository has it, a wheel has not.
"""


@dataclass(frozen=True)
class Study:
    """A study that has begun; `publish` ends it.

    name: that of its script, experiments/NAME.py, and of its page's layout. config: its options,
    of which `out` is the folder of its run.
    """

    name: str
    title: str
    config: Any
    started: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))

    def publish(
        self,
        *,
        shown: Callable[[runs.Run], str] = text_table,
        leave_out: Collection[str] = ("out",),
        **contents: Any,
    ) -> Path:
        """Write the run and its page, and print the table `shown` of the run; the page's path.

        contents: metrics, tables, texts and arrays of the run, and whatever else of `Run` is not to
        be what it is now. leave_out: options that the page does not show.
        """
        run = runs.Run(
            **{
                "name": self.name,
                "title": self.title,
                "config": runs.settings(self.config, leave_out=leave_out),
                **runs.circumstances(f"experiments/{self.name}.py", self.started, machine()),
                **contents,
            }
        )
        runs.write_run(self.config.out, run)
        page = write_report(self.config.out, layout=LAYOUTS.get(self.name))
        print(shown(run))
        print(f"The report lies in {page}")
        return page


def load_classifier(name: str | Path = "digit-classifier") -> Classifier:
    """A shipped classifier, or one in a directory."""
    return Classifier(*pretrained.load_network(pretrained.open(str(name)).path, "classifier"))


def places(count: int, images: Sized) -> tuple[range, range]:
    """The first `count` places of a domain's images, and the others.

    The others are what translations into the domain are held beside. Raises ValueError where there
    are none.
    """
    if count >= len(images):
        raise ValueError(
            f"Of {len(images)} images {count} are the first, and none is left that translations"
            " could be held beside; take a smaller --count."
        )
    return range(count), range(count, len(images))


def measured(
    judge: Classifier, made: HostImages, given: Mapping[str, Any], names: Iterable[str]
) -> list[runs.MetricRow]:
    """These metrics of translations [n h w c], judged; given: what else `evaluate` is to know."""
    logits, features = classify(judge, made)
    samples = {"translation_logits": logits, "translation_features": features}
    found = {row.name: row for row in evaluate({**given, "translation": made, **samples})}
    return [found[name] for name in names]


def cell(row: runs.MetricRow) -> str:
    """A metric's value with its interval, as a cell of a table."""
    return " ".join(value_text(row)).strip()

"""Progress of long work: a bar on a terminal, a line now and then where there is none."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

EVERY = 10.0
"""Seconds between two lines of a log."""


class _Rate(ProgressColumn):
    """Batches a second, or seconds a batch where these are more than one."""

    def render(self, task: Task) -> Text:
        return Text(rate(task.speed) if task.speed else "", style="progress.data.speed")


def progress(label: str, *, every: float = EVERY) -> Callable[[Sequence], Iterable]:
    """A wrapper of a sequence of batches that shows how many are done, the rate, and the time left.

    On a terminal it draws a bar, which goes when the work is done; elsewhere it prints a line at
    the start and one each `every` seconds.
    """

    def with_progress(batches: Sequence) -> Iterable:
        return _bar(batches, label) if sys.stdout.isatty() else _lines(batches, label, every)

    return with_progress


def rate(speed: float) -> str:
    """Batches a second in words."""
    return f"{speed:.1f} batches/s" if speed >= 1 else f"{1 / speed:.1f} s/batch"


def clock(seconds: float) -> str:
    """A span of time as hours, minutes and seconds: 1:02:03, or 2:03 under an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _bar(batches: Sequence, label: str) -> Iterator:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True) as bars:
        yield from bars.track(batches, description=label)


def _lines(batches: Sequence, label: str, every: float) -> Iterator:
    count, start = len(batches), time.monotonic()
    print(f"{label}: {count} {'batch' if count == 1 else 'batches'}", flush=True)
    said = start
    for done, batch in enumerate(batches, 1):
        yield batch
        now = time.monotonic()
        if now - said >= every and done < count:
            said, speed = now, done / (now - start)
            left = clock((count - done) / speed)
            print(f"{label}: {done} of {count}, {rate(speed)}, {left} left", flush=True)

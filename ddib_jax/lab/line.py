"""A line of computations: one at a time, and of each client the newest position alone."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

MOST = 64
"""Computations that wait at most, of all clients together."""


class Dropped(Exception):
    """A computation that nobody waits for any more: a newer position of the page came."""


class Full(Exception):
    """There are too many computations in line."""


@dataclass
class _Task:
    """work: what is computed. position: the one that it is for."""

    work: Callable[[], Any]
    position: int
    future: Future = field(default_factory=Future)


class Line:
    """Computations in the order in which clients came, in one thread.

    A client (a page that is open) has one place in line for each kind of computation. What it asks
    for anew takes the place that an older one of the same kind has there, and the older one, with
    all that the client still has in line for older positions, is `Dropped`: fifty moves of a slider
    are one computation when their turn comes. Raises ValueError for a line of no place.
    """

    def __init__(self, *, most: int = MOST):
        if most < 1:
            raise ValueError(f"Found a line of {most} places: expected at least 1.")
        self._most = most
        self._waiting: OrderedDict[tuple[str, str], _Task] = OrderedDict()
        self._positions: OrderedDict[str, int] = OrderedDict()
        self._now, self._closed, self._done = "", False, 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="lab", daemon=True)
        self._thread.start()

    def ask(self, client: str, kind: str, position: int, work: Callable[[], Any]) -> Future:
        """The future of a computation for a client's position, a number that grows as it moves.

        Its exception is `Dropped` where a newer position came before its turn. Raises that at once
        where one has come already, and `Full` where too many are in line.
        """
        with self._changed:
            if self._closed or position < self._positions.get(client, position):
                raise Dropped(kind)
            key = (client, kind)
            before = self._waiting.get(key)
            if before is None and len(self._waiting) >= self._most:
                raise Full(
                    f"{len(self._waiting)} computations are in line, as many as are taken; try"
                    " again in a moment."
                )
            self._positions[client] = position
            self._positions.move_to_end(client)
            while len(self._positions) > 4 * self._most:
                self._positions.popitem(last=False)
            stale = [
                other
                for other, task in self._waiting.items()
                if other[0] == client and other != key and task.position < position
            ]
            for other in stale:
                self._waiting.pop(other).future.set_exception(Dropped(other[1]))
            task = self._waiting[key] = _Task(work, position)
            if before is not None:
                before.future.set_exception(Dropped(kind))
            self._changed.notify_all()
            return task.future

    def told(self) -> dict[str, Any]:
        """What a page is told: how many wait, what is computed now, how many were done."""
        with self._changed:
            return {"waiting": len(self._waiting), "now": self._now, "done": self._done}

    def close(self, *, timeout: float = 10) -> None:
        """Drop all that waits, and wait for the computation of now to end."""
        with self._changed:
            self._closed = True
            for (_, kind), task in self._waiting.items():
                task.future.set_exception(Dropped(kind))
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._closed):
                    self._changed.wait()
                if self._closed:
                    return
                (_, self._now), task = self._waiting.popitem(last=False)
            if task.future.set_running_or_notify_cancel():
                # Whatever a computation raises is for who asked; the line itself goes on.
                try:
                    result = task.work()
                except BaseException as error:
                    task.future.set_exception(error)
                else:
                    task.future.set_result(result)
            with self._changed:
                self._now = ""
                self._done += 1

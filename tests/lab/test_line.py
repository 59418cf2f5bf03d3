"""The line: one computation at a time, the newest of a client alone, clients in order."""

import threading

import pytest

from ddib_jax.lab import Dropped, Full, Line


@pytest.fixture
def line():
    made = Line(most=3)
    yield made
    made.close()


@pytest.fixture
def held(line):
    """The line, busy until the event is set."""
    begun, go = threading.Event(), threading.Event()
    line.ask("first", "busy", 0, lambda: begun.set() or go.wait(10))
    assert begun.wait(10)
    yield go
    go.set()


def test_fifty_moves_are_two_computations(line, held):
    done = []
    asked = [line.ask("a", "preview", n, lambda n=n: done.append(n) or n) for n in range(50)]
    assert line.told() == {"waiting": 1, "now": "busy", "done": 0}
    held.set()
    assert asked[-1].result(10) == 49
    assert done == [49]
    for one in asked[:-1]:
        with pytest.raises(Dropped):
            one.result(10)
    assert line.told()["waiting"] == 0


def test_clients_are_served_in_the_order_in_which_they_came(line, held):
    done = []
    for client in "abc":
        for position in (1, 2):
            last = line.ask(client, "preview", position, lambda c=client: done.append(c))
    held.set()
    last.result(10)
    assert done == ["a", "b", "c"]


def test_a_newer_position_keeps_the_place_in_line_of_the_older_one(line, held):
    done = []
    line.ask("a", "preview", 1, lambda: done.append("a, old"))
    last = line.ask("b", "preview", 1, lambda: done.append("b"))
    line.ask("a", "preview", 2, lambda: done.append("a, new"))
    held.set()
    last.result(10)
    assert done == ["a, new", "b"]


def test_what_belongs_to_an_older_position_is_dropped(line, held):
    row = line.ask("a", "row", 1, lambda: 1)
    same = line.ask("a", "back", 1, lambda: 2)
    newer = line.ask("a", "preview", 2, lambda: 3)
    for one in (row, same):
        with pytest.raises(Dropped):
            one.result(10)
    with pytest.raises(Dropped):
        line.ask("a", "row", 1, lambda: 4)
    held.set()
    assert newer.result(10) == 3


def test_a_full_line_says_so_and_an_error_is_for_who_asked(line, held):
    for client in "abc":
        line.ask(client, "preview", 1, lambda: None)
    with pytest.raises(Full, match="3 computations are in line"):
        line.ask("d", "preview", 1, lambda: None)
    wrong = line.ask("a", "preview", 2, lambda: 1 / 0)
    held.set()
    with pytest.raises(ZeroDivisionError):
        wrong.result(10)
    assert line.ask("d", "preview", 1, lambda: "on it goes").result(10) == "on it goes"


def test_a_closed_line_drops_what_waits(line, held):
    waiting = line.ask("a", "preview", 1, lambda: None)
    held.set()
    line.close()
    if waiting.exception(10) is not None:
        assert isinstance(waiting.exception(), Dropped)
    with pytest.raises(Dropped):
        line.ask("a", "preview", 2, lambda: None)
    with pytest.raises(ValueError, match="0 places"):
        Line(most=0)

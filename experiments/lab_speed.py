"""How quick the page of `ddib lab` is, and what it holds: starts it and asks as a browser does.

    python experiments/lab_speed.py

Prints the seconds to the page and to its first translation, with programs compiled anew and with
those that an earlier start kept; the time from a slider's move to its preview (the request's whole
way over HTTP, the picture in it); the server's memory over many moves; and in which order three
clients are served that ask at once.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from ddib_jax.options import cli


@dataclass(frozen=True)
class Config:
    """Time the page of the shipped models."""

    moves: int = 500
    """Moves of a slider, over which memory is looked at too."""
    rounds: int = 10
    """Moves of each of three clients at once."""
    steps: int = 40
    """Steps of the full translation."""


class Page:
    """A server that was started, asked as one client."""

    def __init__(self, address: str, process: subprocess.Popen, client: str = "0123456789"):
        self.address, self.process, self.client, self.position = address, process, client, 0

    def get(self, path: str) -> dict:
        with urllib.request.urlopen(self.address + path, timeout=120) as answer:
            return json.load(answer)

    def compute(self, kind: str, query: str) -> dict:
        self.position += 1
        headers = {"x-client": self.client, "x-position": str(self.position)}
        request = urllib.request.Request(
            f"{self.address}compute/{kind}", query.encode(), headers, method="POST"
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def memory(self) -> float:
        """The server's resident memory in MB."""
        with open(f"/proc/{self.process.pid}/status") as lines:
            line = next(line for line in lines if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024


@contextmanager
def started(cache: str) -> Iterator[tuple[Page, float, float]]:
    """A page, and the seconds until it was there and until its first translation was."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "ddib_jax.cli", "lab", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"XDG_CACHE_HOME": cache},
    )
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        page = Page(next(word for word in words if word.startswith("http")), process)
        state = page.get("facts")["state"]
        there = time.perf_counter() - began
        page.compute("translation", state)
        yield page, there, time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()


def latencies(page: Page, count: int) -> list[float]:
    """Milliseconds of each of `count` moves of a slider to its preview."""
    spent = []
    for value in np.linspace(0.0, 2.0, count):
        began = time.perf_counter()
        page.compute("preview", f"perturb=blur={value:.6f}")
        spent.append(1000 * (time.perf_counter() - began))
    return spent


def in_turn(page: Page, rounds: int) -> tuple[int, float]:
    """Three clients at once: the longest run of answers to one of them, and the seconds of all."""
    answered, lock = [], threading.Lock()

    def move(client: Page) -> None:
        for number in range(rounds):
            value = 0.1 + number / 100 + int(client.client) / 1e12
            client.compute("preview", f"perturb=rotate={value!r}")
            with lock:
                answered.append(client.client)

    clients = [Page(page.address, page.process, name * 10) for name in "123"]
    threads = [threading.Thread(target=move, args=(client,)) for client in clients]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.perf_counter() - began
    longest = run = 1
    for before, now in itertools.pairwise(answered):
        run = run + 1 if now == before else 1
        longest = max(longest, run)
    return longest, spent


def main(config: Config) -> str:
    """Run the measurements; returns the table in Markdown, which it also prints."""
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        with started(cache) as (_, there, first):
            rows.append(("page, first start ever", f"{there:.1f} s"))
            rows.append(("its first translation", f"{first:.1f} s"))
            time.sleep(30)  # in which the programs of the first moves are compiled and kept
        with started(cache) as (page, there, first):
            rows.append(("page, a later start", f"{there:.1f} s"))
            rows.append(("its first translation", f"{first:.1f} s"))
            time.sleep(10)
            warm = latencies(page, 100)
            before = page.memory()
            spent = latencies(page, config.moves)
            after = page.memory()
            middle, high = np.percentile(spent, (50, 95))
            rows.append(("slider to preview, median", f"{middle:.0f} ms"))
            rows.append(("slider to preview, 95th percentile", f"{high:.0f} ms"))
            rows.append((f"memory after {len(warm)} moves", f"{before:.0f} MB"))
            rows.append((f"memory after {config.moves} further ones", f"{after:.0f} MB"))
            longest, seconds = in_turn(page, config.rounds)
            each = 1000 * seconds / (3 * config.rounds)
            rows.append(("three clients at once, each preview", f"{each:.0f} ms"))
            rows.append(("answers in a row to one of them, at most", str(longest)))
            began = time.perf_counter()
            page.compute("translation", f"perturb=blur=0.3&steps={config.steps}")
            full = time.perf_counter() - began
            rows.append((f"full translation, {config.steps} steps", f"{1000 * full:.0f} ms"))
    lines = ["| what | measured |", "| --- | --- |"]
    text = "\n".join(lines + [f"| {what} | {value} |" for what, value in rows])
    print(text)
    return text


if __name__ == "__main__":
    main(cli(Config))

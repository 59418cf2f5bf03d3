"""Is work ever lost? Trainings killed at random moments and compared with one never interrupted.

    python experiments/kills.py                  # about 20 minutes on two CPU cores
    python experiments/kills.py --kills 4        # a few minutes

There are 20 kills of a training of one process, and 20 of one or both of two. Each round starts
`ddib train` by the same command and ends it: mostly by SIGKILL, every fourth time by SIGTERM, one
in five while it still starts, the others within seconds after some new steps, so that some fall
into a save (a checkpoint every other step). Of two processes a random one is killed, or both; what
is left must end by itself. In the end the command runs to its end, and its weights are those of a
run that nobody disturbed, or the bits that differ are counted. It writes `runs/kills/result.json`.
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddib_jax.options import cli
from ddib_jax.training import read_log

ROOT = Path(__file__).resolve().parent.parent
RECIPE = [
    "--data",
    "five",
    "--batch-size",
    "8",
    "--rank",
    "4",
    "--channel-mult",
    "1",
    "--attention-resolutions",
    "--patch-size",
    "4",
    "--checkpoint-every",
    "2",
    "--log-every",
    "1",
    "--preview-every",
    "100000",
    "--reference",
    "64",
]
PATIENCE = {"training": 90, "starting": 330}
"""Seconds in which the partner of a killed process must have ended, by when that was killed.

One that has not met it yet waits five minutes for it to come.
"""


@dataclass(frozen=True)
class Config:
    """Kill trainings and look for what was lost."""

    kills: int = 20
    """Times that each training is killed."""
    processes: tuple[int, ...] = (1, 2)
    """Over how many processes."""
    steps: int = 400
    seed: int = 0
    out: Path = ROOT / "runs" / "kills"


def start(directory: Path, count: int, steps: int) -> list[subprocess.Popen]:
    """The processes of a training."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(directory.parent / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [
        sys.executable,
        "-m",
        "ddib_jax.cli",
        "train",
        "--out",
        str(directory),
        "--steps",
        str(steps),
        *RECIPE,
    ]
    if count > 1:
        command += ["--coordinator", f"127.0.0.1:{port}", "--processes", str(count), "--process"]
    own = [[str(index)] if count > 1 else [] for index in range(count)]
    with (directory.parent / f"{directory.name}.txt").open("a") as output:
        return [
            subprocess.Popen(
                command + more, env=os.environ | settings, stdout=output, stderr=output
            )
            for more in own
        ]


def finish(processes: list[subprocess.Popen], patience: float) -> float:
    """Seconds until all have ended; infinity if some had to be killed after `patience` seconds."""
    began = time.monotonic()
    for process in processes:
        try:
            process.wait(max(0.1, patience - (time.monotonic() - began)))
        except subprocess.TimeoutExpired:
            process.kill()
            patience = 0.0
    return time.monotonic() - began if patience else float("inf")


def kill(
    directory: Path, processes: list[subprocess.Popen], draw: random.Random, number: int
) -> tuple[str, str]:
    """End a training somewhere; says how and when."""
    before = len(read_log(directory / "training" / "log.jsonl"))
    if draw.random() < 0.2:
        when = "starting"
        time.sleep(8 * draw.random())
    else:
        when = "training"
        deadline = time.monotonic() + 300
        while processes[0].poll() is None and time.monotonic() < deadline:
            if len(read_log(directory / "training" / "log.jsonl")) > before + 2:
                break
            time.sleep(0.02)
        time.sleep(1.5 * draw.random())
    how = signal.SIGTERM if number % 4 == 3 else signal.SIGKILL
    chosen = [process for process in processes if draw.random() < 0.5] or [draw.choice(processes)]
    for process in chosen:
        process.send_signal(how)
    return f"{how.name} to {len(chosen)} of {len(processes)}", when


def study(config: Config, count: int) -> dict:
    """Kills of a training over `count` processes."""
    through, killed = (config.out / f"{name}-{count}" for name in ("through", "killed"))
    if finish(start(through, count, config.steps), 3600) == float("inf"):
        raise RuntimeError(f"The training that nobody disturbs did not end; see {config.out}.")
    draw, rounds = random.Random(config.seed + count), []
    while len(rounds) < config.kills:
        processes = start(killed, count, config.steps)
        how, when = kill(killed, processes, draw, len(rounds))
        waited = finish(processes, PATIENCE[when])
        lines = read_log(killed / "training" / "log.jsonl")
        rounds.append(
            {
                "how": f"{how} while {when}",
                "seconds": round(waited, 1),
                "step": lines[-1]["step"] if lines else 0,
            }
        )
        print(
            f"{count} processes, kill {len(rounds)}: {rounds[-1]['how']}, ended {waited:.1f} s"
            f" later, log at step {rounds[-1]['step']}",
            flush=True,
        )
        if rounds[-1]["step"] >= config.steps:
            raise RuntimeError("The training ended before all kills; give more steps.")
    finish(start(killed, count, config.steps), 3600)
    bits = lost_bits(through / "weights.safetensors", killed / "weights.safetensors")
    return {
        "processes": count,
        "kills": len(rounds),
        "bits_lost": bits,
        "hangs": sum(r["seconds"] == float("inf") for r in rounds),
        "rounds": rounds,
    }


def lost_bits(one: Path, other: Path) -> int:
    """How many bits of two files differ."""
    a, b = (np.frombuffer(path.read_bytes(), np.uint8) for path in (one, other))
    return 8 * max(len(a), len(b)) if len(a) != len(b) else int(np.bitwise_count(a ^ b).sum())


def main(config: Config) -> None:
    """Kill, compare, write."""
    shutil.rmtree(config.out, ignore_errors=True)
    config.out.mkdir(parents=True)
    results = []
    for count in config.processes:
        results.append(study(config, count))
        (config.out / "result.json").write_text(json.dumps(results, indent=1))
        print(
            f"{count} processes: {results[-1]['kills']} kills, {results[-1]['hangs']} hangs,"
            f" {results[-1]['bits_lost']} bits lost",
            flush=True,
        )


if __name__ == "__main__":
    main(cli(Config))

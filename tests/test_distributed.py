"""Several processes train and translate as one does; the others report what happens to one."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from ddib_jax import distributed
from ddib_jax.cli.hosts import Hosts
from ddib_jax.training import read_log

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def started(module, arguments, devices, **settings):
    """A process of its own with so many virtual devices."""
    settings = {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": str(ROOT),
    } | settings
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        env=os.environ | settings,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def training(directory, count, devices, *, each=({}, {}), **settings):
    """The processes of a training; `each` is what their environments do not share."""
    port = free_port()
    return [
        started(
            "tests.on_hosts", (directory, index, count, port), devices, **settings, **each[index]
        )
        for index in range(count)
    ]


def ended(processes, codes=None, timeout=120):
    """What every process said and complained of."""
    try:
        said = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    wanted = [0] * len(processes) if codes is None else codes
    codes = [process.returncode for process in processes]
    assert codes == wanted, [errors[-1500:] for _, errors in said]
    return said


def final(directory, index=0):
    with np.load(directory / f"final-{index}.npz") as stored:
        return dict(stored)


def same(one, other):
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The directory of two processes of four devices that nobody disturbed."""
    place = tmp_path_factory.mktemp("two")
    said = ended(training(place, 2, 4))
    assert all("2 hosts, 4 devices here, from step 0" in out for out, _ in said)
    return place


def test_two_hosts_are_one(tmp_path, two):
    """Each sees its half of the batch; parameters are those of one process of 8 devices, or 1."""
    for devices in (8, 1):
        ended(training(tmp_path / str(devices), 1, devices))
        for name, leaf in final(tmp_path / str(devices)).items():
            for index in (0, 1):
                np.testing.assert_allclose(
                    final(two, index)[name], leaf, rtol=1e-5, atol=1e-6, err_msg=name
                )
    same(final(two, 0), final(two, 1))
    assert [line["step"] for line in read_log(two / "log.jsonl")] == list(range(1, 25))
    written = [
        list((two / "steps" / "24" / "default" / f"ocdbt.process_{index}").rglob("*"))
        for index in (0, 1)
    ]
    assert all(written), "each host writes its part of a checkpoint"


def test_a_host_that_compiles_slowly_is_waited_for(tmp_path, two):
    """gloo gives up after 30 s."""
    ended(training(tmp_path, 2, 4, each=({}, {"LATE": "40"})), timeout=600)
    same(final(tmp_path, 1), final(two, 1))


def test_a_killed_host_is_told_by_the_other_and_both_go_on(tmp_path, two):
    first, second = training(tmp_path, 2, 4, each=({}, {"DIE_AT": "14"}))
    try:
        second.wait(180)
        died = time.monotonic()
        said = [process.communicate(timeout=90) for process in (first, second)]
        assert second.returncode == 9
        assert first.returncode not in (0, None)
        assert time.monotonic() - died < 60
    finally:
        first.kill()
    for index, (_, errors) in enumerate(said):
        assert f"ddib: process {index} ended without a word" in errors
        assert "another process died or was silent for 30 s" in errors
    again = ended(training(tmp_path, 2, 4))
    start = int(re.search(r"from step (\d+)", again[0][0])[1])
    assert 3 <= start <= 12
    assert start % 3 == 0
    same(final(two), final(tmp_path))


def test_sigterm_to_one_host_stops_both_at_one_step_and_other_devices_go_on(tmp_path, two):
    processes = training(tmp_path, 2, 2, PAUSE="0.5", STEPS_PER_CALL="3")
    deadline = time.monotonic() + 90
    while len(read_log(tmp_path / "log.jsonl")) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(read_log(tmp_path / "log.jsonl")) >= 2, "it did not start"
    processes[1].send_signal(signal.SIGTERM)
    said = ended(processes, [3, 3])
    steps = {re.search(r"ended after step (\d+); its state is saved", out)[1] for out, _ in said}
    assert len(steps) == 1
    assert (tmp_path / "steps" / steps.copy().pop()).is_dir()
    out, _ = ended(training(tmp_path, 1, 1))[0]
    assert f"1 hosts, 1 devices here, from step {steps.pop()}" in out
    for name, leaf in final(two).items():
        np.testing.assert_allclose(final(tmp_path)[name], leaf, rtol=1e-5, atol=1e-6, err_msg=name)


def test_two_hosts_translate_a_data_set_without_a_gap_or_a_duplicate(tmp_path):
    port = free_port()
    shared = [
        "translate",
        "five",
        "--source",
        "five",
        "--target",
        "seven",
        "--limit",
        "5",
        "--steps",
        "1",
        "--solver",
        "ddim",
        "--out",
        tmp_path / "out",
    ]
    processes = [
        started(
            "ddib_jax.cli",
            [*shared, "--coordinator", f"127.0.0.1:{port}", "--processes", 2, "--process", index],
            1,
        )
        for index in (0, 1)
    ]
    said = [out for out, _ in ended(processes, timeout=600)]
    assert "3 translations lie in" in said[0]
    assert "2 translations lie in" in said[1]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *(f"five-0000{index}.png" for index in range(5)),
        "run",
        "sheet.png",
    ]


def test_two_hosts_play_a_game_as_one_does(tmp_path):
    """A CycleGAN of two processes is that of one process with as many devices.

    Batches are split over them, pools are the same everywhere, one of them writes.
    """
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "train.npz", images=rng.integers(0, 256, (6, 8, 8, 3), np.uint8))
    small = [
        "--batch-size",
        "4",
        "--width",
        "8",
        "--blocks",
        "1",
        "--layers",
        "1",
        "--steps",
        "3",
        "--pool",
        "4",
        "--log-every",
        "1",
    ]
    command = [
        "train-cyclegan",
        "--a",
        f"npz:{tmp_path / 'a'}",
        "--b",
        f"npz:{tmp_path / 'b'}",
        *small,
    ]
    where = f"127.0.0.1:{free_port()}"
    together = [
        started(
            "ddib_jax.cli",
            [
                *command,
                "--out",
                tmp_path / "two",
                "--coordinator",
                where,
                "--processes",
                2,
                "--process",
                index,
            ],
            1,
        )
        for index in (0, 1)
    ]
    ended(together, timeout=600)
    ended([started("ddib_jax.cli", [*command, "--out", tmp_path / "one"], 2)], timeout=600)
    for way in ("ab", "ba"):
        one, two = (
            load_file(tmp_path / name / way / "weights.safetensors") for name in ("one", "two")
        )
        for name, leaf in one.items():
            np.testing.assert_allclose(two[name], leaf, rtol=1e-3, atol=1e-5, err_msg=name)
    assert [line["step"] for line in read_log(tmp_path / "two" / "training" / "log.jsonl")] == [
        1,
        2,
        3,
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"processes": 2}, "give --coordinator HOST:PORT"),
        (
            {"coordinator": "127.0.0.1:1", "processes": 2},
            "needs the number of processes .* and which one this is",
        ),
        (
            {"coordinator": "127.0.0.1:1", "processes": 2, "process": 2},
            "Process 2 of 2: they are counted from 0",
        ),
        ({"coordinator": "auto"}, "The processes could not be joined"),
    ],
)
def test_incomplete_hosts_are_one_sentence(given, said):
    with pytest.raises(ValueError, match=said):
        Hosts(**given).join()


def test_a_single_process_is_all_of_it(monkeypatch):
    for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.setenv(name, "1")
    assert Hosts().join() == distributed.Shard(0, 1)
    distributed.barrier("nobody else")
    assert distributed.told_to_stop(3) is False

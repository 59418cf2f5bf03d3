"""A training that is stopped, killed or starved of disk ends with the bits of one that was not."""

import functools
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ddib_jax.training import Checkpoints, Stopped, TrainingLog, fit, read_log
from tests.training.problem import KEY, batches, problem, same_bits
from tests.training.whole_run import STEPS

ROOT = Path(__file__).resolve().parents[2]


def trained(directory, *, stop_at=None):
    """The state after 10 steps with checkpoints every 3; the data raise at step `stop_at`."""
    state, batch_at, options = problem(10)

    def interrupted(step):
        if step == stop_at:
            raise RuntimeError("stopped")
        return batch_at(step)

    checkpoints = Checkpoints(directory, {"steps": 10})
    state = checkpoints.restore(state) or state
    log = TrainingLog(directory, start=int(state.step), steps=10, quiet=True)
    options |= {"callbacks": [log.every(2), checkpoints.every(3)]}
    try:
        return int(state.step), fit(KEY, state, batches(interrupted, state), **options)
    finally:
        log.close()
        checkpoints.close()


@pytest.mark.parametrize(
    ("number", "name"),
    [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGHUP")],
)
def test_a_signal_is_answered_with_a_checkpoint(tmp_path, number, name, request):
    # Where the tests run in a shell's background, it ignores some signals, which a training leaves.
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    request.addfinalizer(functools.partial(signal.signal, number, signal.getsignal(number)))
    signal.signal(number, usual)
    state, batch_at, options = problem(200)

    def interrupted(step):
        if step == 40:
            os.kill(os.getpid(), number)
        return batch_at(step)

    before = signal.getsignal(number)
    checkpoints = Checkpoints(tmp_path, {"steps": 200})
    options |= {"callbacks": [checkpoints.every(1000)]}
    with pytest.raises(Stopped, match=rf"told to stop \({name}\) and ended after step") as stopped:
        fit(KEY, state, batches(interrupted, state), **options)
    checkpoints.close()
    assert stopped.value.code == 128 + number
    assert signal.getsignal(number) is before
    assert int(Checkpoints(tmp_path, {"steps": 200}).restore(state).step) < 200


ENDED = """
import os, signal, sys, time
from ddib_jax.cli.interruption import Ended, ending_promptly
from ddib_jax.files import drafted
number, heeded, out = int(sys.argv[1]), sys.argv[2] == "heeded", sys.argv[3]
signal.signal(signal.SIGINT, signal.default_int_handler)
with ending_promptly(seconds=0.2), drafted(out) as draft:
    (draft / "half.png").touch()
    print(len(os.listdir(out)))
    try:
        os.kill(os.getpid(), number)
        time.sleep(60)
    except (KeyboardInterrupt, Ended):
        if heeded:
            raise
        time.sleep(60)
"""


@pytest.mark.parametrize("heeded", ["heeded", "waiting"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_a_command_and_leaves_no_draft(tmp_path, name, heeded):
    number = getattr(signal, name)
    words = [str(int(number)), heeded, str(tmp_path / "out")]
    ended = subprocess.run([sys.executable, "-c", ENDED, *words], capture_output=True, text=True)
    assert ended.stdout == "1\n" or ended.returncode == 128 + number
    said = "Ctrl-C" if name == "SIGINT" else name
    if heeded == "waiting":
        assert ended.returncode == 128 + number
        assert ended.stderr == f"ddib: stopped by {said}; what is complete stays.\n"
    else:
        assert ended.stderr.splitlines()[-1].startswith(("KeyboardInterrupt", "ddib_jax."))
    assert not list(tmp_path.rglob("*half*"))
    assert not list(tmp_path.rglob(".ddib*"))


def test_a_signal_that_is_ignored_stays_so():
    program = (
        "import os, signal\n"
        "from ddib_jax.cli.interruption import ending_promptly\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with ending_promptly(seconds=0.2): os.kill(os.getpid(), signal.SIGHUP); print('on')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "on\n", "")


def test_resumed_is_never_interrupted(tmp_path):
    start, through = trained(tmp_path / "through")
    assert start == 0
    assert int(through.step) == 10
    for stop_at in (7, 9):
        with pytest.raises(RuntimeError, match="stopped"):
            trained(tmp_path / "resumed", stop_at=stop_at)
    start, resumed = trained(tmp_path / "resumed")
    assert start == 9
    same_bits(through, resumed)
    same_bits(through, Checkpoints(tmp_path / "resumed", {"steps": 10}).restore(through))
    logs = [read_log(tmp_path / name / "log.jsonl") for name in ("through", "resumed")]
    assert [line["step"] for line in logs[0]] == [2, 4, 6, 8, 10]
    assert [line["step"] for line in logs[1]] == [2, 4, 6, 8, 10]
    assert logs[0][-1]["grad_norm"] > 0
    assert logs[1][2]["loss"] == logs[0][2]["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("jump", [-1e6, 1e6])
@pytest.mark.parametrize("when", [5, 60])
def test_a_clock_that_jumps_changes_nothing(tmp_path, monkeypatch, jump, when):
    """Once, also in the midst of a save."""
    _, through = trained(tmp_path / "through")
    real, asked = time.time, itertools.count()
    monkeypatch.setattr(time, "time", lambda: real() + (jump if next(asked) >= when else 0.0))
    with pytest.raises(RuntimeError, match="stopped"):
        trained(tmp_path / "jumped", stop_at=8)
    _, jumped = trained(tmp_path / "jumped")
    same_bits(through, jumped)
    assert next(asked) > when
    assert all(line["seconds"] >= 0 for line in read_log(tmp_path / "jumped" / "log.jsonl"))


def test_sigterm_ends_a_training_with_a_checkpoint_and_it_goes_on(tmp_path):
    _, through = trained(tmp_path / "through")
    state, batch_at, options = problem(10)

    def terminated(step):
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)
        return batch_at(step)

    checkpoints = Checkpoints(tmp_path / "stopped", {"steps": 10})
    callbacks = [checkpoints.every(100)]
    with pytest.raises(
        Stopped, match=r"ended after step \d+; its state is saved in .* The same command goes on"
    ):
        fit(KEY, state, batches(terminated, state), **options, callbacks=callbacks)
    checkpoints.close()
    start, resumed = trained(tmp_path / "stopped")
    assert 1 <= start <= 9
    same_bits(through, resumed)


def test_a_finished_training_goes_no_further(tmp_path):
    _, finished = trained(tmp_path)
    start, again = trained(tmp_path)
    assert start == 10
    same_bits(finished, again)


def command(directory, final):
    return [sys.executable, "-m", "tests.training.whole_run", str(directory), str(final)]


def environment(**settings):
    return os.environ | {"PAUSE": "0", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)} | settings


def run(directory, final, **settings):
    return subprocess.run(
        command(directory, final), env=environment(**settings), capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def through(tmp_path_factory):
    """The directory and the last state of a process that nobody disturbed."""
    place = tmp_path_factory.mktemp("through")
    done = run(place, place / "final.npz")
    assert done.returncode == 0, done.stderr
    return place


def same_arrays(one, other):
    with np.load(one) as one, np.load(other) as other:
        assert sorted(one) == sorted(other)
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.slow
def test_a_killed_process_goes_on_with_the_same_bits(tmp_path, through):
    log = tmp_path / "killed" / "log.jsonl"
    slow = environment(PAUSE="0.1")
    process = subprocess.Popen(
        command(log.parent, tmp_path / "killed.npz"), env=slow, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while len(read_log(log)) < 10 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed.npz").exists()
    done = run(log.parent, tmp_path / "killed.npz")
    assert done.returncode == 0, done.stderr
    start = int(done.stdout.split()[-1])
    assert 6 <= start < STEPS
    assert start % 3 == 0
    same_arrays(through / "final.npz", tmp_path / "killed.npz")
    assert [line["step"] for line in read_log(log)] == list(range(1, STEPS + 1))
    assert not list((log.parent / "steps").glob("*tmp*"))


STARVED = """
mount -t tmpfs -o size=$2 none "$3" || exit 77
"$0" -m tests.training.whole_run "$3/training" "$3/final.npz"; echo "exit code $?"
ls "$3/training/steps"
mount -o remount,size=64m "$3"
"$0" -m tests.training.whole_run "$3/training" "$3/final.npz"; echo "exit code $?"
cp "$3/final.npz" "$1"
"""


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("unshare") is None,
    reason="needs Linux's unshare for a small file system of its own",
)
def test_a_full_disk_stops_the_training_and_loses_nothing(tmp_path, through):
    size = sum(
        file.stat().st_size for file in (through / "steps" / "27").rglob("*") if file.is_file()
    )
    (tmp_path / "small").mkdir()
    shell = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", STARVED, sys.executable]
    shell += [tmp_path / "starved.npz", str(int(2.5 * size)), tmp_path / "small"]
    done = subprocess.run(shell, env=environment(), cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("a file system cannot be mounted here")
    said = done.stdout.splitlines()
    assert said == ["from step 0", "exit code 1", "3", "6", "from step 6", "exit code 0"]
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "No space left on device); the checkpoint of step 6 is good and stays." in done.stderr
    same_arrays(through / "final.npz", tmp_path / "starved.npz")

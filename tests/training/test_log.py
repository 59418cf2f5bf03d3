"""The log: each step once, whatever happened in between."""

import json
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event

from ddib_jax.training import TrainingLog, read_log


def write(directory, steps, *, start=0, **options):
    log = TrainingLog(directory, start=start, steps=10, **options)
    for step in steps:
        log.write(step, {"loss": 1 / step})
    log.close()


def test_lines_after_the_resumed_step_are_dropped(tmp_path):
    write(tmp_path, [2, 4, 6], quiet=True)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')  # cut short by a kill
    assert [line["step"] for line in read_log(tmp_path / "log.jsonl")] == [2, 4, 6]
    write(tmp_path, [6, 8], start=4, quiet=True)
    lines = read_log(tmp_path / "log.jsonl")
    assert [line["step"] for line in lines] == [2, 4, 6, 8]
    assert lines[-1]["loss"] == 0.125
    assert lines[-1]["steps_per_second"] > 0
    assert lines[-1]["seconds"] > 0
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 4


def test_a_missing_log_is_empty_and_a_missing_directory_is_made(tmp_path):
    assert read_log(tmp_path / "none" / "log.jsonl") == []
    write(tmp_path / "none", [1], quiet=True)
    assert len(read_log(tmp_path / "none" / "log.jsonl")) == 1


def scalars(directory):
    """(name, step, value) of every scalar in the event files."""
    found = []
    for file in sorted(directory.iterdir()):
        data = file.read_bytes()
        while data:
            length = struct.unpack("<Q", data[:8])[0]
            event = Event.FromString(data[12 : 12 + length])
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            data = data[16 + length :]
    return found


def test_tensorboard_gets_the_same_scalars(tmp_path):
    write(tmp_path, [2, 4], quiet=True)
    found = scalars(tmp_path / "tensorboard")
    assert ("loss", 2, 0.5) in found
    assert ("loss", 4, 0.25) in found
    assert {name for name, _, _ in found} == {"loss", "steps_per_second", "seconds"}


def test_the_last_step_is_said_without_a_terminal(tmp_path, capsys):
    write(tmp_path, [1, 10])
    assert "step 10/10  loss 0.1000" in capsys.readouterr().out
    write(tmp_path, [10], quiet=True)
    assert capsys.readouterr().out == ""


def test_a_log_that_cannot_be_written_is_one_sentence(tmp_path):
    log = TrainingLog(tmp_path, start=0, steps=10, quiet=True)
    log.path = tmp_path / "log.jsonl" / "not a directory"
    with pytest.raises(
        OSError, match=r"could not be written \(Not a directory\); complete checkpoints are good"
    ):
        log.write(1, {"loss": 1.0})
    log.close()
    assert json.loads("[]") == read_log(tmp_path / "log.jsonl")

"""Checkpoints: what is restored, what is refused, and what a failing disk leaves behind."""

import os
import re
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest

from ddib_jax.training import Checkpoints
from tests.training.problem import same_bits

CONFIGURATION = {"steps": 10, "data": "five", "attention": (8, 4)}


def state(step, size=50_000):
    rng = np.random.default_rng(step)
    weights = {
        "w": rng.normal(size=size).astype(np.float32),
        "half": rng.normal(size=3).astype("bfloat16"),
    }
    return {
        "params": weights,
        "opt_state": (np.asarray(step, np.int32), (), weights["w"] + 1),
        "step": np.asarray(step),
    }


def names(directory):
    return sorted(path.name for path in (directory / "steps").iterdir())


@pytest.fixture
def saved(tmp_path):
    """A directory with the checkpoints of steps 2 and 4."""
    checkpoints = Checkpoints(tmp_path, CONFIGURATION)
    for step in (1, 2, 4):
        checkpoints.save(step, state(step))
    checkpoints.close()
    return tmp_path


def test_options_that_an_older_version_did_not_know_had_their_defaults(saved):
    newer = CONFIGURATION | {"flip": False}
    Checkpoints(saved, newer, defaults={"flip": False, "elsewhere": 3}).close()
    for configuration, defaults in (
        (newer, {}),
        (CONFIGURATION | {"flip": True}, {"flip": False}),
        (newer | {"steps": 11}, {"flip": False, "steps": 11}),
    ):
        with pytest.raises(ValueError, match="was started with another configuration"):
            Checkpoints(saved, configuration, defaults=defaults)


def test_the_newest_comes_back_in_its_bits_and_the_oldest_has_gone(saved):
    assert names(saved) == ["2", "4"]
    checkpoints = Checkpoints(saved, CONFIGURATION)
    restored = checkpoints.restore(state(0))
    same_bits(restored, state(4))
    assert all(isinstance(leaf, np.ndarray) for leaf in restored["params"].values())


def test_none_yet(tmp_path):
    assert Checkpoints(tmp_path / "a" / "b", CONFIGURATION).restore(state(0)) is None


def test_another_configuration_is_refused_and_its_fields_named(saved):
    fields = "attention was [8, 4], is [8]; data was 'five', is 'seven'; seed was None, is 1"
    with pytest.raises(ValueError, match=re.escape(fields)) as error:
        Checkpoints(saved, CONFIGURATION | {"data": "seven", "attention": (8,), "seed": 1})
    assert "steps" not in str(error.value).split("(")[1]
    assert "\n" not in str(error.value)
    same_bits(Checkpoints(saved, CONFIGURATION).restore(state(0)), state(4))


def test_without_a_checkpoint_nothing_is_bound(tmp_path):
    Checkpoints(tmp_path, CONFIGURATION).close()
    corrected = CONFIGURATION | {"data": "seven"}
    checkpoints = Checkpoints(tmp_path, corrected)
    assert checkpoints.fresh
    checkpoints.save(1, state(1))
    checkpoints.close()
    with pytest.raises(ValueError, match="data was 'seven', is 'five'"):
        Checkpoints(tmp_path, CONFIGURATION)
    again = Checkpoints(tmp_path, corrected)
    assert not again.fresh
    again.close()


def test_words_for_one_folder_are_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("pics", "others"):
        (tmp_path / folder).mkdir()
    (tmp_path / "link").symlink_to("pics")
    checkpoints = Checkpoints("out", {"data": "A:pics", "init": "five"})
    checkpoints.save(1, state(1))
    checkpoints.close()
    for word in ("A:pics/", "A:./pics", f"A:{tmp_path}/pics", "A:link", "A:others/../pics"):
        Checkpoints("out", {"data": word, "init": "five"}).close()
    for word in ("B:pics", "A:others", "pics"):
        with pytest.raises(ValueError, match=f"data was 'A:pics', is '{word}'"):
            Checkpoints("out", {"data": word, "init": "five"})


def test_a_second_training_is_told_who_holds_the_directory(tmp_path):
    checkpoints = Checkpoints(tmp_path, CONFIGURATION)
    program = (
        "import sys\nfrom ddib_jax.files import held\n"
        "with held(sys.argv[1], 'training'): print('taken')"
    )
    second = [sys.executable, "-c", program, str(tmp_path / "lock")]
    said = subprocess.run(second, capture_output=True, text=True).stderr
    assert f"Another training is at work in {tmp_path} (process {os.getpid()} on " in said
    checkpoints.close()
    assert subprocess.run(second, capture_output=True, text=True).stdout == "taken\n"


@pytest.mark.parametrize("text", ["", '{"steps": 1', "[1, 2]", "\0"])
def test_a_damaged_configuration_is_told(saved, text):
    (saved / "configuration.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"configuration\.json is damaged; remove .* to start the training afresh"
    ):
        Checkpoints(saved, CONFIGURATION)


@pytest.mark.parametrize("step", [3, 4])
def test_an_older_step_is_not_skipped_in_silence(saved, step):
    with pytest.raises(
        ValueError, match=f"holds the checkpoint of step 4; go on from there, not to step {step}"
    ):
        Checkpoints(saved, CONFIGURATION).save(step, state(step))


def test_what_a_killed_writer_left_is_no_checkpoint_and_goes(saved):
    shutil.copytree(saved / "steps" / "4", saved / "steps" / "5.orbax-checkpoint-tmp")
    checkpoints = Checkpoints(saved, CONFIGURATION)
    assert names(saved) == ["2", "4"]
    same_bits(checkpoints.restore(state(0)), state(4))


@pytest.fixture
def small_files():
    """No file may grow beyond 64 KiB, as on a nearly full disk; a state's arrays take 200 KB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("later", ["save", "close"])
def test_a_failed_write_is_one_sentence_and_the_last_good_step_stays(
    saved, later, capfd, caplog, request
):
    checkpoints = Checkpoints(saved, CONFIGURATION)
    request.getfixturevalue("small_files")
    checkpoints.save(6, state(6))  # written behind the training's back
    with pytest.raises(OSError, match="A checkpoint could not be written") as error:
        checkpoints.save(8, state(8)) if later == "save" else checkpoints.close()
    said = str(error.value)
    assert said.startswith(f"A checkpoint could not be written to {saved} (Failed to write ")
    assert "\n" not in said
    assert said.endswith(
        "File too large); the checkpoint of step 4 is good and stays. Is the disk full?"
    )
    checkpoints.close()  # said once
    assert names(saved) == ["2", "4"]
    assert capfd.readouterr().err == ""
    assert not caplog.records
    same_bits(Checkpoints(saved, CONFIGURATION).restore(state(0)), state(4))


def test_a_first_write_that_fails(tmp_path, small_files):
    checkpoints = Checkpoints(tmp_path, CONFIGURATION)
    checkpoints.save(1, state(1))
    with pytest.raises(OSError, match="no checkpoint is complete yet"):
        checkpoints.close()
    assert names(tmp_path) == []


def truncate(step):
    for file in (step / "default").rglob("*"):
        if file.is_file():
            os.truncate(file, file.stat().st_size // 2)


def empty(step):
    shutil.rmtree(step)
    step.mkdir()


@pytest.mark.parametrize("damage", [truncate, empty])
def test_a_damaged_step_is_set_aside_for_the_one_before(saved, damage, capfd):
    damage(saved / "steps" / "4")
    checkpoints = Checkpoints(saved, CONFIGURATION)
    same_bits(checkpoints.restore(state(0)), state(2))
    said = capfd.readouterr().err
    assert said.startswith("The checkpoint of step 4 cannot be read and is now ")
    assert said.count("\n") == 1
    assert said.endswith("going on from step 2).\n")
    assert names(saved) == ["2", "damaged-4"]
    checkpoints.save(4, state(4))
    checkpoints.close()
    assert names(saved) == ["2", "4", "damaged-4"]
    same_bits(Checkpoints(saved, CONFIGURATION).restore(state(0)), state(4))


def test_nothing_that_can_be_read_is_one_sentence_and_touches_nothing(saved):
    for step in ("2", "4"):
        truncate(saved / "steps" / step)
    with pytest.raises(
        ValueError, match=r"No checkpoint in .* can be read \(step 4: .*; step 2: .*\); remove this"
    ) as error:
        Checkpoints(saved, CONFIGURATION).restore(state(0))
    assert "\n" not in str(error.value)
    assert names(saved) == ["2", "4"]


def test_arrays_of_another_shape_are_named(saved):
    with pytest.raises(ValueError, match=r"\['opt_state'\]\[2\] is \(50000,\), not \(7,\)"):
        Checkpoints(saved, CONFIGURATION).restore(state(0, size=7))

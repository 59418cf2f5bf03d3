"""`ddib train`, killed and started again, writes the model of one that was never interrupted."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from ddib_jax import pretrained
from ddib_jax.cli.train import Train
from ddib_jax.preconditioning import Flow
from ddib_jax.schedules import RectifiedFlow
from ddib_jax.trainer import Recipe
from ddib_jax.training import read_log

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = shlex.split(
    "--steps 300 --batch-size 4 --rank 4 --channel-mult 1 --num-res-blocks 1"
    " --attention-resolutions --patch-size 2"
    " --checkpoint-every 20 --log-every 5 --preview-every 1000"
)


@pytest.fixture
def folder(tmp_path):
    """Eight 8 x 8 pictures."""
    (tmp_path / "images").mkdir()
    for index in range(8):
        pixels = np.random.default_rng(index).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index}.png")
    return tmp_path / "images"


@pytest.fixture
def train(tmp_path, folder):
    """Starts the command for a model directory; the processes share what they compile."""
    settings = {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": str(ROOT),
    }

    def start(out, *more):
        program = [sys.executable, "-m", "ddib_jax.cli", "train"]
        command = [*program, "--data", folder, "--out", out, *OPTIONS, *more]
        return subprocess.Popen(
            command,
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.mark.slow
def test_a_killed_command_goes_on(tmp_path, train):
    through = train(tmp_path / "through")
    assert "The model lies in" in through.communicate()[0]
    assert through.returncode == 0
    # Step 45: the checkpoint of step 40 is begun, so that of step 20 is complete.
    killed, log = train(tmp_path / "killed"), tmp_path / "killed" / "training" / "log.jsonl"
    deadline = time.monotonic() + 200
    while len(read_log(log)) < 9 and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "model.json").exists()

    refused = train(tmp_path / "killed", "--seed", "1")
    said = refused.communicate()[1]
    assert refused.returncode == 1, said
    assert "seed was 0, is 1" in said
    assert said.count("\n") == 1, said

    again = train(tmp_path / "killed")
    said, errors = again.communicate()
    assert again.returncode == 0, errors
    start = int(re.search(r"at step (\d+)", said)[1])
    assert 20 <= start < 300
    assert start % 20 == 0
    assert [line["step"] for line in read_log(log)] == list(range(5, 301, 5))
    models = [
        (tmp_path / name / "weights.safetensors").read_bytes() for name in ("through", "killed")
    ]
    assert models[0] == models[1]
    losses = [
        json.loads((tmp_path / name / "model.json").read_text())["training"]["loss"]
        for name in ("through", "killed")
    ]
    assert losses[0] == losses[1]


SMALL = {
    "batch_size": 4,
    "channel_mult": (1,),
    "attention_resolutions": (),
    "model_channels": 32,
    "log_every": 1,
    "warmup": 1,
}


@pytest.mark.slow
def test_a_training_starts_from_a_model(tmp_path, folder):
    """Weights and statistics are the given model's: a step at a tiny rate moves nothing."""
    first, second = tmp_path / "first", tmp_path / "second"
    Train(data=str(folder), out=first, steps=2, rank=4, **SMALL).run()
    Train(
        data=str(folder),
        out=second,
        steps=1,
        rank=4,
        init=str(first),
        learning_rate=1e-12,
        weight_decay=0.0,
        **SMALL,
    ).run()
    before, after = pretrained.load(first), pretrained.load(second)
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)
    # the groups of channels that are normalised together are no weights, and are the options'
    regrouped = tmp_path / "regrouped"
    few = SMALL | {"groups": 4}
    Train(data=str(folder), out=regrouped, steps=1, rank=4, init=str(first), **few).run()
    assert pretrained.load(regrouped).network == before.network.clone(norm_num_groups=4)
    # and unless they are given, those of the model
    again = tmp_path / "again"
    Train(data=str(folder), out=again, steps=1, rank=4, init=str(regrouped), **SMALL).run()
    assert pretrained.load(again).network.norm_num_groups == 4
    with pytest.raises(ValueError, match="has another network than these options ask for"):
        Train(
            data=str(folder),
            out=tmp_path / "third",
            steps=1,
            rank=4,
            init=str(first),
            **SMALL | {"model_channels": 64},
        ).run()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"groups": 5}, "levels have 32, 64, 128 channels, which 5 groups do not divide"),
        ({"groups": 32, "model_channels": 48}, "levels have 48, 96, 192 channels, which 32"),
        ({"groups": 4, "captions": True}, "--groups is an option of the U-Net"),
    ],
)
def test_groups_that_the_network_cannot_have(options, said):
    with pytest.raises(ValueError, match=said):
        Recipe(**options).check(points=False)


@pytest.mark.parametrize("options", [{"reference": 0}, {"captions": True}])
def test_images_off_the_noisy_shell_without_a_reference(options):
    with pytest.raises(ValueError, match="leave --off-shell out, or train with --reference"):
        Recipe(off_shell=0.5, **options).check(points=False)


def test_groups_reach_the_network():
    build = lambda **options: Recipe(**options)._network((8, 8, 3), None)
    assert build(groups=4) == build().clone(norm_num_groups=4)
    assert build().norm_num_groups == 32


@pytest.mark.slow
def test_a_rectified_flow_is_trained(folder, tmp_path):
    Train(
        data=str(folder),
        out=tmp_path / "model",
        steps=2,
        batch_size=4,
        warmup=1,
        reference=8,
        off_shell=0.5,
        channel_mult=(1,),
        attention_resolutions=(),
        schedule="flow",
        preconditioning="flow",
    ).run()
    model = pretrained.load(tmp_path / "model")
    assert (model.schedule, model.precondition) == (RectifiedFlow(), Flow())
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 3)).astype(np.float32)
    denoised = model.denoise(jax.numpy.asarray(999 * x), jax.numpy.asarray(999.0))
    assert np.isfinite(denoised).all()

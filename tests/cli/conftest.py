"""Two tiny models of 8 x 8 pictures, and some pictures."""

import itertools
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ddib_jax import preconditioning, pretrained, schedules
from ddib_jax.cli import main
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets import UNet


@pytest.fixture(scope="module", autouse=True)
def compiled_quickly(request):
    """Programs that run once, on little, take longest to compile.

    Those of the lattice are compiled as users have them: that they keep every bit is tested.
    """
    lattice = request.module.__name__.endswith("test_lattice")
    jax.config.update("jax_disable_most_optimizations", not lattice)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def tiny_model(seed, size=8, channels=3):
    network = UNet(
        out_channels=channels,
        model_channels=32,
        channel_mult=(1,),
        attention_resolutions=(),
        patch_size=2,
    )
    params = jax.jit(network.init)(
        jax.random.key(seed), jnp.zeros((1, size, size, channels)), jnp.zeros(1)
    )["params"]
    shape = (size, size, channels)
    return DiffusionModel(
        params,
        preconditioning.EDM(0.5),
        network=network,
        schedule=schedules.EDM(),
        data_shape=shape,
    )


def scaled(folder, name, seed, scale, size=8):
    """A tiny model that says what its values mean."""
    model = tiny_model(seed, size=size, channels=scale.channels)
    facts = {"pixels": scale.to_json(), "data": {}, "training": {}}
    return pretrained.save_model(folder / name, model, facts=facts)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder of tiny models: here, there (8 x 8 colour), grey (8 x 8), large (16 x 16)."""
    folder = tmp_path_factory.mktemp("models")
    for seed, (name, options) in enumerate(
        {"here": {}, "there": {}, "grey": {"channels": 1}, "large": {"size": 16}}.items()
    ):
        pretrained.save_model(
            folder / name, tiny_model(seed, **options), facts={"data": {}, "training": {}}
        )
    return folder


@pytest.fixture
def pictures(tmp_path):
    """Five 8 x 8 PNGs, one of each kind that is converted: RGB, grey, palette, RGBA, 16 bits."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
    rgb.save(folder / "a-rgb.png")
    rgb.convert("L").save(folder / "b-grey.png")
    rgb.convert("P").save(folder / "c-palette.png")
    rgb.convert("RGBA").save(folder / "d-rgba.png")
    Image.fromarray(rng.integers(0, 2**16, (8, 8)).astype(np.uint16)).save(folder / "e-16bit.png")
    return folder


@pytest.fixture
def ddib(capsys, monkeypatch):
    """Runs the command in this process; returns its exit code, stdout and stderr.

    Strings may hold several words; a path is one word.
    """

    def run(*args):
        words = [[str(arg)] if isinstance(arg, Path) else str(arg).split() for arg in args]
        monkeypatch.setattr(sys, "argv", ["ddib", *itertools.chain(*words)])
        try:
            code = main()
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run

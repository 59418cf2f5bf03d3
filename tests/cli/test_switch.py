"""`--switch` on the command line, and where it is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ddib_jax import pretrained
from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.cli.crossing import read_inputs
from ddib_jax.data.png import to_bytes
from ddib_jax.preconditioning import Wiener
from tests.cli.conftest import tiny_model

pytestmark = pytest.mark.slow


def with_statistics(seed):
    """A tiny model that holds the mean and covariance of its data."""
    model = tiny_model(seed)
    images = np.random.default_rng(seed).uniform(-1, 1, (20, 8, 8, 3)).astype(np.float32)
    init = jax.jit(model.network.init)
    params = init(jax.random.key(seed), jnp.zeros((1, 8, 8, 6)), jnp.zeros(1))["params"]
    return model.replace(params=params, precondition=Wiener.fit(images, rank=4))


def test_translations_and_latents(ddib, pictures, tmp_path):
    for seed, name in enumerate(("here", "there")):
        pretrained.save_model(tmp_path / name, with_statistics(seed), facts={})
    names, images = read_inputs([str(pictures)], (8, 8, 3), split="test", limit=None)
    halves = [
        Bridge.over(pretrained.load(tmp_path / name), steps=3, switch=12.0)
        for name in ("here", "there")
    ]
    keys = jax.random.split(jax.random.key(0), len(images))
    expected = to_bytes(np.asarray(DDIB(*halves)(keys, jnp.asarray(images))))
    options = ("--steps 3 --switch 12", "--out")
    models = ("--source", tmp_path / "here", "--target", tmp_path / "there")
    assert ddib("translate", pictures, *models, *options, tmp_path / "out")[0] == 0
    found = np.asarray(Image.open(tmp_path / "out" / f"{names[0]}.png"), int)
    assert np.abs(found - expected[0]).max() <= 1
    latents, back = tmp_path / "latents.npz", tmp_path / "back"
    here = ("--model", tmp_path / "here", "--solver rex-midpoint")
    assert ddib("encode", pictures, *here, "--aux", *options, latents)[0] == 0
    assert ddib("decode", latents, *here, *options, back)[0] == 0
    again = np.asarray(Image.open(back / f"{names[0]}.png"), int)
    assert np.abs(again - to_bytes(images)[0]).max() <= 1


def test_where_it_is_refused(ddib, models, pictures, tmp_path):
    both = ("--source", models / "here", "--target", models / "there")
    target = ("--target", models / "there")
    for words, said in (
        ((*both, "--switch 12"), "preconditioning EDM does not hold the mean and covariance"),
        ((*both, "--switch 200"), "between the model's noise levels, 0.002 and 80, not at 200"),
        (("--method sdedit", *target, "--switch 12"), "SDEdit has no use for --switch"),
        ((*both, "--switch 12 --solver lattice-heun"), "A lattice is crossed to the bit"),
    ):
        code, _, err = ddib("translate", pictures, *words, "--out", tmp_path / "no")
        assert code == 1
        assert said in err
        assert err.count("\n") == 1
    words = ("--model", models / "here", "--prompt x --switch 12")
    code, _, err = ddib("bases", *words, "--out", tmp_path / "bases.npz")
    assert code == 1
    assert "Bases are read at all noise levels; leave --switch out" in err


def test_a_tuned_grid_from_the_command_line(ddib, pictures, tmp_path):
    for seed, name in enumerate(("here", "there")):
        pretrained.save_model(tmp_path / name, with_statistics(seed), facts={})
    models = ("--source", tmp_path / "here", "--target", tmp_path / "there")
    grid = tmp_path / "grid.json"
    words = ("--data", pictures, "--steps 3 --solver unipc-2 --refinements 2 --out")
    code, out, _ = ddib("tune", *models, *words, grid)
    assert code == 0
    assert "the default's by unipc-2" in out
    assert f"The grid lies in {grid}." in out
    use = ("translate", pictures, *models, "--grid", grid)
    assert ddib(*use, "--out", tmp_path / "out")[0] == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 6  # with the sheet
    fitted = tmp_path / "fitted.json"
    words = ("--data", pictures, "--steps 2 --solver fitted --refinements 1 --out", fitted)
    code, out, _ = ddib("tune", *models, *words)
    assert code == 0
    assert "refined, by fitted" in out
    own = ("--source", tmp_path / "here", "--target", tmp_path / "there", "--grid", fitted)
    assert ddib("translate", pictures, *own, "--out", tmp_path / "own")[0] == 0
    code, _, err = ddib("translate", pictures, *own[2:], "--method sdedit --out", tmp_path / "no")
    assert code == 1
    assert "Fitted weights belong to the noise levels that they were fitted on" in err
    code, _, err = ddib(*use, "--steps 3 --out", tmp_path / "no")
    assert code == 1
    assert "brings its own solver, steps and switch; leave --steps out" in err
    code, _, err = ddib(*use[:-1], tmp_path / "missing.json", "--out", tmp_path / "no")
    assert code == 1
    assert "expected a grid as `ddib tune` writes it there" in err

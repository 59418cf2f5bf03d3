"""The founding study at toy size: its ways, and what each does to the fives."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

import coloured_mnist
import ddib_jax
from ddib_jax.perturbations import PERTURBATIONS


@pytest.mark.slow
def test_it_translates_by_every_way(tmp_path):
    config = coloured_mnist.Config(count=4, steps=4, blur=2.0, out=tmp_path)
    assert coloured_mnist.main(config).is_file()
    rows = json.loads((tmp_path / "run.json").read_text())["metrics"]
    ways = ("blurred and coupled", "blurred", "coupled", "plain")
    assert {row["variant"] for row in rows if row["variant"]} == set(ways)
    with np.load(tmp_path / "arrays.npz") as arrays:
        made = {way: arrays[f"translation, {way}"].astype(float) for way in ways[:3]}
        plain = arrays["translation"].astype(float)
    # blurred is what the plain pair makes of fives that were blurred before
    fives = ddib_jax.load_dataset("five", split="test").take(range(4))
    soft = np.asarray(PERTURBATIONS["blur-image"](jnp.asarray(fives), jnp.asarray(2.0), {}))
    bridges = (ddib_jax.Bridge.over(ddib_jax.load(name), steps=4) for name in ("five", "seven"))
    expected = np.clip(ddib_jax.translate(ddib_jax.DDIB(*bridges), soft), -1, 1)
    assert np.abs(made["blurred"] - (expected + 1) * 127.5).max() < 2
    assert np.abs(made["blurred"] - plain).mean() > 2
    # coupled keeps the broad colour of its five, but for what lies outside of an image's range
    colour = lambda images: images.mean(axis=(1, 2))
    source = (fives + 1) * 127.5
    far, near = (np.abs(colour(x) - colour(source)).mean() for x in (plain, made["coupled"]))
    assert near < 0.75 * far

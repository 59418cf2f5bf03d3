"""`ddib encode`, `decode` and `translate` on a lattice: to the bit, and what is refused."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from ddib_jax import pretrained
from ddib_jax.cli.crossing import read_inputs
from ddib_jax.data.png import to_bytes
from tests.test_lattice import learnt

ODE = "--solver lattice-heun --steps 5 --precision bfloat16"


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    """Two models whose answers depend on their input, in directories."""
    folder = tmp_path_factory.mktemp("ends")
    for seed, name in ((1, "here"), (2, "there")):
        model = learnt(seed)
        pretrained.save_model(folder / name, model, facts={"data": {}, "training": {}})
    return folder


@pytest.fixture
def encoded(ddib, ends, pictures, tmp_path):
    path = tmp_path / "latents.npz"
    words = ("encode", pictures, "--model", ends / "here", ODE, "--aux --out", path)
    code, _, err = ddib(*words)
    assert code == 0, err
    return path


def equal(folder, pictures):
    """Whether the PNGs of a folder are the pictures, as they were read, to the byte."""
    names, images = read_inputs([str(pictures)], (8, 8, 3), split="test", limit=None)
    found = [np.asarray(Image.open(folder / f"{name}.png")) for name in names]
    return np.array_equal(found, to_bytes(images))


def test_pictures_come_back_to_the_bit(ddib, ends, pictures, encoded, tmp_path):
    for name, more in (("a", ""), ("b", "--batch-size 2")):
        words = ("decode", encoded, "--model", ends / "here", ODE, more, "--out", tmp_path / name)
        code, out, err = ddib(*words)
        assert code == 0, err
        assert "5 of 5 images came back to the bit.\n" in out
        assert equal(tmp_path / name, pictures)


def test_a_way_back_that_lost_bits_is_told(ddib, ends, encoded, tmp_path):
    """As another device would lose them: here one integer of one image is another."""
    arrays = dict(np.load(encoded))
    arrays["aux"][1, 0, 0, 0, 0] += 1
    np.savez(encoded, **arrays)
    words = ("decode", encoded, "--model", ends / "here", ODE, "--out", tmp_path / "out")
    assert "4 of 5 images came back to the bit. The network" in ddib(*words)[1]


@pytest.mark.slow
def test_there_and_back_is_the_identity_to_the_bit(ddib, ends, pictures, tmp_path):
    ways = [
        ("--source", ends / a, "--target", ends / b, ODE, "--aux --out", tmp_path / b)
        for a, b in (("here", "there"), ("there", "here"))
    ]
    code, out, err = ddib("translate", pictures, *ways[0])
    assert code == 0, err
    assert "came back" not in out
    assert not equal(tmp_path / "there", pictures)
    code, out, err = ddib("translate", tmp_path / "there" / "pairs.npz", *ways[1])
    assert code == 0, err
    assert "5 of 5 images came back to the bit." in out
    assert equal(tmp_path / "here", pictures)
    # and there once more, from the pairs that the way back kept
    again = (*ways[0][:-1], tmp_path / "again", "--limit 2")
    assert ddib("translate", tmp_path / "here" / "pairs.npz", *again)[0] == 0
    for name in ("a-rgb.png", "b-grey.png"):
        there, twice = (np.asarray(Image.open(tmp_path / f / name)) for f in ("there", "again"))
        assert np.array_equal(there, twice)


@pytest.mark.slow
def test_what_does_not_belong_together_is_refused(ddib, ends, pictures, encoded, tmp_path):
    here, no = ends / "here", tmp_path / "no"

    def refused(said, *words):
        code, _, err = ddib(*words, "--out", no)
        assert code == 1, said
        assert said in err
        assert err.count("\n") == 1

    decode = ("decode", encoded, "--model", here)
    refused("another grid, of 5 steps to 80", *decode, ODE, "--steps 6")
    refused("precision bfloat16, and this bridge", *decode, "--solver lattice-heun --steps 5")
    refused("is that of LatticeHeun(bits=18", *decode, "--solver reversible-heun --steps 5")
    back = ("--source", ends / "there", "--target", here, ODE)
    refused("is not a file of pairs", "translate", encoded, *back, "--aux")
    refused("is no lattice", "translate", pictures, *back, "--aux --solver heun")
    refused("pairs of a plain DDIB", "translate", pictures, *back, "--aux --perturb blur=1")
    kept = ("translate", pictures, "--source", here, "--target", ends / "there", ODE, "--aux")
    assert ddib(*kept, "--out", tmp_path / "kept")[0] == 0
    wrong = ("--source", here, "--target", ends / "there", ODE, "--aux")
    refused("lie at another model", "translate", tmp_path / "kept" / "pairs.npz", *wrong)
    arrays = dict(np.load(encoded))
    for changed, said in (
        ({"aux": arrays["aux"].astype(np.float32)}, "is of float32, and that of a lattice is of"),
        ({"bits": 17}, "is that of LatticeHeun(bits=17"),
        ({"precision": "double"}, "is not a file of latents"),
        ({"aux": arrays["aux"][:, 0]}, "and this is int32 of 8 x 8 x 3"),
    ):
        altered: dict[str, Any] = arrays | changed
        np.savez(encoded, **altered)
        refused(said, *decode, ODE)

"""Exports of NVlabs/edm: both networks under all four preconditioners, and bad files.

`edm_outputs/` holds the numbers of another implementation, computed in torch by NVIDIA Modulus
0.9.0 (Apache-2.0), which took these networks over from NVlabs/edm; its own group norm of evaluation
divides by n - 1, so it was asked in training mode without dropout. Weights are drawn from their
keys (`draw`), so that they need not be stored.
"""

import json
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ddib_jax import pretrained
from ddib_jax.nets import DhariwalUNet, SongUNet
from ddib_jax.pretrained.torch_names import state_dict

HOME = Path(__file__).with_name("edm_outputs")
NAMES = ("ddpmpp-edm", "ncsnpp-ve", "skip-vp", "adm-iddpm")


def draw(key, shape):
    values = 0.15 * np.random.default_rng(zlib.crc32(key.encode())).normal(size=shape)
    return (values + ("norm" in key and key.endswith("weight"))).astype(np.float32)


def export(name, path):
    """Write the export whose outputs are in `edm_outputs/`; returns these.

    Keys and shapes are those of our network, weights are drawn from the keys, buffers as theirs.
    """
    outputs = np.load(HOME / f"{name}.npz")
    options = json.loads(str(outputs["options"]))
    kind = {"SongUNet": SongUNet, "DhariwalUNet": DhariwalUNet}[options["model_type"]]
    inner = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in options.items()
        if key not in ("class", "model_type", "img_channels", "augment_dim")
    }
    network = kind(out_channels=6 if options["class"] == "iDDPMPrecond" else 3, **inner)
    cond = jnp.zeros(1, jnp.int32) if network.label_dim else None
    shapes = jax.eval_shape(
        network.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)), jnp.zeros(1), cond
    )["params"]
    keys = state_dict(jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes))
    state = {f"model.{key}": draw(f"model.{key}", array.shape) for key, array in keys.items()}
    if options.get("augment_dim"):
        state["model.map_augment.weight"] = draw(
            "model.map_augment.weight", (16, options["augment_dim"])
        )
    state["model.enc.4x4_down.conv0.resample_filter"] = np.full((1, 1, 2, 2), 0.25, np.float32)
    state |= {"u": np.zeros(1001, np.float32)} if options["class"] == "iDDPMPrecond" else {}
    save_file(state, path, metadata={"edm": json.dumps(options)})
    return outputs


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_denoisers_agree(tmp_path, name):
    outputs = export(name, tmp_path / "model.safetensors")
    model = pretrained.load(tmp_path / "model.safetensors")
    model = model.given(jnp.asarray(outputs["labels"])) if model.network.num_classes else model
    x, sigma = jnp.asarray(outputs["x"].transpose(0, 2, 3, 1)), jnp.asarray(outputs["sigma"])
    expected = outputs["denoised"].transpose(0, 2, 3, 1)
    denoised = np.asarray(model.denoise(x, sigma))
    # Relative to what the network adds to its input.
    for ours, theirs, noisy in zip(denoised, expected, np.asarray(x), strict=True):
        assert np.linalg.norm(ours - theirs) / np.linalg.norm(theirs - noisy) < 1e-4


@pytest.mark.slow
def test_no_label_is_the_number_after_the_last(tmp_path):
    export("ddpmpp-edm", tmp_path / "model.safetensors")
    model, x = pretrained.load(tmp_path / "model.safetensors"), jnp.ones((1, 8, 8, 3))
    denoised = [model.given(jnp.asarray(label)).denoise(x, jnp.asarray(1.0)) for label in range(4)]
    assert all(not jnp.allclose(denoised[3], other) for other in denoised[:3])
    with pytest.raises(ValueError, match="There is no condition and the network takes int32"):
        model.denoise(x, jnp.asarray(1.0))


def test_saved_as_a_model_directory(tmp_path):
    export("skip-vp", tmp_path / "model.safetensors")
    model = pretrained.load(tmp_path / "model.safetensors")
    pretrained.save_model(tmp_path / "native", model, facts={"data": {}, "training": {}})
    again = pretrained.load(tmp_path / "native")
    assert again.network == model.network
    assert again.schedule == model.schedule
    assert jax.tree.all(jax.tree.map(np.array_equal, again.params, model.params))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"class": "SecretPrecond"}, "holds a SecretPrecond; known are EDMPrecond"),
        ({"model_type": "OtherUNet"}, "holds a OtherUNet; known are SongUNet"),
        ({"flavour": 3}, "an option that is not known"),
        ({"encoder_type": "spiral"}, "encoder_type = 'spiral' is not known"),
        ({"num_blocks": 2}, "is missing"),
    ],
)
def test_what_is_not_known_is_named(tmp_path, change, words):
    path = tmp_path / "model.safetensors"
    export("ddpmpp-edm", path)
    options = json.loads(str(np.load(HOME / "ddpmpp-edm.npz")["options"]))
    save_file(load_file(path), path, metadata={"edm": json.dumps(options | change)})
    with pytest.raises(ValueError, match=words):
        pretrained.load(path)

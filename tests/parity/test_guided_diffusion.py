"""The U-Net and the whole decode against openai/guided-diffusion's own numbers (shared/fixtures)."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from ddib_jax.diffusion import DiffusionModel, probability_flow
from ddib_jax.nets import UNet
from ddib_jax.preconditioning import Epsilon
from ddib_jax.schedules import Discrete
from ddib_jax.solvers import EULER, odeint

FIXTURES = Path(__file__).resolve().parents[2].parent / "shared" / "fixtures"
pytestmark = pytest.mark.skipif(not FIXTURES.is_dir(), reason="the reference fixtures are not beside this checkout")


def load(name: str):
    torch = pytest.importorskip("torch", reason="reading the reference's .pt files needs the [parity] extra")
    flags = json.loads((FIXTURES / name / "flags.json").read_text())
    state = torch.load(FIXTURES / name / "model.pt", weights_only=True)
    network = UNet(
        model_channels=flags["num_channels"],
        channel_mult=tuple(int(m) for m in flags["channel_mult"].split(",")),
        num_res_blocks=flags["num_res_blocks"],
        attention_resolutions=tuple(int(r) for r in flags["attention_resolutions"].split(",")),
        num_heads=flags["num_heads"],
        num_head_channels=None if flags["num_head_channels"] < 0 else flags["num_head_channels"],
        resblock_updown=flags["resblock_updown"],
        num_classes=len(state["label_emb.weight"]) if flags["class_cond"] else None,
        learn_sigma=flags["learn_sigma"],
    )
    params = unflatten_dict(dict(leaf(key, value.numpy()) for key, value in state.items()))
    return network, params, np.load(FIXTURES / name / "io.npz")


def leaf(key: str, weight: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """`input_blocks.1.0.in_layers.0.weight` -> ("input_blocks.1.0", "in_layers.0", "scale"), and its layout."""
    *parts, kind = key.split(".")
    if kind == "weight":
        kind = "embedding" if parts == ["label_emb"] else ("scale" if weight.ndim == 1 else "kernel")
    if kind == "kernel":  # convolutions OIHW -> HWIO; linear layers and 1 x 1 convolutions of positions OI(1) -> IO
        weight = weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.reshape(weight.shape[:2]).T
    depth = {"input_blocks": 3, "output_blocks": 3, "middle_block": 2}.get(parts[0], len(parts))
    return tuple(".".join(part) for part in (parts[:depth], parts[depth:]) if part) + (kind,), weight


def nhwc(x: np.ndarray) -> jnp.ndarray:
    return jnp.asarray(x).transpose(0, 2, 3, 1)


def relative(found, expected) -> float:
    return float(jnp.abs(found - expected).max() / jnp.abs(expected).max())


@pytest.mark.parametrize("name", ["guided_diffusion_plain", "guided_diffusion_class_cond"])
def test_network_output(name):
    network, params, io = load(name)
    labels = jnp.asarray(io["y_source"]) if "y_source" in io else None
    found = network.apply({"params": params}, nhwc(io["x"]), jnp.asarray(io["t"], jnp.float32), labels)
    assert relative(found, nhwc(io["output"])) < 1e-4


@pytest.mark.parametrize("name", ["guided_diffusion_plain", "guided_diffusion_class_cond"])
def test_decode_of_given_noise(name):
    network, params, io = load(name)
    labels = jnp.asarray(io["y_target"]) if "y_target" in io else None
    model = DiffusionModel(
        params, Epsilon(), labels, network=network, schedule=Discrete.linear(1000), data_shape=(32, 32, 3)
    )
    sigmas = jnp.sqrt(1 / jnp.asarray(io["alphas_cumprod"]) - 1)
    start = nhwc(io["noise"]) * jnp.sqrt(1 + sigmas[-1] ** 2)
    found = odeint(EULER, probability_flow(model), start, jnp.append(sigmas[::-1], 0.0))
    assert relative(found, nhwc(io["decoded"])) < 1e-4

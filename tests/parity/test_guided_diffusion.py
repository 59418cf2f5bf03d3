"""Importer, network, decode and classifier give the numbers of openai/guided-diffusion itself.

The numbers are in shared/fixtures beside the repository.
"""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import pretrained
from ddib_jax.diffusion import probability_flow
from ddib_jax.guidance import ClassifierGuidance
from ddib_jax.solvers import EULER, solve

FIXTURES = Path(__file__).resolve().parents[2].parent / "shared" / "fixtures"
NAMES = ("guided_diffusion_plain", "guided_diffusion_class_cond")
pytestmark = pytest.mark.skipif(
    not FIXTURES.is_dir(), reason="the reference fixtures are not beside this checkout"
)


def load(name: str):
    return pretrained.load(FIXTURES / name / "model.pt"), np.load(FIXTURES / name / "io.npz")


def nhwc(x: np.ndarray) -> jnp.ndarray:
    return jnp.asarray(x).transpose(0, 2, 3, 1)


def relative(actual, expected) -> float:
    return float(jnp.abs(actual - expected).max() / jnp.abs(expected).max())


@pytest.mark.parametrize("name", NAMES)
def test_network_output(name):
    model, io = load(name)
    labels = jnp.asarray(io["y_source"]) if "y_source" in io else None
    output = model.network.apply(
        {"params": model.params}, nhwc(io["x"]), jnp.asarray(io["t"], jnp.float32), labels
    )
    assert relative(output, nhwc(io["output"])) < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_decode_of_given_noise(name):
    model, io = load(name)
    model = model.given(jnp.asarray(io["y_target"])) if "y_target" in io else model
    sigmas = jnp.sqrt(1 / jnp.asarray(io["alphas_cumprod"]) - 1)
    start = nhwc(io["noise"]) * jnp.sqrt(1 + sigmas[-1] ** 2)
    decoded = solve(EULER, probability_flow(model), start, jnp.append(sigmas[::-1], 0.0)).y
    assert relative(decoded, nhwc(io["decoded"])) < 1e-4


def test_classifier_and_its_gradient():
    """Logits, and what classifier guidance adds to the denoiser.

    That is sigma^2 grad_x log p in x = x_t / alpha_t: alpha sigma^2 times the reference's gradient
    in x_t.
    """
    home = FIXTURES / "guided_diffusion_class_cond"
    params, network = pretrained.load_noisy_classifier(home / "classifier.pt")
    io = np.load(home / "classifier_io.npz")
    x, t, y = nhwc(io["x"]), jnp.asarray(io["t"], jnp.float32), jnp.asarray(io["y"])
    assert relative(network.apply({"params": params}, x, t), jnp.asarray(io["logits"])) < 1e-3
    model, _ = load("guided_diffusion_class_cond")
    sigma = model.schedule.sigma(t)[:, None, None, None]
    guide = ClassifierGuidance(params, y, network=network)
    none = lambda x, *conds: [jnp.zeros_like(x) for _ in conds]
    shift = guide(none, x * jnp.sqrt(1 + sigma**2), sigma, t, y)
    assert relative(shift * jnp.sqrt(1 + sigma**2) / sigma**2, nhwc(io["grad_log_prob"])) < 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back_is_exact(name):
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'parity')")
    model, _ = load(name)
    state, flags = pretrained.to_guided_diffusion(model)
    reference = torch.load(FIXTURES / name / "model.pt", weights_only=True)
    assert state.keys() == reference.keys()
    assert all(np.array_equal(state[key], reference[key].numpy()) for key in state)
    expected = json.loads((FIXTURES / name / "flags.json").read_text())
    common = flags.keys() & expected.keys()
    assert {key: flags[key] for key in common} == {key: expected[key] for key in common}

"""Models whose networks are read and replaced: what couplings are made of."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import preconditioning, schedules
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.guidance import ClassifierFreeGuidance
from ddib_jax.nets.hooks import Hook, inject, read, share, sites, slerp_features
from tests.nets.small import SMALL, TIME, VARIABLES, Small, X, filled


def model_of(seed=0, cond=None):
    network = Small(labelled=cond is not None)
    variables = filled(network, X, TIME, cond)
    params = jax.tree.map(lambda leaf: leaf * (1 + seed), variables["params"])
    options = {"network": network, "schedule": schedules.EDM(), "data_shape": (4, 4, 3)}
    return DiffusionModel(params, preconditioning.EDM(0.5), cond, **options)


SIGMA = jnp.asarray(0.7)


@pytest.mark.slow
def test_halves_of_one_batch():
    """Features of the sources reach their targets, and the sources are as they were alone."""
    model = model_of()
    pair = jnp.concatenate([X, X[::-1] + 1])
    shared = model.hooked(*share(["middle"]))
    half = model.hooked(*share(["middle"], blend=lambda source, target: (source + target) / 2))
    run = jax.jit(lambda cases: [m.read(x, SIGMA, ["middle"]) for m, x in cases])
    found = run([(model, X), (model, pair), (shared, pair), (half, pair)])
    (alone, _), (apart, plain), (denoised, values), (_, mixed) = found
    np.testing.assert_allclose(denoised[:2], alone, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(values["middle"][2:], values["middle"][:2])
    assert float(jnp.abs(denoised[2:] - apart[2:]).max()) > 1e-3
    between = (plain["middle"][:2] + plain["middle"][2:]) / 2
    np.testing.assert_allclose(mixed["middle"][2:], between, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"'middle' from the first half .* the batch is 3"):
        shared.denoise(pair[:3], SIGMA)


def test_one_model_reads_and_another_takes():
    source, target, other = model_of(), model_of(seed=1), X[::-1] + 1

    @jax.jit
    def run(source, target, strength):
        _, values = source.read(X, SIGMA, ["middle"])
        blend = lambda given, own: slerp_features(given, own, strength)
        taking = target.hooked(*inject(values, blend=blend))
        return values, target.read(other, SIGMA, ["middle"]), taking.read(other, SIGMA, ["middle"])

    values, own, taken = run(source, target, 0.0)
    np.testing.assert_allclose(taken[0], own[0], rtol=1e-5)
    values, own, taken = run(source, target, 0.4)
    expected = slerp_features(values["middle"], own[1]["middle"], jnp.asarray(0.4))
    np.testing.assert_allclose(taken[1]["middle"], expected, rtol=1e-5, atol=1e-6)
    assert float(jnp.abs(taken[0] - own[0]).max()) > 1e-3


@pytest.mark.slow
def test_a_guided_model_is_read_under_its_own_condition():
    model = model_of(cond=jnp.asarray([0, 1]))
    guided = model.guided(ClassifierFreeGuidance(jnp.asarray(2), 3.0))
    (denoised, values), counted = guided.read(X, SIGMA, ["middle"]), []
    np.testing.assert_allclose(denoised, guided.denoise(X, SIGMA), atol=1e-6)
    np.testing.assert_array_equal(values["middle"], model.read(X, SIGMA, ["middle"])[1]["middle"])
    count = lambda value: counted.append(1) or value
    guided.hooked(Hook("middle", count)).read(X, SIGMA, ["middle"])
    guided.hooked(Hook("middle", count)).denoise(X, SIGMA)
    assert len(counted) == 4  # a condition and none, twice


@pytest.mark.slow
def test_equal_hooks_do_not_trace_anew():
    traces = []

    @jax.jit
    def run(model, x):
        traces.append(model.hooks)
        return model.denoise(x, SIGMA)

    for index in range(3):
        run(model_of(seed=index).hooked(*share(["middle"]), Hook("in", jnp.sin)), X)
    assert len(traces) == 1
    plain = run(model_of(), X)
    assert len(traces) == 2
    np.testing.assert_allclose(plain, model_of().denoise(X, SIGMA), rtol=1e-5)


def test_a_model_knows_its_sites():
    assert model_of().sites() == sites(SMALL, X[:1], TIME[:1])
    conditional = model_of(cond=jnp.asarray([0, 1])).hooked(Hook("in", jnp.sin))
    assert conditional.sites(batch=2)["label"].shape == (2, 32)


@pytest.mark.slow
def test_what_is_refused():
    near = re.escape("'midle.query'; the nearest are middle.query")
    with pytest.raises(ValueError, match=near):
        read(SMALL, ["midle.query"], VARIABLES, X, TIME)
    with pytest.raises(ValueError, match="no site 'midle'; the nearest are middle"):
        model_of().hooked(Hook("midle", jnp.sin)).denoise(X, SIGMA)
    with pytest.raises(ValueError, match="no site 'xyz'; none has a name like it"):
        jax.jit(model_of().hooked(Hook("xyz", jnp.sin)).denoise)(X, SIGMA)
    with pytest.raises(ValueError, match=r"read 'middle\.attention'"):
        read(SMALL, ["middle.attend"], VARIABLES, X, TIME)
    with pytest.raises(ValueError, match=r"shape \(1, 4, 4, 32\) for 'in'.* \(2, 4, 4, 32\)"):
        model_of().hooked(Hook("in", lambda h: h[:1])).denoise(X, SIGMA)

    class Linear:
        init, condition_spec = SMALL.init, SMALL.condition_spec

        def apply(self, variables, x, time, cond=None):
            return x

    with pytest.raises(ValueError, match="the network is a Linear"):
        model_of().replace(network=Linear()).read(X, SIGMA, ["in"])


@pytest.mark.usefixtures("double")
def test_spherical_interpolation_of_features():
    rng = np.random.default_rng(0)
    target = jnp.asarray(rng.normal(size=(3, 2, 2, 5)))
    source = jnp.asarray(7 * rng.normal(size=(3, 2, 2, 5)))
    slerp = jax.jit(slerp_features)
    norm = lambda h: np.linalg.norm(np.asarray(h).reshape(3, -1), axis=1)
    np.testing.assert_array_equal(slerp(source, target, jnp.asarray(0.0)), target)
    for strength in (0.3, 0.9, 1.0):
        mixed = slerp(source, target, jnp.asarray(strength))
        np.testing.assert_allclose(norm(mixed), norm(target), rtol=1e-9)
    scaled = source * (norm(target) / norm(source))[:, None, None, None]
    np.testing.assert_allclose(mixed, scaled, rtol=1e-9)
    each = slerp(source, target, jnp.asarray([0.0, 0.3, 1.0]))
    np.testing.assert_allclose(each[::2], np.stack([target[0], scaled[2]]), rtol=1e-9)
    parallel = slerp(2 * target, target, jnp.asarray(0.5))
    np.testing.assert_allclose(parallel, target, rtol=1e-4)
    slope = jax.jit(jax.grad(lambda h: jnp.sum(slerp(h, target, jnp.asarray(0.5)) ** 3)))
    assert np.isfinite(slope(jnp.zeros_like(target))).all()


def test_features_in_half_precision_stay_so():
    source, target = jnp.ones((1, 4), jnp.bfloat16), 3 * jnp.ones((1, 4), jnp.bfloat16)
    assert slerp_features(source, target, jnp.asarray(0.5)).dtype == jnp.bfloat16

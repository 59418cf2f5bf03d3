"""pix2pix-zero on a small network."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.bridge.couplings import Coupling
from ddib_jax.conditioning import Prompts
from ddib_jax.editing import (
    Pix2PixZero,
    attention_layers,
    constant,
    cross_attention_energy,
    edit_direction,
    kick_weights,
)
from ddib_jax.guidance import ClassifierFreeGuidance
from tests.editing.told import prompt, sharp, states, text, told_model
from tests.nets.small import COMPILED_QUICKLY

APART = states(4, 2, 2)
ALIKE = jnp.repeat(states(3, 2, 1), 2, axis=1)
SIGMA = jnp.asarray(1.5)

model = functools.cache(lambda: sharp(told_model()))
compiled = functools.partial(jax.jit, compiler_options=COMPILED_QUICKLY)


@compiled
def along(coupling, source, target, sigma, rows):
    return coupling.field(source, target)(sigma, rows)


@compiled
def maps(model, sigma, x):
    """The weights of all attention to the text, from what the layers attend with."""
    layers = [layer.name for layer in attention_layers(model) if layer.cross]
    _, values = model.read(x, sigma, [f"{n}.{part}" for n in layers for part in ("query", "key")])
    found = {}
    for name in layers:
        q, k = values[f"{name}.query"], values[f"{name}.key"]
        logits = jnp.einsum("bphd,bnhd->bhpn", q, k) / jnp.sqrt(q.shape[-1])
        found[name] = jnp.exp(logits) / jnp.exp(logits).sum(axis=-1, keepdims=True)
    return found


def slopes(coupling, rows, target=None, *, null=None):
    guidance = None if null is None else ClassifierFreeGuidance(null, jnp.asarray(3.0))
    ends = model().given(text(0)), model().given(target or text(1)).guided(guidance)
    return np.asarray(along(coupling, *ends, SIGMA, rows))


def zero(weight, *, longest=1e6):
    return Pix2PixZero.of(
        model(), weight=constant(jnp.asarray(weight)), longest=jnp.asarray(longest)
    )


@pytest.mark.slow
def test_a_condition_onto_itself_gives_the_source():
    assert isinstance(zero(1.0), Coupling)
    found = slopes(zero(5.0), ALIKE, text(0))
    np.testing.assert_allclose(found[:, 1], found[:, 0], atol=1e-5)


@pytest.mark.slow
def test_the_slope_is_moved_by_the_gradient_of_each_images_energy():
    """By finite differences of another statement of the energy, in one direction."""
    pushed = slopes(zero(50.0), APART)[:, 1] - slopes(zero(0.0), APART)[:, 1]
    direction = np.random.default_rng(0).normal(size=pushed.shape).astype(np.float32)
    source = maps(model().given(text(0)), SIGMA, APART[:, 0])

    def energy(x):
        found = maps(model().given(text(1)), SIGMA, x)
        squares = [(np.float64(found[name]) - np.float64(source[name])) ** 2 for name in source]
        return sum(each.mean(axis=1).sum(axis=(1, 2)) for each in squares)

    step = 0.01
    ends = [energy(APART[:, 1] + sign * step * direction) for sign in (1, -1)]
    expected = 50.0 * float(SIGMA) * (ends[0] - ends[1]) / (2 * step)
    assert np.abs(expected).min() > 1e-3
    np.testing.assert_allclose((pushed * direction).sum(axis=(1, 2, 3)), expected, rtol=0.02)


@pytest.mark.slow
def test_an_image_does_not_depend_on_its_batch():
    whole = slopes(zero(50.0), APART)
    found = slopes(zero(50.0), APART.at[1].set(states(5, 2)))
    np.testing.assert_allclose(found[0], whole[0], atol=1e-6)


@pytest.mark.slow
def test_guidance_goes_around_the_condition_and_the_energy_is_its_alone():
    """A third of the weight under a guidance of 3 is no third of the move: it is outside of it."""
    plain, pushed = (slopes(zero(weight), APART)[:, 1] for weight in (0.0, 50.0))
    guided = [slopes(zero(weight), APART, null=text(2))[:, 1] for weight in (0.0, 50.0)]
    np.testing.assert_allclose(guided[1] - guided[0], pushed - plain, atol=1e-5)
    alone = slopes(zero(0.0), APART, text(2))[:, 1]
    np.testing.assert_allclose(guided[0], alone + 3 * (plain - alone), atol=1e-4)


def test_the_energy_is_a_sum_over_layers_and_a_mean_over_heads():
    own = {"a": jnp.ones((2, 4, 3, 5)), "b": jnp.zeros((2, 4, 1, 5))}
    source = {"a": jnp.asarray([0.0, 1.0]).reshape(2, 1, 1, 1) * own["a"], "b": own["b"] + 2}
    found = cross_attention_energy(own, source)
    np.testing.assert_allclose(found, [3 * 5 + 4 * 5, 4 * 5])


def test_weights_of_the_papers_move():
    """Euler's step with them adds -rate/2 (1 + sigma^2) grad E to x, whatever the step."""
    sigmas = np.asarray([0.1, 0.5, 2.0, 9.0], np.float32)
    weights = kick_weights(sigmas, move=0.2)
    for low, high in itertools.pairwise(sigmas):
        added = (low - high) * float(weights(jnp.asarray(high))) * high
        np.testing.assert_allclose(added, -0.1 * (1 + high**2), rtol=1e-5)


def test_a_direction_of_sentences():
    """Token by token, of the means of any number of sentences."""
    known = {"": 0.0, "a cat": 1.0, "the cat": 3.0, "a dog": 7.0}

    def encode(words):
        leaf = np.stack([np.full((2, 3), known[word]) * [[1], [2]] for word in words])
        return {"text": leaf, "sizes": np.ones((len(words), 2))}

    conditioner = Prompts(encode, tokens=prompt)
    found = edit_direction(conditioner, ["a cat", "the cat"], ["a dog"])
    np.testing.assert_allclose(found["text"], [[5] * 3, [10] * 3])
    np.testing.assert_allclose(found["sizes"], [0, 0])

"""MasaCtrl on a small network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ddib_jax
from ddib_jax.bridge.couplings import Coupling
from ddib_jax.diffusion import probability_flow
from ddib_jax.editing import MasaCtrl, Objects
from ddib_jax.editing.masactrl import _attend
from ddib_jax.editing.masks import at_positions, places_of_words
from ddib_jax.nets.hooks import attention_weights
from tests.editing.told import PLACES, sharp, states, text, told_model
from tests.nets.small import COMPILED_QUICKLY

APART = states(4, 2, 2)
ALIKE = jnp.repeat(states(3, 2, 1), 2, axis=1)
SIGMA = jnp.asarray(1.5)
WORDS = jnp.eye(6)

model = functools.cache(lambda: sharp(told_model()))
compiled = functools.partial(jax.jit, compiler_options=COMPILED_QUICKLY)


@compiled
def along(coupling, source, target, sigma, rows):
    return coupling.field(source, target)(sigma, rows)


def slopes(coupling, rows, target=None):
    ends = model().given(text(0)), model().given(target or text(1))
    return np.asarray(along(coupling, *ends, SIGMA, rows))


@pytest.mark.slow
def test_mutual_self_attention():
    """The source's keys and values below a level; above it, the target on its own."""
    coupling = MasaCtrl.of(model(), below=jnp.asarray(2.0))
    assert isinstance(coupling, Coupling)
    same = slopes(coupling, ALIKE, text(0))
    np.testing.assert_allclose(same[:, 1], same[:, 0], atol=1e-5)
    own = compiled(lambda x: probability_flow(model().given(text(1)))(SIGMA, x))(APART[:, 1])
    held, above = (
        slopes(coupling.replace(below=jnp.asarray(below)), APART)[:, 1] for below in (2.0, 1.0)
    )
    np.testing.assert_allclose(above, own, atol=1e-5)
    assert np.abs(held - above).max() > 1e-3


@pytest.mark.slow
def test_mutual_self_attention_begins_behind_the_first_block_of_structure():
    layers = MasaCtrl.of(told_model(**PLACES)).layers
    assert layers
    assert all(name.startswith("up_blocks.1.") and name.endswith("attn1") for name in layers)
    assert all(name.startswith("up_blocks.0.") for name in MasaCtrl.of(model()).layers)


@pytest.mark.slow
def test_words_have_places():
    """From 0 to 1, whatever the number of heads and layers, and resized to any other layer."""
    q, k = jax.random.normal(jax.random.key(0), (2, 8, 2, 4)), jnp.ones((2, 6, 2, 4))
    q, k = 3 * q, k.at[:, 2].set(-1)
    values = {"a.query": q, "a.key": k, "b.query": q[:, :, ::-1], "b.key": k}
    found = places_of_words(values, ("a", "b"), WORDS[2])
    mean = attention_weights(q, k).mean(axis=1)[..., 2]
    expected = (mean - mean.min(1, keepdims=True)) / np.ptp(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    larger = at_positions(found, 32, (16, 32, 3)).reshape(2, 4, 8)
    np.testing.assert_array_equal(larger[:, ::2, ::2].reshape(2, -1), found)
    np.testing.assert_array_equal(larger[:, 1::2, 1::2], larger[:, ::2, ::2])
    np.testing.assert_array_equal(at_positions(larger.reshape(2, -1), 8, (16, 32, 3)), found)


@pytest.mark.slow
def test_an_object_attends_to_the_object():
    """And the background to the background; where all is the object, to all of it."""
    q, k, v = jax.random.normal(jax.random.key(1), (3, 1, 6, 2, 4))
    inside = jnp.asarray([[True, True, False, False, False, True]])
    share = jnp.asarray([[1.0, 0.0, 0.5, 1.0, 0.0, 0.0]])
    attend = lambda inside, held=1: _attend(
        jnp.asarray(held > 0), k, v, inside, share, q, k + 1, v + 1
    )
    found = attend(inside)

    def only(where):
        logits = jnp.einsum("bnhd,bmhd->bhnm", q, k) / 2
        weights = jax.nn.softmax(jnp.where(where[:, None, None], logits, -jnp.inf), axis=-1)
        return jnp.einsum("bhnm,bmhd->bnhd", weights, v)

    ours, rest = only(inside), only(~inside)
    expected = share[..., None, None] * ours + (1 - share[..., None, None]) * rest
    np.testing.assert_allclose(found, expected, atol=1e-5)
    everywhere = attend(jnp.ones_like(inside))
    np.testing.assert_allclose(everywhere[:, 0], only(jnp.ones_like(inside))[:, 0], atol=1e-5)
    weights = attention_weights(q, k + 1)
    own = jnp.einsum("bhnm,bmhd->bnhd", weights, v + 1)
    np.testing.assert_allclose(attend(inside, held=0), own, atol=1e-5)


@pytest.mark.slow
def test_objects_apart():
    """They change the slope below the level alone, and an image's does not depend on its batch."""
    plain = MasaCtrl.of(model(), below=jnp.asarray(2.0))
    objects = Objects.of(model(), WORDS[1], WORDS[2], threshold=jnp.asarray(0.5))
    assert {name.rpartition(".")[2] for name in objects.layers} == {"attn2"}
    apart = plain.replace(objects=objects)
    found = slopes(apart, APART)
    assert np.abs(found - slopes(plain, APART))[:, 1].max() > 1e-4
    np.testing.assert_allclose(slopes(apart, APART.at[1].set(states(5, 2)))[0], found[0], atol=1e-6)
    above = slopes(apart.replace(below=jnp.asarray(1.0)), APART)
    own = slopes(plain.replace(below=jnp.asarray(1.0)), APART)
    np.testing.assert_allclose(above, own, atol=1e-5)


def test_networks_without_words():
    with pytest.raises(ValueError, match="attends to no text"):
        Objects.of(ddib_jax.load("five"), WORDS[1], WORDS[1])

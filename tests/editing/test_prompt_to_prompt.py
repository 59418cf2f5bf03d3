"""Prompt-to-Prompt on a small network: what is the source's, what is not, and until when."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.bridge.couplings import Coupling
from ddib_jax.editing import (
    Alignment,
    LocalBlend,
    PromptToPrompt,
    attention_layers,
    equaliser,
    prompt_refinement,
    tokens_of,
    word_replacement,
)
from ddib_jax.guidance import ClassifierFreeGuidance
from tests.editing.told import LENGTH, PLACES, prompt, sharp, states, text, told_model
from tests.nets.small import COMPILED_QUICKLY

CAT, DOG = prompt("a cat sat"), prompt("a dog sat")
SELF = Alignment(np.eye(LENGTH, dtype=np.float32), np.ones(LENGTH, np.float32))
SIGMA = 1.5
TRACES = []

model = functools.cache(lambda: sharp(told_model()))


@functools.partial(jax.jit, compiler_options=COMPILED_QUICKLY)
def compiled(coupling, source, target, sigma, rows):
    TRACES.append(1)
    return coupling.field(source, target)(sigma, rows)


def slopes(coupling, source, target, rows, *, sigma=SIGMA, null=None, scale=1.0):
    """The slopes of both rows under two texts, and under a guidance where there is a null."""
    guidance = None if null is None else ClassifierFreeGuidance(null, jnp.asarray(scale))
    ends = model().given(source), model().given(target).guided(guidance)
    return np.asarray(compiled(coupling, *ends, jnp.asarray(sigma), rows))


@functools.cache
def coupled():
    """A coupling of the model, with a blend."""
    words = tokens_of("cat", CAT)
    return PromptToPrompt.of(model(), SELF, blend=LocalBlend.of(model(), words, words))


def made(alignment=SELF, *, factors=None, cross=0.5, itself=0.5, threshold=-1.0):
    """A coupling; with a threshold below all maps the blend lets everything through."""
    return coupled().replace(
        alignment=alignment,
        factors=equaliser(factors or {}, CAT),
        cross_until=jnp.asarray(cross),
        self_until=jnp.asarray(itself),
        blend=coupled().blend.replace(threshold=jnp.asarray(threshold)),
    )


ALIKE = jnp.repeat(states(3, 2, 1), 2, axis=1)
"""Two images, both rows of each equal."""
APART = states(4, 2, 2)


@pytest.mark.slow
def test_the_layers_of_the_paper():
    coupling = made()
    assert isinstance(coupling, Coupling)
    layers = attention_layers(model())
    assert set(coupling.cross) == {layer.name for layer in layers if layer.cross}
    assert set(coupling.itself) == {layer.name for layer in layers if not layer.cross}
    assert coupling.cross
    larger = told_model(**PLACES)
    sides = {layer.name: layer.side for layer in attention_layers(larger)}
    blend = LocalBlend.of(larger, tokens_of("cat", CAT), tokens_of("dog", DOG))
    assert {sides[name] for name in blend.layers} == {8}
    assert sides.keys() > {*blend.layers}


@pytest.mark.slow
def test_a_prompt_onto_itself_gives_the_source():
    found = slopes(made(), text(0), text(0), ALIKE)
    np.testing.assert_allclose(found[:, 1], found[:, 0], atol=1e-5)
    louder = slopes(made(factors={"cat": 3.0}), text(0), text(0), ALIKE)
    np.testing.assert_array_equal(louder[:, 0], found[:, 0])
    assert np.abs(louder[:, 1] - found[:, 1]).max() > 1e-3


@pytest.mark.slow
def test_attention_is_moved_to_the_partners():
    """The words in another order, and a map that says so, are the source's own picture."""
    order = np.asarray([0, 2, 3, 1, 4, 5])
    moved = Alignment(np.eye(LENGTH, dtype=np.float32)[:, order], np.ones(LENGTH, np.float32))
    turned = {"text": text(0)["text"][order]}
    found = slopes(made(moved), text(0), turned, ALIKE)
    np.testing.assert_allclose(found[:, 1], found[:, 0], atol=1e-5)
    assert np.abs(slopes(made(), text(0), turned, ALIKE)[:, 1] - found[:, 1]).max() > 1e-3


def test_tokens_without_a_partner_keep_their_own_attention():
    """With no partners, and no self-attention taken over, nothing is the source's."""
    own = slopes(made(cross=9.0, itself=9.0), text(0), text(1), APART)
    none = Alignment(np.zeros((LENGTH, LENGTH), np.float32), np.zeros(LENGTH, np.float32))
    alone = slopes(made(none, itself=9.0), text(0), text(1), APART)
    np.testing.assert_allclose(alone, own, atol=1e-5)
    some = slopes(made(prompt_refinement(CAT, DOG), itself=9.0), text(0), text(1), APART)
    assert np.abs(some[:, 1] - own[:, 1]).max() > 1e-3


def test_each_attention_ends_at_its_level():
    """Below both levels the target is on its own: its slope is that of a source's row there."""
    alone = slopes(made(), text(1), text(1), APART[:, ::-1])[:, 0]
    below = made(cross=SIGMA + 0.1, itself=SIGMA + 0.1)
    np.testing.assert_allclose(slopes(below, text(0), text(1), APART)[:, 1], alone, atol=1e-5)
    for one in (made(cross=SIGMA + 0.1), made(itself=SIGMA + 0.1)):
        assert np.abs(slopes(one, text(0), text(1), APART)[:, 1] - alone).max() > 1e-3


def test_an_image_does_not_depend_on_its_batch():
    whole = slopes(made(threshold=0.3), text(0), text(1), APART)
    other = APART.at[1].set(states(5, 2))
    found = slopes(made(threshold=0.3), text(0), text(1), other)
    np.testing.assert_array_equal(found[0], whole[0])
    assert np.abs(found[1] - whole[1]).max() > 0.1


def test_outside_of_the_blend_the_target_moves_as_the_source():
    through, held, partly = (
        slopes(made(threshold=threshold), text(0), text(1), APART) for threshold in (-1.0, 1.5, 0.9)
    )
    assert np.abs(through[:, 1] - through[:, 0]).max() > 0.1
    np.testing.assert_array_equal(held[:, 1], held[:, 0])
    np.testing.assert_array_equal(held[:, 0], through[:, 0])
    inside = np.any(partly[:, 1] != partly[:, 0], axis=-1, keepdims=True)
    assert 0 < inside.mean() < 1
    np.testing.assert_array_equal(partly[:, 1], np.where(inside, through[:, 1], through[:, 0]))


@pytest.mark.slow
def test_only_the_conditional_half_of_guidance_is_edited():
    alone = slopes(made(), text(2), text(2), APART[:, ::-1])[:, 0]
    told = slopes(made(), text(0), text(1), APART)[:, 1]
    ends = (
        slopes(made(), text(0), text(1), APART, null=text(2), scale=scale)[:, 1]
        for scale in (0.0, 1.0, 3.0)
    )
    for found, expected in zip(ends, (alone, told, alone + 3 * (told - alone)), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_new_words_do_not_retrace():
    slopes(made(), text(0), text(1), APART)
    before = len(TRACES)
    for alignment in (word_replacement(CAT, DOG), prompt_refinement(CAT, prompt("cat sat"))):
        changed = made().replace(alignment=alignment, factors=equaliser({"cat": 2.0}, CAT))
        slopes(changed, text(5), text(6), APART, sigma=0.7)
    assert len(TRACES) == before


def test_the_place_of_words():
    """The places around the most looked at, of either prompt, in the data's size."""
    theirs, own = np.zeros((2, 1, 2, 32, LENGTH), np.float32)
    theirs[0, :, 9, 2] = 0.8  # row 1, column 1 of 4 x 8 positions
    theirs[0, :, 31, 1] = 1.0  # another token
    theirs[0, 0, 15, 2] = 0.4  # of one head: a quarter of the largest
    own[0, :, 30, 3] = 0.01  # row 3, column 6
    blend = LocalBlend(tokens_of("cat", CAT), np.eye(LENGTH, dtype=np.float32)[3], layers=("a",))
    maps = [jnp.asarray(theirs)], [jnp.asarray(own)]
    found = blend.mask(*maps, (8, 16, 3))
    expected = np.zeros((1, 8, 16, 1), bool)
    expected[:, :6, :6] = expected[:, 4:, 10:] = True
    np.testing.assert_array_equal(found, expected)
    wider = blend.replace(threshold=0.2).mask(*maps, (8, 16, 3))
    assert wider.sum() > found.sum()


def test_what_cannot_be_edited_is_said():
    longer = Alignment(np.eye(9, dtype=np.float32), np.ones(9, np.float32))
    coupling = PromptToPrompt.of(model(), longer)
    with pytest.raises(ValueError, match="aligned by 9 tokens, and the network attends to 6"):
        jax.eval_shape(coupling.field(model(), model()), jnp.asarray(1.0), APART)

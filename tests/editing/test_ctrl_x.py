"""Ctrl-X on a small network, and on the shipped model that is told captions."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ddib_jax
from ddib_jax import pretrained
from ddib_jax.bridge import Bridge
from ddib_jax.diffusion import probability_flow
from ddib_jax.editing import CtrlX
from ddib_jax.editing.ctrl_x import _dressed
from ddib_jax.guidance import ClassifierFreeGuidance
from ddib_jax.solvers import EULER
from ddib_jax.types import Translator
from tests.editing.told import sharp, states, text, told_model
from tests.nets.small import COMPILED_QUICKLY

# One block each way, for programs of many evaluations that compile in seconds.
SMALLEST = {
    "block_out_channels": (8,),
    "down_block_types": ("CrossAttnDownBlock2D",),
    "up_block_types": ("CrossAttnUpBlock2D",),
}
ATTN = "transformer_blocks.0.attn1"
quickly = partial(jax.jit, compiler_options=COMPILED_QUICKLY)


@pytest.fixture(scope="module")
def model():
    return sharp(told_model(**SMALLEST))


def made(model, *, prompt=1, scale=None, **options):
    """The method between two prompts, on three noise levels."""
    guidance = None if scale is None else ClassifierFreeGuidance(text(3), jnp.asarray(scale))
    target = model.given(text(prompt)).guided(guidance)
    return CtrlX.of(model, Bridge.over(target, steps=3, solver=EULER), **options)


SIGMA = jnp.asarray(1.5)
KEYS = jax.random.split(jax.random.key(0), 3)
IMAGES = jnp.tanh(states(6, 3))


def test_layers_are_those_of_the_papers_code(model):
    """Of its places in SDXL: no appearance in the bottleneck, nor behind the injected features."""
    method = made(model)
    assert isinstance(method, Translator)
    held = [f"up_blocks.0.attentions.{number}.{ATTN}" for number in range(2)]
    assert method.features == ("up_blocks.0.resnets.0",)
    assert method.attention == tuple(held)
    before = f"down_blocks.0.attentions.0.{ATTN}"
    assert method.appearance == ((before, 2), (held[1], 2))


def test_it_is_given_prompts(model):
    method = made(model).given(text(4), text(5))
    assert method.source.cond is not method.target.model.cond
    np.testing.assert_array_equal(method.source.cond["text"], text(4)["text"])
    np.testing.assert_array_equal(method.target.model.cond["text"], text(5)["text"])
    assert method.given(None, None).source.cond is method.source.cond


def slopes(*methods):
    """Of each method the rows' slopes where the sibling is at other places than the target."""

    @quickly
    def along(rows):
        found = []
        for method in methods:
            coupling, _ = method.coupled(KEYS, IMAGES)
            found.append(coupling.field(method.source, method.target.model)(SIGMA, rows))
        return found

    return along(states(8, 3, 2))


@pytest.mark.slow
def test_without_control_rows_are_samples(model):
    """Structure and appearance off: the slope of each row is its own model's."""
    method = replace(made(model), features=(), attention=(), appearance=())
    rows = states(8, 3, 2)
    field = probability_flow(method.target.model)
    own = quickly(lambda rows: [field(SIGMA, rows[:, row]) for row in range(2)])(rows)
    (found,) = slopes(method)
    # two programs round apart
    np.testing.assert_allclose(found, jnp.stack(own, axis=1), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_each_part_counts(model):
    """Features, attention, appearance, and whose appearance it is; the sibling's row is free."""
    whole = made(model)
    parts = [
        whole,
        *(replace(whole, **{name: ()}) for name in ("features", "attention", "appearance")),
        replace(whole, shown=IMAGES[2]),
    ]
    found = slopes(*parts)
    for number, one in enumerate(found):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one[:, 0], found[0][:, 0], rtol=1e-5, atol=1e-5)
        for other in found[:number]:
            # the random network says little of x, yet far more than float32's rounding
            assert float(jnp.abs(one[:, 1] - other[:, 1]).max()) > 1e-5


@pytest.mark.slow
def test_features_dressed():
    """Attended evenly it is adaptive instance normalisation, sharply the very features shown."""
    one, two = 3 + 2 * states(1, 2).reshape(2, -1, 6), states(2, 2).reshape(2, -1, 6)
    heads = lambda x: x.reshape(2, -1, 2, 3)
    even = _dressed(lambda x: 0 * heads(x), heads(one), one, None, two)
    np.testing.assert_allclose(even.mean(axis=1), one.mean(axis=1), rtol=1e-3)
    np.testing.assert_allclose(even.std(axis=1), one.std(axis=1), rtol=1e-3)
    # keys of which each query meets one alone: that at its own place
    count = one.shape[1]
    places = jnp.broadcast_to(1e2 * jnp.eye(count)[None, :, None], (2, count, 2, count))
    found = _dressed(lambda x: places, places, one, one, two)
    np.testing.assert_allclose(found, one, rtol=1e-3, atol=1e-2)


@pytest.mark.slow
def test_one_image_and_its_company(model):
    """An image's translation is the same in any batch; new prompts and images do not trace."""
    calls = 0

    @quickly
    def translate(method, keys, images):
        nonlocal calls
        calls += 1
        return method(keys, images)

    found = translate(made(model, scale=2.0), KEYS, IMAGES)
    other = translate(made(model, scale=2.0), KEYS, IMAGES.at[1:].multiply(-1))
    np.testing.assert_array_equal(found[0], other[0])
    assert float(jnp.abs(found[1] - other[1]).max()) > 1e-3
    told = translate(made(model, scale=2.0, prompt=2), KEYS, IMAGES)
    assert float(jnp.abs(found - told).max()) > 1e-4
    assert calls == 1


def test_networks_without_transformer_blocks():
    five = ddib_jax.load("five")
    with pytest.raises(ValueError, match="looks into the transformer blocks of diffusers' U-Nets"):
        CtrlX.of(five, Bridge.over(five, steps=2))


def likeness(one, other):
    """The correlation of the lightness of pictures, whichever of ink and paper is lighter."""
    flat = lambda images: images.mean(axis=-1).reshape(len(images), -1)
    one, other = (flat(np.asarray(each)) for each in (one, other))
    return np.abs([np.corrcoef(*pair)[0, 1] for pair in zip(one, other, strict=True)]).mean()


@jax.jit
def translated(method, keys, images):
    return method(keys, images)


@pytest.mark.slow
def test_structure_is_kept():
    """Digits under a prompt keep their strokes far better than samples from the same noise do."""
    checkpoint = pretrained.open("captioned")
    model, words = checkpoint.model(), checkpoint.conditioner
    captions = words(["a seven", "a green seven on white"])
    told = [jax.tree.map(lambda leaf, row=row: leaf[row], captions) for row in range(2)]
    source, cond = map(model.given, told)
    target = cond.guided(ClassifierFreeGuidance(words.null, jnp.asarray(3.0)))
    method = CtrlX.of(source, Bridge.over(target, steps=15, solver=EULER))
    images = ddib_jax.load_dataset("seven", split="test").take(range(6))
    keys = jax.random.split(jax.random.key(0), len(images))
    kept = likeness(images, translated(method, keys, images))
    free = likeness(images, translated(replace(method, until=79.0), keys, images))
    assert kept > free + 0.1

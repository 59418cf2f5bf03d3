"""Plug-and-Play on a small network."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.editing import PlugAndPlay
from tests.editing.told import PLACES, sharp, text, told_model
from tests.nets.small import COMPILED_QUICKLY

quickly = partial(jax.jit, compiler_options=COMPILED_QUICKLY)


@pytest.mark.slow
def test_a_picture_plugged_into_itself():
    """Equal prompts and no guidance: the target is the source, while both are held and after."""
    model = told_model(**PLACES)
    coupling = PlugAndPlay.of(model, attention_until=1.0)
    assert coupling.features == ("up_blocks.1.resnets.1.conv2",)
    x = 2 * jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    slope = quickly(coupling.field(model, model))
    for sigma in (2.0, 0.7):
        source, target = jnp.moveaxis(slope(jnp.asarray(sigma), jnp.stack([x, x], axis=1)), 1, 0)
        np.testing.assert_allclose(target, source, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_what_is_plugged_in():
    """Features count at every level, attention down to its own end alone."""
    model = sharp(told_model(**PLACES))
    target = model.given(text(2))
    whole = PlugAndPlay.of(model, attention_until=1.0)
    cases = (whole, replace(whole, features=()), replace(whole, attention=()))
    x = 2 * jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    rows = jnp.stack([x, x[::-1]], axis=1)
    # The random network says little of x, yet far more than float32's rounding, 1e-7 of it.
    slopes = quickly(lambda sigma: [case.field(model, target)(sigma, rows)[:, 1] for case in cases])
    both, attending, featured = slopes(jnp.asarray(2.0))
    assert float(jnp.abs(both - attending).max()) > 1e-5
    assert float(jnp.abs(both - featured).max()) > 1e-5
    both, attending, featured = slopes(jnp.asarray(0.7))
    assert float(jnp.abs(both - attending).max()) > 1e-5
    np.testing.assert_allclose(both, featured, rtol=1e-5, atol=1e-6)

"""An image or its negative: the one that the target's exact model knows is translated."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import schedules
from ddib_jax.analytic import mixture_model
from ddib_jax.bridge import DDIB, Bridge, EitherContrast
from ddib_jax.translation import translate

LIGHT = jnp.full((6, 6, 1), -0.8).at[2:4, 1:5].set(0.9)
SCHEDULE = schedules.EDM(0.05, 20.0)


def over(*means):
    variances = jnp.full(len(means), 0.01)
    return Bridge.over(mixture_model(jnp.stack(means), variances, schedule=SCHEDULE), steps=8)


DDIBS = DDIB(over(LIGHT, -LIGHT), over(LIGHT.transpose(1, 0, 2)))


def test_dark_things_become_the_light_ones_of_the_target():
    noise = 0.1 * jax.random.normal(jax.random.key(0), (4, 6, 6, 1))
    images = noise + jnp.stack([LIGHT, -LIGHT, -LIGHT, LIGHT])
    either = EitherContrast(DDIBS, 1.0)
    keys = jax.random.split(jax.random.key(1), 4)
    signs = jnp.array([1, -1, -1, 1]).reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(jax.jit(either.chosen)(keys, images), signs * images)
    made = translate(either, images)
    np.testing.assert_allclose(made, translate(DDIBS, signs * images), atol=1e-6)


def test_a_level_beyond_the_model_and_unlike_channels_are_refused():
    for level in (0.01, 100.0):
        with pytest.raises(ValueError, match=r"knows noise levels from 0\.05 to 20; choose"):
            translate(EitherContrast(DDIBS, level), LIGHT[None])
    coloured = replace(DDIBS, target=over(jnp.tile(LIGHT, 3)))
    with pytest.raises(ValueError, match="unlike numbers of channels"):
        EitherContrast(coloured, 1.0).check()

"""CLIP's text encoder: what a state knows of a text, what is refused, 16 bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.nets import CLIPText
from tests.nets.small import filled

END = 19
SMALL = CLIPText(
    vocab_size=20,
    hidden_size=8,
    intermediate_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    max_position_embeddings=8,
    projection_dim=6,
    eos_token_id=END,
)
TOKENS = jnp.asarray(
    [[18, 3, 5, 7, END, 0, 0], [18, 3, 5, 7, END, 9, END], [18, 3, 5, 4, END, 0, 0]]
)
VARIABLES = filled(SMALL, TOKENS)


def test_a_state_knows_what_was_before_it():
    """A text is told from what is behind its end alone by states behind its end."""
    states = jax.jit(SMALL.apply)(VARIABLES, TOKENS)
    assert states.hidden.shape == (3, 7, 8)
    assert states.pooled.shape == (3, 6)
    same = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5)
    same(states.hidden[0, :5], states.hidden[1, :5])
    same(states.pooled[0], states.pooled[1])
    same(states.hidden[0, :3], states.hidden[2, :3])
    assert float(jnp.abs(states.hidden[0, 5] - states.hidden[1, 5]).max()) > 1e-2
    assert float(jnp.abs(states.pooled[0] - states.pooled[2]).max()) > 1e-3


@pytest.mark.slow
def test_old_configurations_pool_at_the_largest_token():
    largest = jnp.asarray([[18, 3, END, 7, 2]])
    pooled = lambda end: SMALL.clone(eos_token_id=end).apply(VARIABLES, largest).pooled
    np.testing.assert_array_equal(pooled(2), pooled(END))
    assert float(jnp.abs(pooled(2) - pooled(7)).max()) > 1e-2


@pytest.mark.slow
def test_sixteen_bits():
    expected = jax.jit(SMALL.apply)(VARIABLES, TOKENS)
    short = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), VARIABLES)
    found = jax.jit(SMALL.clone(dtype="bfloat16").apply)(short, TOKENS)
    for near, exact in zip(found, expected, strict=True):
        assert near.dtype == jnp.float32
        assert 0 < float(jnp.abs(near - exact).max()) < 0.05 * float(jnp.abs(exact).max())


def test_what_is_refused():
    for options, words in (
        ({"hidden_act": "sine"}, "hidden_act = 'sine' of transformers .* quick_gelu"),
        ({"num_attention_heads": 3}, "hidden_size 8 is not a multiple of num_attention_heads 3"),
        ({"max_position_embeddings": 5}, "The texts have 7 tokens, and this encoder takes 5"),
    ):
        with pytest.raises(ValueError, match=words):
            SMALL.clone(**options).apply(VARIABLES, TOKENS)
    with pytest.raises(ValueError, match="3 layers are to be left out of 2; leave out 0 to 2"):
        SMALL.apply(VARIABLES, TOKENS, skip=3)

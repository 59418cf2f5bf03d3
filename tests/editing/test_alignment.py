"""Which tokens of two prompts are partners."""

import numpy as np
import pytest

from ddib_jax.editing import equaliser, prompt_refinement, tokens_of, word_replacement
from ddib_jax.text import Span, Tokens
from tests.editing.told import prompt

LENGTH = 9


def said(words, **sizes):
    return prompt(words, length=LENGTH, sizes=sizes)


def matrix(*pairs):
    """Ones at (source, target), and nothing else."""
    result = np.zeros((LENGTH, LENGTH))
    for pair in pairs:
        result[pair] = 1
    return result


@pytest.mark.parametrize("align", [word_replacement, prompt_refinement])
def test_a_prompt_is_its_own_partner(align):
    tokens = said("a striped tiger", tiger=2)
    found = align(tokens, tokens)
    np.testing.assert_array_equal(found.matrix, np.eye(LENGTH))
    np.testing.assert_array_equal(found.paired, np.ones(LENGTH))
    assert align(said(""), said("")).paired.all()


def test_a_word_for_a_word():
    """One token for two: each has half of the attention; what follows is moved along."""
    found = word_replacement(said("a cat sat"), said("a tiger sat", tiger=2))
    expected = matrix((0, 0), (1, 1), (2, 2), (2, 3), (3, 4), (4, 5), (6, 6), (7, 7), (8, 8))
    expected[2, 2:4] = 0.5
    np.testing.assert_array_equal(found.matrix, expected)
    np.testing.assert_array_equal(found.paired, np.ones(LENGTH))


def test_many_tokens_for_few():
    """The attention of all of them is shared; padding that was a word keeps its own."""
    found = word_replacement(said("a tiger sat", tiger=3), said("a cat sat"))
    expected = matrix((0, 0), (1, 1), (2, 2), (3, 2), (4, 2), (5, 3), (6, 4), (7, 7), (8, 8))
    np.testing.assert_array_equal(found.matrix, expected)
    np.testing.assert_array_equal(found.paired, [1, 1, 1, 1, 1, 0, 0, 1, 1])
    same = word_replacement(said("a tiger sat", tiger=2), said("a zebra sat", zebra=2))
    np.testing.assert_array_equal(same.matrix, np.eye(LENGTH))


def test_words_added_and_left_out():
    added = prompt_refinement(said("a cat sat"), said("a fat cat sat down"))
    expected = matrix((0, 0), (1, 1), (2, 3), (3, 4), (4, 6), (7, 7), (8, 8))
    np.testing.assert_array_equal(added.matrix, expected)
    np.testing.assert_array_equal(added.paired, [1, 1, 0, 1, 1, 0, 1, 1, 1])
    left = prompt_refinement(said("a fat cat sat down"), said("a cat sat"))
    expected = matrix((0, 0), (1, 1), (3, 2), (4, 3), (6, 4), (7, 7), (8, 8))
    np.testing.assert_array_equal(left.matrix, expected)
    np.testing.assert_array_equal(left.paired, [1, 1, 1, 1, 1, 0, 0, 1, 1])


def test_a_word_replaced_in_a_refinement_has_no_partner():
    found = prompt_refinement(said("a cat sat"), said("a dog sat"))
    np.testing.assert_array_equal(found.paired, [1, 1, 0, 1, 1, 1, 1, 1, 1])
    assert found.matrix[2].sum() == 0


def test_tokens_of_words():
    tokens = said("a Fat cat , cat", cat=2)
    np.testing.assert_array_equal(tokens_of("cat", tokens), [0, 0, 0, 1, 1, 0, 1, 1, 0])
    np.testing.assert_array_equal(tokens_of("fat  cat", tokens), [0, 0, 1, 1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(tokens_of("cat,", tokens), [0, 0, 0, 1, 1, 1, 0, 0, 0])
    for words in ("afat", "at", "dog", "", "cat fat"):
        with pytest.raises(ValueError, match=f"not say '{words}'; its words are a, Fat, cat"):
            tokens_of(words, tokens)
    parted = Tokens(np.zeros(9, np.int32), (Span("red", 1, 2), Span("-", 2, 3), Span("hair", 3, 4)))
    np.testing.assert_array_equal(tokens_of("Red-hair", parted), [0, 1, 1, 1, 0, 0, 0, 0, 0])


def test_factors_of_words():
    scale = equaliser({"cat": 2.0, "a": 0.5}, said("a fat cat", cat=2))
    np.testing.assert_array_equal(scale, [1, 0.5, 1, 2, 2, 1, 1, 1, 1])
    np.testing.assert_array_equal(equaliser({}, said("a")), np.ones(LENGTH))


def test_what_cannot_be_aligned_is_said():
    with pytest.raises(ValueError, match=r"have 2 and 3: a, cat; a, fat, cat\. Write as many"):
        word_replacement(said("a cat"), said("a fat cat"))
    with pytest.raises(ValueError, match="have 9 and 6 tokens; take both from one tokenizer"):
        prompt_refinement(said("a cat"), prompt("a cat"))

"""Which tokens of a prompt are those of another prompt's, for Prompt-to-Prompt; no jax."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ddib_jax.text import Tokens

_SPACE = re.compile(r"(?<![^\W\d_]) | (?![^\W\d_])")
"""A space that does not stand between two letters: the tokenizer parts words there without one."""


class Alignment(NamedTuple):
    """What of a source prompt the tokens of a target prompt are.

    matrix [n n]: attention to the source's tokens, times the matrix, is attention to the target's.
    paired [n]: 1 for the tokens of the target that have a partner in the source, 0 for those that
    have none. A pytree of arrays: another one does not retrace.
    """

    matrix: Any
    paired: Any


def word_replacement(source: Tokens, target: Tokens) -> Alignment:
    """The map of two prompts of as many words: a word of the target is that in its place.

    Where a word of m tokens becomes one of k, each of the k has 1/k of the attention to the m.
    Start and end are each other's partners, and padding has its own place's. Raises ValueError for
    another number of words, and for prompts of another number of tokens.
    """
    matrix = _outside_words(source, target)
    if len(source.spans) != len(target.spans):
        raise ValueError(
            f"Words are replaced one by one, and the prompts have {len(source.spans)} and"
            f" {len(target.spans)}: {_listed(source)}; {_listed(target)}. Write as many words, or"
            " refine the prompt."
        )
    for old, new in zip(source.spans, target.spans, strict=True):
        size, new_size = old.stop - old.start, new.stop - new.start
        share = np.eye(size) if size == new_size else 1 / new_size
        matrix[old.start : old.stop, new.start : new.stop] = share
    return Alignment(matrix, (matrix.sum(axis=0) > 0).astype(np.float32))


def prompt_refinement(source: Tokens, target: Tokens) -> Alignment:
    """The map of a prompt to one with words added, left out or replaced.

    By a global alignment of the tokens (Needleman and Wunsch 1970; gap 0, match 1, mismatch -1):
    tokens of the target that are new, or have another token in their place, have no partner.
    Padding is its own place's partner. Raises ValueError for prompts of another number of tokens.
    """
    matrix = _outside_words(source, target)
    ours, theirs = (tokens.ids[: _end(tokens) + 1] for tokens in (source, target))
    for place, partner in _aligned(ours, theirs):
        matrix[place, partner] = 1
    return Alignment(matrix, matrix.sum(axis=0))


def tokens_of(words: str, tokens: Tokens) -> Float[np.ndarray, " n"]:
    """1 for the tokens of a word or of several words in a row, wherever they are said, else 0.

    Capitals do not matter, and a word may be one that the tokenizer parts (red-haired). Raises
    ValueError for words that the prompt does not have.
    """
    wanted, mask = _plain(words), np.zeros(len(tokens.ids), np.float32)
    for first, start in enumerate(tokens.spans):
        for last in range(first, len(tokens.spans)):
            said = _plain(" ".join(span.word for span in tokens.spans[first : last + 1]))
            if said == wanted:
                mask[start.start : tokens.spans[last].stop] = 1
            if len(said) >= len(wanted):
                break
    if not mask.any():
        raise ValueError(
            f"The prompt does not say '{words}'; its words are {_listed(tokens) or 'none'}."
        )
    return mask


def equaliser(factors: Mapping[str, float], tokens: Tokens) -> Float[np.ndarray, " n"]:
    """By how much the attention to each token is multiplied: by 1, or the factor of its word.

    Raises ValueError as `tokens_of` does.
    """
    scale = np.ones(len(tokens.ids), np.float32)
    for words, factor in factors.items():
        scale[tokens_of(words, tokens) > 0] = factor
    return scale


def _outside_words(source: Tokens, target: Tokens) -> Float[np.ndarray, "n n"]:
    """The matrix of start and end, and of the padding where both prompts have it."""
    count = len(source.ids)
    if len(target.ids) != count:
        raise ValueError(
            f"The prompts have {count} and {len(target.ids)} tokens; take both from one tokenizer."
        )
    matrix = np.zeros((count, count), np.float32)
    matrix[0, 0] = matrix[_end(source), _end(target)] = 1
    padding = np.arange(max(_end(source), _end(target)) + 1, count)
    matrix[padding, padding] = 1
    return matrix


def _end(tokens: Tokens) -> int:
    """The place behind the last word."""
    return tokens.spans[-1].stop if tokens.spans else 1


def _aligned(source: np.ndarray, target: np.ndarray) -> list[tuple[int, int]]:
    """The places of both that are partners; of equally good alignments that of google's code."""
    score = np.zeros((len(source) + 1, len(target) + 1))
    for i, token in enumerate(source, 1):
        for j, other in enumerate(target, 1):
            diagonal = score[i - 1, j - 1] + (1 if token == other else -1)
            score[i, j] = max(score[i, j - 1], score[i - 1, j], diagonal)
    pairs, i, j = [], len(source), len(target)
    while i and j:
        if score[i, j] == score[i, j - 1]:
            j -= 1
        elif score[i, j] == score[i - 1, j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return pairs


def _plain(words: str) -> str:
    """Words as they are compared: without capitals, and without spaces but between letters."""
    return _SPACE.sub("", " ".join(unicodedata.normalize("NFC", words).lower().split()))


def _listed(tokens: Tokens) -> str:
    return ", ".join(span.word for span in tokens.spans)

"""Words to conditions: what a model's network is told of an image besides the image.

A conditioner turns words of a command line (names of classes, numbers, files, prompts) into a
pytree of the network's `condition_spec`, with a leading axis of one entry a word.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from ddib_jax.text import Tokens
from ddib_jax.types import Cond

_NAMED = 12
"""Classes that an error sentence names at most."""
_LARGEST = 2**31 - 1  # of the labels that are int32


@runtime_checkable
class Conditioner(Protocol):
    """Words -> conditions [b ...], a pytree of arrays of the host.

    Raises ValueError for a word that means nothing, and for no words at all: the sentence says what
    words there are.
    """

    @property
    def null(self) -> Cond:
        """The condition of one image that means none; None where there is no such condition."""
        ...

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """A word for each condition, in order; () where any number of words has a meaning."""
        ...

    def __call__(self, words: Sequence[str]) -> Cond:
        """The conditions [b ...] of b words."""
        ...


@dataclass(frozen=True)
class Classes:
    """Classes by their names or numbers -> labels [b], from 0 to below `count`.

    A name comes before a number, and a warning says so where a class is called by another's.

    names: of the classes in the order of their labels; () where they have none. null: the label
    that means no class, or None. whose: the subject of the error sentences.
    """

    names: tuple[str, ...]
    count: int
    null: int | None = None
    whose: str = "The model"

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The names, or the numbers where there are none."""
        return self.names or tuple(map(str, range(self.count)))

    def __call__(self, words: Sequence[str]) -> Int[np.ndarray, " b"]:
        if not words:
            raise ValueError(
                f"{self.whose} has classes ({self._listed()}); say which by its name or number."
            )
        return np.asarray([self._label(word) for word in words], np.int32)

    def _label(self, word: str) -> int:
        if word in self.names:
            label = self.names.index(word)
            if word.isdecimal() and int(word) != label and int(word) < self.count:
                warnings.warn(
                    f"'{word}' is the class of that name, which is number {label}, and not number"
                    f" {word} ({self.vocabulary[int(word)]}).",
                    stacklevel=3,
                )
            return label
        if word.isdecimal() and int(word) < self.count:
            return int(word)
        raise ValueError(f"{self.whose} has no class '{word}'; its classes are {self._listed()}.")

    def _listed(self) -> str:
        if not self.names:
            return f"0 to {self.count - 1}"
        return ", ".join(self.names[:_NAMED]) + (", ..." if len(self.names) > _NAMED else "")


@dataclass(frozen=True)
class Numbers:
    """Whole numbers -> labels [b], any of which the network embeds as it embeds its time.

    whose: the subject of the error sentences.
    """

    whose: str = "The model"

    @property
    def null(self) -> None:
        """None: every number is a class."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """(): any whole number has a meaning."""
        return ()

    def __call__(self, words: Sequence[str]) -> Int[np.ndarray, " b"]:
        strange = [word for word in words if not word.isdecimal() or int(word) > _LARGEST]
        if strange or not words:
            which = f"say which, not '{strange[0]}'." if strange else "say which."
            raise ValueError(f"{self.whose} is told its class as any whole number; {which}")
        return np.asarray([int(word) for word in words], np.int32)


@dataclass(frozen=True)
class Embeddings:
    """Paths of .npy files, each an embedding -> embeddings [b *shape], float32.

    null: the embedding that means none, or None. whose: the subject of the error sentences.
    """

    shape: tuple[int, ...]
    null: Float[np.ndarray, "..."] | None = None
    whose: str = "The model"

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """(): any file may hold an embedding."""
        return ()

    def __call__(self, words: Sequence[str]) -> Float[np.ndarray, "b ..."]:
        if not words:
            raise ValueError(
                f"{self.whose} is told embeddings, not classes; name a .npy file with one of"
                f" {self._size()}."
            )
        return np.stack([self._read(Path(word)) for word in words])

    def _read(self, path: Path) -> Float[np.ndarray, "..."]:
        try:
            embedding = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(
                f"{self.whose} is told embeddings, and '{path}' is no .npy file that can be read;"
                f" name one with an embedding of {self._size()}."
            ) from error
        if embedding.shape != self.shape:
            found = " x ".join(map(str, embedding.shape)) or "one number"
            raise ValueError(
                f"{self.whose} is told embeddings of {self._size()}; '{path}' holds {found}."
            )
        if embedding.dtype.kind not in "iuf" or not np.isfinite(embedding).all():
            raise ValueError(f"'{path}' holds values that are no finite numbers; give others.")
        return embedding.astype(np.float32)

    def _size(self) -> str:
        return " x ".join(map(str, self.shape))


@dataclass(frozen=True)
class Prompts:
    """Texts -> what a model's text encoders say of them, leaves [b ...] of the host, float32.

    encode: texts -> conditions by name, [b ...] each. tokens: of one text, as the (first) encoder
    reads it. negative: the text that `null` is of, to be
    led away from; where it is None that is "", and the leaves named `blank` are zeros (SDXL was
    trained so). whose: the subject of the error sentences.
    """

    encode: Callable[[Sequence[str]], Mapping[str, np.ndarray]]
    tokens: Callable[[str], Tokens]
    negative: str | None = None
    blank: tuple[str, ...] = ()
    whose: str = "The model"

    def away_from(self, negative: str) -> "Prompts":
        """These prompts with another negative one."""
        return replace(self, negative=negative)

    @property
    def null(self) -> Cond:
        """The condition of the negative prompt."""
        encoded = self.encode((self.negative or "",))
        blank = self.blank if self.negative is None else ()
        return {
            name: np.zeros_like(leaf[0]) if name in blank else leaf[0]
            for name, leaf in encoded.items()
        }

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """(): any text has a meaning."""
        return ()

    def __call__(self, words: Sequence[str]) -> Cond:
        if not words:
            raise ValueError(
                f'{self.whose} is told a text of every image; say one, or "" for any image.'
            )
        return dict(self.encode(tuple(words)))

"""What the page was opened with: the models by name, and the images at hand."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from ddib_jax import pretrained
from ddib_jax.conditioning import Prompts
from ddib_jax.data.inputs import InputImages, open_inputs
from ddib_jax.lab.state import Side, State
from ddib_jax.pretrained import Checkpoint

SHOWN = 12
"""Images that the page offers, unless told."""
_FIRST = (("slerp-noise", 0.0), ("blur", 0.0))
"""The sliders that a page begins with, where they do nothing."""


@dataclass(frozen=True)
class Origin:
    """The models of both domains and the images at hand; no state of a page can change them.

    one: whether one model serves both sides. words: the images as the command line names them.
    """

    source: Checkpoint
    target: Checkpoint
    images: InputImages
    words: tuple[str, ...]
    split: str
    image_size: tuple[int, int] | None = None

    @property
    def one(self) -> bool:
        """Whether one model serves both sides."""
        return self.source.name == self.target.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and channels of the source's images."""
        return self.source.model().image_shape

    def image(self, number: int) -> Float[np.ndarray, "1 h w c"]:
        """One of the images at hand; raises ValueError for a number that is none of theirs."""
        if not 0 <= number < len(self.images):
            raise ValueError(
                f"There is no image {number}; the page was opened with {len(self.images)}, from 0"
                " on."
            )
        return self.images.take(number, number + 1)

    def first(self) -> State:
        """A state to begin with, in which both models know what they are told."""
        target = _told(self.target, 1 if self.one else 0)
        return replace(self.encoded_first(), perturb=_FIRST, target=target)

    def encoded_first(self) -> State:
        """The part of `first` that its latent depends on; the target need not be read for it."""
        return State(source=_told(self.source, 0))

    def texts(self) -> bool:
        """Whether either model is told a text."""
        return any(isinstance(c.conditioner, Prompts) for c in (self.source, self.target))


def open_lab(
    source: str,
    target: str,
    *,
    words: Sequence[str] = (),
    split: str = "test",
    limit: int = SHOWN,
    image_size: tuple[int, int] | None = None,
) -> Origin:
    """The models of these names, and the first images of `words`.

    Without words they are those of what the source was trained on. Raises
    ValueError where the models are of points, and where it is not known what the source was trained
    on and no image is named; FileNotFoundError and ValueError
    as `pretrained.open` and `open_inputs` do.
    """
    checkpoints = [pretrained.open(source, image_size=image_size)]
    same = source == target
    checkpoints.append(checkpoints[0] if same else pretrained.open(target, image_size=image_size))
    words = tuple(words) or _own(checkpoints[0])
    shape = checkpoints[0].model().image_shape
    if len(shape) != 3:
        raise ValueError(
            f"'{source}' knows points, not images; experiments/synthetic_2d.py translates points."
        )
    images = open_inputs(words, shape, split=split, limit=limit)
    return Origin(checkpoints[0], checkpoints[1], images, words, split, image_size)


def _own(checkpoint: Checkpoint) -> tuple[str, ...]:
    """What a model was trained on, as a word of the command line."""
    name = str((checkpoint.facts.get("data") or {}).get("name", ""))
    if not name:
        raise ValueError(
            f"It is not known what '{checkpoint.name}' was trained on; name images to begin with."
        )
    return (name,)


def _told(checkpoint: Checkpoint, place: int) -> Side:
    """What a model is told at the start: nothing, an empty text, or its class of that place."""
    conditioner = checkpoint.conditioner
    if conditioner is None:
        return Side()
    if isinstance(conditioner, Prompts):
        return Side(prompt="")
    words = conditioner.vocabulary
    return Side(label=words[min(place, len(words) - 1)]) if words else Side()

"""The condition that a model is under, and the guidance towards it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from ddib_jax import pretrained
from ddib_jax.cli.arguments import ImageSize, OptionalText
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.options import OptionalPortion, OptionalSigned
from ddib_jax.pretrained import Checkpoint


@dataclass(frozen=True)
class Condition:
    """The class or the prompt that a model is told, and the guidance towards it."""

    label: Annotated[str | None, tyro.conf.arg(name="class", metavar="CLASS|none")] = None
    """A class of the model, by name or number; of a model that is told embeddings, a .npy file."""
    prompt: OptionalText = None
    """What the images show, in words, for a text-conditional model; "" says nothing of them."""
    guidance: OptionalSigned = None
    """Scale of the guidance: classifier-free where the model was trained for it, by the classifier
    where one is named. 1 is the class or the prompt itself.
    """
    negative: OptionalText = None
    """A prompt to be guided away from; unless given, that of no image in particular."""
    guidance_rescale: OptionalPortion = None
    """How far classifier-free guidance is scaled back to the contrast of the condition alone (Lin
    et al. 2023): 0.7 is usual where a high scale overexposes.
    """
    classifier: Path | None = None
    """A classifier of noisy images (guided-diffusion's .pt with its flags beside it), for a model
    without classes too.
    """
    image_size: ImageSize = ()
    """Height and width of a latent model's images, or one number for both."""

    @property
    def size(self) -> tuple[int, int] | None:
        """The image size for `pretrained.open`."""
        return size_of(self.image_size)

    def model(self, checkpoint: Checkpoint) -> DiffusionModel:
        """The checkpoint's model under this condition; raises as `pretrained.conditioned` does."""
        return pretrained.conditioned(checkpoint, **self._told)

    def mark(self, checkpoint: Checkpoint) -> str:
        """The model's fingerprint and the condition: equal for latents of equal origin.

        Of a class, and of a file, it holds what they are and not what they are called.
        """
        told = {name: value for name, value in self._told.items() if value is not None}
        if self.classifier is not None:
            with self.classifier.open("rb") as file:
                told["classifier"] = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        elif self.label is not None:
            leaves = jax.tree.leaves(pretrained.conditions(checkpoint, (self.label,)))
            contents = b"".join(np.asarray(leaf).tobytes() for leaf in leaves)
            told["label"] = hashlib.sha256(contents).hexdigest()[:16]
        words = [f"{name} {value}" for name, value in told.items()]
        return " ".join([checkpoint.fingerprint, *words])

    @property
    def _told(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "prompt": self.prompt,
            "guidance": self.guidance,
            "negative": self.negative,
            "rescale": self.guidance_rescale,
            "classifier": self.classifier,
        }


Conditioned = Annotated[
    Condition, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="condition-and-guidance")
]
"""A `Condition` as a group of options on the command line."""


def size_of(numbers: Sequence[int]) -> tuple[int, int] | None:
    """Height and width out of none, one or two numbers; ValueError for more."""
    if len(numbers) > 2:
        raise ValueError(
            f"An image has a height and a width; {len(numbers)} numbers were given as its size."
        )
    return (numbers[0], numbers[-1]) if numbers else None

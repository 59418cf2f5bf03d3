"""The condition that a model is under, and the guidance towards it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import tyro

from ddib_jax import pretrained
from ddib_jax.commands.arguments import ImageSize, OptionalText
from ddib_jax.conditioning import Classes, Prompts
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.guidance import ClassifierFreeGuidance, ClassifierGuidance
from ddib_jax.nets import NoisyClassifier
from ddib_jax.options import OptionalSigned
from ddib_jax.pretrained import Checkpoint
from ddib_jax.schedules import Discrete
from ddib_jax.types import Cond, Params


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
        """The checkpoint's model under this condition.

        Raises ValueError where they do not go together: for a class that is missing or unknown, a
        class of a model without classes, a prompt of a model without texts, and guidance of a
        model that was not trained for it.
        """
        if self.classifier is not None:
            return self._guided_by_classifier(checkpoint, self.classifier)
        return guided(checkpoint, self._told(checkpoint), self.guidance, self.negative)

    def mark(self, checkpoint: Checkpoint) -> str:
        """The model's fingerprint and the condition: equal for latents of equal origin."""
        options = {
            "class": self.label,
            "prompt": self.prompt,
            "guidance": self.guidance,
            "negative": self.negative,
            "classifier": self.classifier,
        }
        words = [f"{option} {value}" for option, value in options.items() if value is not None]
        return " ".join([checkpoint.fingerprint, *words])

    def _words(self) -> tuple[str, ...]:
        return () if self.label is None else (self.label,)

    def _told(self, checkpoint: Checkpoint) -> DiffusionModel:
        """The model under the class or the prompt, unguided."""
        prompts = () if self.prompt is None else (self.prompt,)
        cond = conditions(checkpoint, self._words(), prompts=prompts)
        return checkpoint.model().given(jax.tree.map(lambda leaf: leaf[0], cond))

    def _guided_by_classifier(self, checkpoint: Checkpoint, path: Path) -> DiffusionModel:
        params, network = pretrained.load_noisy_classifier(path)
        classes = Classes(
            checkpoint.classes, network.num_classes, whose=f"The classifier {path.name}"
        )
        label, model = classes(self._words())[0], checkpoint.model()
        _check_classifier(network, params, model, path)
        if checkpoint.conditioner is not None:
            model = self._told(checkpoint)
        # Such classifiers were trained on the 1000 steps of this schedule and want its time.
        schedule = None if isinstance(model.schedule, Discrete) else Discrete.linear(1000)
        scale = 1.0 if self.guidance is None else self.guidance
        return model.guided(
            ClassifierGuidance(
                params, jnp.asarray(label), jnp.asarray(scale), network=network, schedule=schedule
            )
        )


Conditioned = Annotated[
    Condition, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="condition-and-guidance")
]
"""A `Condition` as a group of options on the command line."""


def conditions(
    checkpoint: Checkpoint, words: Sequence[str], *, prompts: Sequence[str] = ()
) -> Cond:
    """The conditions [b ...] that b classes, or b prompts, mean to a model; None for none.

    Raises ValueError as the model's conditioner does, for a class to a model that is told texts,
    for a prompt to one that is not, and for a word to a model that takes none.
    """
    conditioner = checkpoint.conditioner
    if isinstance(conditioner, Prompts):
        if words:
            raise ValueError(
                f"'{checkpoint.name}' has no classes, but is told a text; give a prompt in place of"
                " the class."
            )
        return conditioner(prompts)
    if prompts:
        raise ValueError(f"'{checkpoint.name}' is told no text; leave the prompt out.")
    if conditioner is not None:
        return conditioner(words)
    if words:
        raise ValueError(
            f"'{checkpoint.name}' has no classes; leave the class out, or name a classifier to"
            " guide it."
        )
    return None


def guided(
    checkpoint: Checkpoint, model: DiffusionModel, scale: float | None, negative: str | None
) -> DiffusionModel:
    """The checkpoint's model under classifier-free guidance; as it is for a scale of None.

    negative: a prompt that is led away from. Raises ValueError where the model knows no condition
    that means none, and for a negative prompt without guidance or texts.
    """
    if scale is None:
        if negative is not None:
            raise ValueError(
                "A negative prompt is what a guidance leads away from; give the guidance too, or"
                " leave the negative prompt out."
            )
        return model
    null = jax.tree.map(jnp.asarray, _null(checkpoint, negative))
    return model.guided(ClassifierFreeGuidance(null, jnp.asarray(scale)))


def size_of(numbers: Sequence[int]) -> tuple[int, int] | None:
    """Height and width out of none, one or two numbers; ValueError for more."""
    if len(numbers) > 2:
        raise ValueError(
            f"An image has a height and a width; {len(numbers)} numbers were given as its size."
        )
    return (numbers[0], numbers[-1]) if numbers else None


def _null(checkpoint: Checkpoint, negative: str | None) -> Cond:
    """The condition that means none; raises ValueError where the model knows none."""
    conditioner = checkpoint.conditioner
    if negative is not None:
        if not isinstance(conditioner, Prompts):
            raise ValueError(f"'{checkpoint.name}' is told no text; leave the negative prompt out.")
        return conditioner.away_from(negative).null
    if conditioner is None:
        why = "has no classes to be guided to"
    elif conditioner.null is None:
        why = (
            "has no label that means no class, for it was not trained with its labels dropped now"
            " and then"
        )
    else:
        return conditioner.null
    raise ValueError(f"'{checkpoint.name}' {why}; name a classifier, or leave the guidance out.")


def _check_classifier(
    network: NoisyClassifier, params: Params, model: DiffusionModel, classifier: Path
) -> None:
    """Raise ValueError where a classifier cannot take the model's images."""
    images, times = jnp.zeros((1, *model.data_shape)), jnp.zeros(1)
    try:
        jax.eval_shape(network.apply, {"params": params}, images, times)
    except Exception as error:  # whatever its modules raise on another size or number of channels
        shape = " x ".join(map(str, model.data_shape))
        raise ValueError(
            f"The classifier {classifier.name} does not look at images of {shape}, which the model"
            " has."
        ) from error

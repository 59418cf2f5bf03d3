"""The condition that a model is under, and the guidance towards it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import tyro

from ddib_jax import pretrained
from ddib_jax.conditioning import Classes
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.guidance import ClassifierFreeGuidance, ClassifierGuidance
from ddib_jax.nets import NoisyClassifier
from ddib_jax.options import OptionalSigned
from ddib_jax.pretrained import Checkpoint
from ddib_jax.schedules import Discrete
from ddib_jax.types import Cond, Params


@dataclass(frozen=True)
class Condition:
    """The class of a class-conditional model, and the guidance towards it."""

    label: Annotated[str | None, tyro.conf.arg(name="class", metavar="CLASS|none")] = None
    """A class of the model, by name or number; of a model that is told embeddings, a .npy file."""
    guidance: OptionalSigned = None
    """Scale of the guidance: classifier-free where the model was trained for it, by the classifier
    where one is named. 1 is the class itself.
    """
    classifier: Path | None = None
    """A classifier of noisy images (guided-diffusion's .pt with its flags beside it), for a model
    without classes too.
    """

    def model(self, checkpoint: Checkpoint) -> DiffusionModel:
        """The checkpoint's model under this condition.

        Raises ValueError where they do not go together: for a class that is missing or unknown, a
        class of a model without classes, and guidance of a model that was not trained for it.
        """
        if self.classifier is not None:
            return self._guided_by_classifier(checkpoint, self.classifier)
        model = self._told(checkpoint)
        if self.guidance is None:
            return model
        null = jax.tree.map(jnp.asarray, _null(checkpoint))
        return model.guided(ClassifierFreeGuidance(null, jnp.asarray(self.guidance)))

    def mark(self, checkpoint: Checkpoint) -> str:
        """The model's fingerprint and the condition: equal for latents of equal origin."""
        options = {
            "class": self.label,
            "guidance": self.guidance,
            "classifier": self.classifier,
        }
        words = [f"{option} {value}" for option, value in options.items() if value is not None]
        return " ".join([checkpoint.fingerprint, *words])

    def _words(self) -> tuple[str, ...]:
        return () if self.label is None else (self.label,)

    def _told(self, checkpoint: Checkpoint) -> DiffusionModel:
        """The model under the class, unguided."""
        cond = conditions(checkpoint, self._words())
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
    Condition, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="class-and-guidance")
]
"""A `Condition` as a group of options on the command line."""


def conditions(checkpoint: Checkpoint, words: Sequence[str]) -> Cond:
    """The conditions [b ...] that b words mean to a model; None for one that takes none.

    Raises ValueError as the model's conditioner does, and for a word to a model that takes none.
    """
    if checkpoint.conditioner is not None:
        return checkpoint.conditioner(words)
    if words:
        raise ValueError(
            f"'{checkpoint.name}' has no classes; leave the class out, or name a classifier to"
            " guide it."
        )
    return None


def _null(checkpoint: Checkpoint) -> Cond:
    """The condition that means none; raises ValueError where the model knows none."""
    conditioner = checkpoint.conditioner
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

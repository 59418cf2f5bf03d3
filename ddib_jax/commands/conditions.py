"""The class that a model is conditioned on, and the guidance towards it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import tyro

from ddib_jax import pretrained
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.guidance import ClassifierFreeGuidance, ClassifierGuidance
from ddib_jax.schedules import Discrete

_NAMED = 12
"""Classes that an error sentence names at most."""


@dataclass(frozen=True)
class Condition:
    """The class of a class-conditional model, and the guidance towards it."""

    label: Annotated[str | None, tyro.conf.arg(name="class", metavar="CLASS|none")] = None
    """A class of the model, by name or number."""
    guidance: float | None = None
    """Scale of the guidance: classifier-free where the model was trained for it, by the classifier
    where one is named. 1 is the class itself.
    """
    classifier: Path | None = None
    """A classifier of noisy images (guided-diffusion's .pt with its flags beside it), for a model
    without classes too.
    """

    def model(self, name: str) -> DiffusionModel:
        """The model of that name under this condition.

        Raises ValueError where they do not go together: for a class that is missing or unknown, a
        class of a model without classes, and guidance of a model that was not trained for it.
        """
        model = pretrained.load(name)
        classes = _Classes.of(name, model)
        if self.classifier is not None:
            return self._guided_by_classifier(model, classes)
        label = classes.label(self.label)
        if label is not None:
            model = model.given(jnp.asarray(label))
        if self.guidance is None:
            return model
        null, scale = classes.null_label(), self.guidance
        return model.guided(ClassifierFreeGuidance(jnp.asarray(null), jnp.asarray(scale)))

    def mark(self, name: str) -> str:
        """The model's fingerprint and the condition: equal for latents of equal origin."""
        options = {
            "class": self.label,
            "guidance": self.guidance,
            "classifier": self.classifier,
        }
        words = [f"{option} {value}" for option, value in options.items() if value is not None]
        return " ".join([pretrained.fingerprint(name), *words])

    def _guided_by_classifier(self, model: DiffusionModel, classes: "_Classes") -> DiffusionModel:
        params, network = pretrained.load_noisy_classifier(self.classifier)
        whose = f"the classifier {self.classifier.name}"
        label = class_label(self.label, classes.names, network.num_classes, whose)
        if classes.count is not None and label >= classes.count:
            raise ValueError(
                f"The classifier's class {label} is none of '{classes.model}', which has"
                f" {classes.count}."
            )
        _check_classifier(network, params, model, self.classifier)
        if classes.count is not None or classes.embedding is not None:
            model = model.given(jnp.asarray(classes.label(self.label)))
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


def class_label(word: str | None, names: Sequence[str], count: int, whose: str) -> int:
    """The label, from 0 to below `count`, of a class given by its name or number.

    Raises ValueError, which names the classes, for None and for a class that is not there.
    """
    if names:
        classes = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
    else:
        classes = f"0 to {count - 1}"
    if word is None:
        raise ValueError(f"{whose} has classes ({classes}); say which by its name or number.")
    if word in names:
        return names.index(word)
    if word.isdigit() and int(word) < count:
        return int(word)
    raise ValueError(f"{whose} has no class '{word}'; its classes are {classes}.")


def class_labels(words: str, name: str, model: DiffusionModel) -> list[int] | None:
    """The labels of classes separated by commas, or of "all"; None for a model without classes.

    Raises ValueError for a class that the model `name` does not have; one without classes may be
    asked for "all" alone.
    """
    classes = _Classes.of(name, model)
    if classes.count is not None and words == "all":
        return list(range(classes.count))
    if classes.count is not None:
        return [classes.label(word.strip()) for word in words.split(",")]
    if classes.embedding is not None:
        # Any whole number is a label, so that "all" names none: the error asks for a number.
        parts = words.split(",")
        return [classes.label(None if part == "all" else part.strip()) for part in parts]
    if words != "all":
        raise ValueError(f"'{name}' has no classes; leave the class out.")
    return None


@dataclass(frozen=True)
class _Classes:
    """How a model takes a class: as the label of a table, as any whole number, or not at all.

    model: its name. names: of its classes, by label; empty where they have none. count: of the
    classes of its table, None where it has no table. null: the label that means no class, None
    where none does. embedding: "identity" (takes embeddings) or "timestep" (takes any whole number)
    of a diffusers network that has classes and no table, else None.
    """

    model: str
    names: tuple[str, ...]
    count: int | None
    null: int | None
    embedding: str | None

    @classmethod
    def of(cls, name: str, model: DiffusionModel) -> "_Classes":
        """Those of the model `name`; raises ValueError where it has more names than labels."""
        network, names = model.network, pretrained.class_names(name)
        labels = getattr(network, "num_classes", None)
        if labels is None:
            return cls(name, names, None, None, getattr(network, "class_embed_type", None))
        if len(names) > labels:
            raise ValueError(f"'{name}' has {labels} classes and {len(names)} names for them.")
        count = len(names) or labels
        # One label more than there are names is the null label of a model trained by `ddib train`.
        null = count if labels == count + 1 else getattr(network, "null_label", None)
        return cls(name, names, count, null, None)

    def label(self, word: str | None) -> int | None:
        """The label of a class by name or number; None for no class of a model without classes.

        Raises ValueError where the model needs a class and has none, where it takes none and has
        one, and for a class that it does not have.
        """
        if self.count is not None:
            return class_label(word, self.names, self.count, f"'{self.model}'")
        if self.embedding == "identity":
            raise ValueError(
                f"'{self.model}' is told embeddings of its classes, not their numbers; give it some"
                " in Python (`DiffusionModel.given`)."
            )
        if self.embedding is not None and (word is None or not word.isdigit()):
            which = "say which." if word is None else f"say which, not {word!r}."
            raise ValueError(f"'{self.model}' is told its class as any whole number; {which}")
        if self.embedding is not None:
            return int(word)
        if word is not None:
            raise ValueError(
                f"'{self.model}' has no classes; leave the class out, or name a classifier to"
                " guide it."
            )
        return None

    def null_label(self) -> int:
        """The label that means no class; raises ValueError where the model knows none."""
        if self.null is not None:
            return self.null
        if self.count is not None:
            why = "was not trained with its labels dropped now and then"
        elif self.embedding is not None:
            why = "has no label that means no class"
        else:
            why = "has no classes to be guided to"
        raise ValueError(f"'{self.model}' {why}; name a classifier, or leave the guidance out.")


def _check_classifier(network: Any, params: Any, model: DiffusionModel, classifier: Path) -> None:
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

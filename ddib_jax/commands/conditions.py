"""Under which class, and under which guidance, a leg of a bridge is crossed."""

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
from ddib_jax.nets import example_condition
from ddib_jax.schedules import Discrete

_NAMED = 12


@dataclass(frozen=True)
class Condition:
    """The class of a class-conditional model, and how strongly it is turned towards it."""

    label: Annotated[str | None, tyro.conf.arg(name="class")] = None
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
        """The model of that name under this condition; raises ValueError where they do not go
        together.
        """
        model = pretrained.load(name)
        count, names = _classes(name, model)
        if self.classifier is not None:
            params, network = pretrained.load_noisy_classifier(self.classifier)
            label = class_label(
                self.label, names, network.num_classes, f"the classifier {self.classifier.name}"
            )
            scale = 1.0 if self.guidance is None else self.guidance
            schedule = (
                None if isinstance(model.schedule, Discrete) else Discrete.linear(1000)
            )  # what such classifiers were trained on
            guide = ClassifierGuidance(
                params, jnp.asarray(label), jnp.asarray(scale), network=network, schedule=schedule
            )
            if count is not None and label >= (len(names) or count):
                raise ValueError(
                    f"The classifier's class {label} is none of '{name}', which has"
                    f" {len(names) or count}."
                )
            _check_seen(network, params, model, self.classifier)
            if count is None and _told(model) is not None:
                label = _number(self.label, name, model)
            return (
                model
                if example_condition(model.network) is None
                else model.given(jnp.asarray(label))
            ).guided(guide)
        if count is None and _told(model) is not None:
            if self.guidance is not None:
                raise ValueError(
                    f"'{name}' has no label that means no class; name a classifier, or leave the"
                    " guidance out."
                )
            return model.given(jnp.asarray(_number(self.label, name, model)))
        if count is None:
            if self.label is not None:
                raise ValueError(
                    f"'{name}' has no classes; leave the class out, or name a classifier to"
                    " guide it."
                )
            if self.guidance is not None:
                raise ValueError(
                    f"'{name}' has no classes to be guided to; name a classifier, or leave the"
                    " guidance out."
                )
            return model
        classes = len(names) or count
        model = model.given(jnp.asarray(class_label(self.label, names, classes, f"'{name}'")))
        if self.guidance is None:
            return model
        null = classes if count == classes + 1 else getattr(model.network, "null_label", None)
        if null is None:
            raise ValueError(
                f"'{name}' was not trained with its labels dropped now and then; name a classifier,"
                " or leave the guidance out."
            )
        return model.guided(ClassifierFreeGuidance(jnp.asarray(null), jnp.asarray(self.guidance)))

    def mark(self, name: str) -> str:
        """What tells latents that were made under this condition from others: the model's
        fingerprint and the condition.
        """
        told = [
            f"{word} {value}"
            for word, value in (
                ("class", self.label),
                ("guidance", self.guidance),
                ("classifier", self.classifier),
            )
            if value is not None
        ]
        return " ".join([pretrained.fingerprint(name), *told])


def _check_seen(network: Any, params: Any, model: DiffusionModel, classifier: Path) -> None:
    """Raise ValueError where a classifier cannot look at the model's images."""
    try:
        jax.eval_shape(
            network.apply, {"params": params}, jnp.zeros((1, *model.data_shape)), jnp.zeros(1)
        )
    except Exception as error:  # whatever its modules raise on another size or number of channels
        shape = " x ".join(map(str, model.data_shape))
        raise ValueError(
            f"The classifier {classifier.name} does not look at images of {shape}, which the model"
            " has."
        ) from error


def class_label(given: str | None, names: Sequence[str], count: int, whose: str) -> int:
    """The label of a class given by its name or number; raises ValueError, with the classes, for
    none and for another one.
    """
    known = (
        ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
        if names
        else f"0 to {count - 1}"
    )
    if given is None:
        raise ValueError(f"{whose} has classes ({known}); say which by its name or number.")
    if given in names:
        return names.index(given)
    if given.isdigit() and int(given) < count:
        return int(given)
    raise ValueError(f"{whose} has no class '{given}'; its classes are {known}.")


def class_labels(given: str, name: str, model: DiffusionModel) -> list[int] | None:
    """The labels of several classes parted by commas, or of all of them ("all"); None for a model
    without classes, which may be asked for all alone.
    """
    count, names = _classes(name, model)
    if count is None and _told(model) is not None:
        return [
            _number(None if part == "all" else part.strip(), name, model)
            for part in given.split(",")
        ]
    if count is None:
        if given != "all":
            raise ValueError(f"'{name}' has no classes; leave the class out.")
        return None
    classes = len(names) or count
    return (
        list(range(classes))
        if given == "all"
        else [class_label(part.strip(), names, classes, f"'{name}'") for part in given.split(",")]
    )


def _classes(name: str, model: DiffusionModel) -> tuple[int | None, tuple[str, ...]]:
    """How many labels a model knows, or None, and the names of its classes; raises ValueError for
    more names than labels.
    """
    count, names = getattr(model.network, "num_classes", None), pretrained.class_names(name)
    if count is not None and len(names) > count:
        raise ValueError(f"'{name}' has {count} classes and {len(names)} names for them.")
    return count, names


def _told(model: DiffusionModel) -> str | None:
    """How a diffusers network without a table of classes is told them, if it is."""
    return getattr(model.network, "class_embed_type", None)


def _number(given: str | None, name: str, model: DiffusionModel) -> int:
    """The label of a network that is told any whole number; raises ValueError for none, and for a
    network that is told embeddings.
    """
    if _told(model) == "identity":
        raise ValueError(
            f"'{name}' is told embeddings of its classes, not their numbers; give it some in Python"
            " (`DiffusionModel.given`)."
        )
    if given is None or not given.isdigit():
        raise ValueError(
            f"'{name}' is told its class as any whole number; say"
            f" which{'' if given is None else f', not {given!r}'}."
        )
    return int(given)

"""A checkpoint's model under a condition in words, and the guidance towards it."""

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from ddib_jax.conditioning import Classes, Prompts
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.guidance import ClassifierFreeGuidance, ClassifierGuidance
from ddib_jax.nets import NoisyClassifier
from ddib_jax.pretrained.checkpoint import Checkpoint
from ddib_jax.pretrained.guided_diffusion import load_noisy_classifier
from ddib_jax.schedules import Discrete
from ddib_jax.types import Cond, Params


def conditioned(
    checkpoint: Checkpoint,
    *,
    label: str | None = None,
    prompt: str | None = None,
    guidance: float | None = None,
    negative: str | None = None,
    rescale: float | None = None,
    classifier: Path | None = None,
) -> DiffusionModel:
    """The checkpoint's model, told a class or a text, and guided towards it.

    label: a class by name or number, or the .npy file of an embedding. prompt: what images show, in
    words; "" says nothing of them. guidance: the scale, classifier-free where the model was trained
    for it, by the classifier where one is named; 1 is the condition itself, None no guidance but a
    classifier's of scale 1. negative: a prompt to be led away from. rescale: that of
    `ClassifierFreeGuidance`. classifier: the file of a classifier of noisy images
    (guided-diffusion's .pt with its flags beside it), for a model without classes too.

    Raises ValueError where they do not go together: for a class that is missing or unknown, a class
    of a model without classes, a prompt to a model without texts, and guidance of a model that was
    not trained for it; and as the checkpoint and the classifier's file do when they are read.
    """
    words, prompts = (() if said is None else (said,) for said in (label, prompt))

    def told() -> DiffusionModel:
        cond = conditions(checkpoint, words, prompts=prompts)
        return checkpoint.model().given(jax.tree.map(lambda leaf: leaf[0], cond))

    if classifier is None:
        return guided(checkpoint, told(), guidance, negative, rescale=rescale)
    if rescale is not None:
        raise ValueError(
            "Classifier-free guidance alone is rescaled; leave the rescale or the classifier out."
        )
    params, network = load_noisy_classifier(classifier)
    whose = f"The classifier {classifier.name}"
    classes = Classes(checkpoint.classes, network.num_classes, whose=whose)
    goal, model = classes(words)[0], checkpoint.model()
    _check_classifier(network, params, model, classifier)
    if checkpoint.conditioner is not None:
        model = told()
    # Such classifiers were trained on the 1000 steps of this schedule and want its time.
    schedule = None if isinstance(model.schedule, Discrete) else Discrete.linear(1000)
    scale = 1.0 if guidance is None else guidance
    return model.guided(
        ClassifierGuidance(
            params, jnp.asarray(goal), jnp.asarray(scale), network=network, schedule=schedule
        )
    )


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
    checkpoint: Checkpoint,
    model: DiffusionModel,
    scale: float | None,
    negative: str | None,
    *,
    rescale: float | None = None,
) -> DiffusionModel:
    """The checkpoint's model under classifier-free guidance; as it is for a scale of None.

    negative: a prompt that is led away from. rescale: that of `ClassifierFreeGuidance`. Raises
    ValueError where the model knows no condition that means none, and for a negative prompt without
    guidance or texts and a rescale without guidance.
    """
    if scale is None:
        if rescale is not None:
            raise ValueError(
                "There is no guidance that could be rescaled; give its scale too, or leave the"
                " rescale out."
            )
        if negative is not None:
            raise ValueError(
                "A negative prompt is what a guidance leads away from; give the guidance too, or"
                " leave the negative prompt out."
            )
        return model
    null = jax.tree.map(jnp.asarray, _null(checkpoint, negative))
    rescaled = None if rescale is None else jnp.asarray(rescale)
    return model.guided(ClassifierFreeGuidance(null, jnp.asarray(scale), rescaled))


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

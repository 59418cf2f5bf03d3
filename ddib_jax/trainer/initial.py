"""The model that a training starts from, where that is another one."""

from dataclasses import replace
from typing import TypeVar

from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets import Captioned, UNet
from ddib_jax.preconditioning import PRECONDITIONINGS
from ddib_jax.pretrained import Checkpoint
from ddib_jax.trainer.captions import joined, text_encoder
from ddib_jax.trainer.recipe import Recipe

_R = TypeVar("_R", bound=Recipe)


def with_groups(recipe: _R, given: Checkpoint) -> _R:
    """The recipe with the groups of the checkpoint's network, unless it names its own."""
    if recipe.groups is not None:
        return recipe
    return replace(recipe, groups=getattr(given.model().network, "norm_num_groups", None))


def initialised(
    model: DiffusionModel, given: Checkpoint, *, preconditioning: str
) -> DiffusionModel:
    """The given checkpoint's model with the schedule of `model`, which the options describe.

    It normalises as many groups of channels as `model`, whatever it was trained with: weights are
    of the same shapes, and a short training makes up for the change.

    preconditioning: the name of the one that they ask for. Raises ValueError where the checkpoint
    is of another kind than that.
    """
    initial = given.model()
    if isinstance(model.network, Captioned):
        initial = joined(initial, text_encoder(given))
    network = initial.network
    if isinstance(network, UNet) and isinstance(model.network, UNet):
        network = network.clone(norm_num_groups=model.network.norm_num_groups)
    same = {
        "images": initial.data_shape == model.data_shape,
        "network": network == model.network,
        "schedule": type(initial.schedule) is type(model.schedule),
        "preconditioning": type(initial.precondition) is PRECONDITIONINGS[preconditioning],
    }
    if not all(same.values()):
        differing = " and ".join(part for part, equal in same.items() if not equal)
        raise ValueError(
            f"'{given.name}' has another {differing} than these options ask for; give the"
            " options it was trained with."
        )
    return replace(initial, network=network, schedule=model.schedule)

"""Inversion under guidance: null-text (Mokady et al. 2023), and a prompt as its own null."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.bridge import Bridge
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.editing.direct_inversion import encoding_path
from ddib_jax.editing.levels import nearest_level
from ddib_jax.guidance import ClassifierFreeGuidance
from ddib_jax.nets.conditions import one_each
from ddib_jax.types import Cond, Data, Denoise, Scalar

SCALE = 7.5
"""The guidance of the papers."""
STEPS = 10
"""Adam's steps at every noise level."""
RATE = 1e-2
"""Adam's rate at the highest level, from which it falls to half of it at the lowest."""
TOLERANCE, SLACK = 1e-5, 1e-3
"""The loss at which an image is left as it is at the highest level, and what is added towards the
lowest.
"""


@struct.dataclass
class LevelledNull:
    """Classifier-free guidance with a null condition for each noise level.

    nulls: a tree of conditions, leaves [k ...] for all images or [k b ...] with one for each; of
    the levels [k] the one nearest in log sigma counts. scale, joint: those of
    `ClassifierFreeGuidance`. All but `joint` are leaves.
    """

    nulls: Cond
    levels: Float[Array | np.ndarray, " k"]
    scale: Any = SCALE
    joint: bool = struct.field(pytree_node=False, kw_only=True, default=True)

    @property
    def evaluations(self) -> int:
        """Under the condition, and under none."""
        return 2

    def describe(self) -> str:
        """The guidance and its scale in words."""
        count = len(self.levels)
        return f"{self._with(None).describe()} with a null for each of {count} noise levels"

    def __call__(
        self,
        denoise: Denoise,
        x: Float[Array, "b ..."],
        sigma: Array,
        time: Float[Array, " b"],
        cond: Cond,
    ) -> Float[Array, "b ..."]:
        """x [b ...] at sigma, a scalar -> the guided denoiser's answer [b ...].

        Raises ValueError for a noise level for each image.
        """
        if jnp.ndim(sigma):
            raise ValueError(
                "A null of each noise level serves images of one noise level, not of one each."
            )
        nearest = nearest_level(self.levels, sigma)
        null = jax.tree.map(lambda leaf: jnp.asarray(leaf)[nearest], self.nulls)
        return self._with(null)(denoise, x, sigma, time, cond)

    def _with(self, null: Cond) -> ClassifierFreeGuidance:
        return ClassifierFreeGuidance(null, self.scale, joint=self.joint)


class NullText(NamedTuple):
    """What null-text inversion found.

    guidance: for both rows of an edit. loss [k steps+1 b]: at each of its levels, before each of
    Adam's steps and after the last, for each image.
    """

    guidance: LevelledNull
    loss: Float[Array, "k s b"]


def null_text_inversion(
    bridge: Bridge,
    image: Data,
    *,
    null: Cond,
    scale: Scalar | float = SCALE,
    steps: int = STEPS,
    rate: Scalar | float = RATE,
    tolerance: Scalar | float = TOLERANCE,
) -> NullText:
    """Null conditions under which guided Euler steps lead images back along their encoding.

    bridge: its model is under the source's prompt, without guidance; its grid is that of the
    levels. image [b h w c]. null: the condition to start from, that of "" as a rule. steps: Adam's
    at every level, from the null of the level above. rate: Adam's at the highest level. tolerance:
    an image whose loss is below is left as it is; it rises by `SLACK` towards the lowest level.

    The loss is the mean square of what a step misses the path by, in x_t. Of a condition with a
    `text` that alone is changed, of any other every leaf. Decoding is to go by `EULER` on the same
    grid. Raises ValueError for a model under a guidance.
    """
    model = bridge.model
    if model.guidance is not None:
        raise ValueError(
            f"The path that is led back to is that of the prompt alone; take the model without its"
            f" {model.guidance.describe()}."
        )
    path = encoding_path(bridge, image)
    changed, whole = _changed(one_each(model.network.condition_spec(), null, path.shape[1]))
    adam = optax.scale_by_adam()
    column = lambda each, leaf: each.reshape(-1, *[1] * (leaf.ndim - 1))

    def level(state: tuple[Array, Cond], given: tuple) -> tuple[tuple[Array, Cond], tuple]:
        (x, changed), (high, low, pivot, progress) = state, given
        told = model.denoise(x, high)

        def missed(changed: Cond) -> tuple[Array, tuple[Array, Array]]:
            free = replace(model, cond=whole(changed)).denoise(x, high)
            guided = free + scale * (told - free)
            end = x + (low - high) / high * (x - guided)
            error = jnp.square(end - pivot) / (1 + low**2)
            each = jnp.mean(error, axis=tuple(range(1, error.ndim)))
            return jnp.sum(each), (each, end)

        def turn(state: tuple[Cond, Any], _: None) -> tuple[tuple[Cond, Any], Array]:
            changed, moments = state
            (_, (each, _)), gradient = jax.value_and_grad(missed, has_aux=True)(changed)
            updates, moments = adam.update(gradient, moments)
            going = each >= tolerance + SLACK * progress
            speed = rate * (1 - progress / 2)
            changed = jax.tree.map(
                lambda leaf, update: leaf - speed * jnp.where(column(going, leaf), update, 0),
                changed,
                updates,
            )
            return (changed, moments), each

        (changed, _), loss = jax.lax.scan(turn, (changed, adam.init(changed)), None, length=steps)
        _, (each, end) = missed(changed)
        return (end, changed), (whole(changed), jnp.concatenate([loss, each[None]]))

    levels = bridge.sigmas[::-1]
    progress = jnp.arange(len(levels) - 1) / (len(levels) - 1)
    start, intervals = (path[-1], changed), (levels[:-1], levels[1:], path[-2::-1], progress)
    _, (nulls, loss) = jax.lax.scan(level, start, intervals)
    return NullText(LevelledNull(nulls, levels[:-1], scale), loss)


def negative_prompt(source: DiffusionModel, *, scale: Any = SCALE) -> ClassifierFreeGuidance:
    """Guidance away from the source's own prompt (Miyake et al. 2023), for both rows.

    Under it the source is at any scale what it is without guidance, and needs no optimisation.
    Raises ValueError for a model under no condition.
    """
    if source.cond is None:
        raise ValueError("The source has no prompt to be led away from; give it one (`given`).")
    return ClassifierFreeGuidance(source.cond, scale)


def _changed(null: Cond) -> tuple[Cond, Any]:
    """The part of a condition that is optimised, and what makes it whole again."""
    if isinstance(null, Mapping) and "text" in null:
        return null["text"], lambda text: {**null, "text": text}
    return null, lambda changed: changed

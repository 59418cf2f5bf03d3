"""DDIB: two bridges, and the perturbation of the latent between them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array

from ddib_jax.bridge.bridge import Bridge
from ddib_jax.bridge.tie import Tie
from ddib_jax.perturbations import PERTURBATIONS, at, needs, stage_of, steps_of
from ddib_jax.types import Context, Data, Perturbation, PRNGKey, Scalar

_SAME_END = 1e-3
"""Noise levels whose logarithms differ by no more count as equal."""


@struct.dataclass
class DDIB:
    """Dual Diffusion Implicit Bridge: source.encode, perturb, target.decode.

    Su et al. (2023), algorithm 1. `perturb` is one of `perturbations.PERTURBATIONS`, a sequence of
    them, or any function (latent, coefficient, context) -> latent; the coefficient is a leaf, so
    that another one never retraces. With a `tie` both ODEs are integrated down together.
    """

    source: Bridge
    target: Bridge
    coefficient: Any = 0.0
    perturb: Perturbation = struct.field(pytree_node=False, default=PERTURBATIONS["none"])
    tie: Tie | None = None

    def __call__(self, key: PRNGKey, image: Data) -> Data:
        """Images [b h w c] of the source domain in [-1, 1] -> images of the target domain.

        The translation itself is deterministic: `key` is that of the fixed noise of perturbations.
        """
        noise = jax.random.normal(key, image.shape, image.dtype)
        return self.given(image, noise, neighbour(image))

    def given(self, image: Data, noise: Data, other: Data) -> Data:
        """As the call, with given fixed noise and `other` images, each of the shape of `image`.

        A perturbation may look at the latents of the other images.
        """
        return self.decode(self.encode(image, noise, other))

    def encode(self, image: Data, noise: Data, other: Data) -> Context:
        """What the perturbation is called with besides its coefficient: images, noise, latents."""
        source, _ = self.legs()
        context = {"image": image, "noise": noise}
        changed = at(self.perturb, "image", image, self._scalar(image), context)
        context["latent"] = source.encode(changed)
        if "other" in needs(self.perturb):
            context["other"] = source.encode(other)
        return context

    def decode(self, context: Context) -> Data:
        """The translation of what was encoded, its latent perturbed."""
        latent = context["latent"]
        perturbed = at(self.perturb, "latent", latent, self._scalar(latent), context)
        source, target = self.legs()
        if self.tie is None:
            return target.decode(perturbed)
        return self.tie.decode(source, target, latent, perturbed=perturbed)

    def legs(self) -> tuple[Bridge, Bridge]:
        """Source and target up to the noise level at which they meet.

        That is the end of their grids, unless a perturbation lowers it.
        """
        if all(stage_of(step) != "level" for step in steps_of(self.perturb)):
            return self.source, self.target
        return self._lowered(self.source), self._lowered(self.target)

    def _lowered(self, bridge: Bridge) -> Bridge:
        coefficient = self._scalar(bridge.sigmas)
        return bridge.up_to(at(self.perturb, "level", bridge.sigmas[-1], coefficient, {}))

    def check_tie(self) -> None:
        """Raise ValueError where the two bridges cannot be tied.

        Besides what `Tie.check` refuses that is for ends at different noise levels, and for a
        release that lies outside of them. Without a tie nothing is checked.
        """
        if self.tie is None:
            return
        self.tie.check(self.target)
        source_end, target_end = float(self.source.sigmas[-1]), float(self.target.sigmas[-1])
        if abs(np.log(source_end / target_end)) > _SAME_END:
            raise ValueError(
                f"Tied bridges end at one noise level; the source's ends at {source_end:g}, the"
                f" target's at {target_end:g}: give both one grid (`make_grid`)."
            )
        if self.tie.release is not None and not 0 < self.tie.release < target_end:
            raise ValueError(
                f"A tie is released between 0 and the end of its bridges at {target_end:g}, not at"
                f" {self.tie.release:g}."
            )

    def _scalar(self, like: Array) -> Scalar:
        return jnp.asarray(self.coefficient, like.dtype)


def fixed_noise(key: PRNGKey, index: Array, like: Array) -> Array:
    """Gaussian noise of the shape of `like` [b ...], one draw an image.

    It depends on the key and each image's index [b] alone, and not on the batching.
    """
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
    return jax.vmap(lambda k: jax.random.normal(k, like.shape[1:], like.dtype))(keys)


def neighbour(images: Any) -> Any:
    """For every image of a batch the one before it, for the first the last."""
    return (jnp if isinstance(images, jax.Array) else np).roll(images, 1, axis=0)

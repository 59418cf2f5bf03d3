"""Two bridges and what is done to the latent between them."""

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
"""Noise levels whose logarithms differ by no more are one."""


@struct.dataclass
class DDIB:
    """Dual Diffusion Implicit Bridge (Su et al. 2023, algorithm 1): source.encode, perturb,
    target.decode.

    `perturb` is one of `perturbations.PERTURBATIONS`, a sequence of them, or any function (latent,
    coefficient, context) -> latent; the coefficient is a leaf, so that another one never retraces.
    With a `tie` the bridges are crossed down together.
    """

    source: Bridge
    target: Bridge
    coefficient: Any = 0.0
    perturb: Perturbation = struct.field(pytree_node=False, default=PERTURBATIONS["none"])
    tie: Tie | None = None

    def __call__(self, key: PRNGKey, image: Data) -> Data:
        """Images [b h w c] of the source domain in [-1, 1] -> images of the target domain.

        `key` only feeds perturbations that want fixed noise; the translation itself is
        deterministic.
        """
        return self.given(image, jax.random.normal(key, image.shape, image.dtype), neighbour(image))

    def given(self, image: Data, noise: Data, other: Data) -> Data:
        """As the call, with the perturbation's fixed noise and the `other` images, whose latents it
        may look at, given.
        """
        return self.decode(self.encode(image, noise, other))

    def encode(self, image: Data, noise: Data, other: Data) -> Context:
        """What the perturbation is given besides its coefficient: the images, the noise, and their
        latents.
        """
        source, coefficient = self.legs()[0], self._scalar(image)
        latent = source.encode(
            at(self.perturb, "image", image, coefficient, {"image": image, "noise": noise})
        )
        context = {"image": image, "noise": noise, "latent": latent}
        return (
            {**context, "other": source.encode(other)}
            if "other" in needs(self.perturb)
            else context
        )

    def decode(self, context: Context) -> Data:
        """The translation of what was encoded, its latent perturbed."""
        latent = at(
            self.perturb, "latent", context["latent"], self._scalar(context["latent"]), context
        )
        source, target = self.legs()
        return (
            target.decode(latent)
            if self.tie is None
            else self.tie.decode(source, target, context["latent"], latent)
        )

    def legs(self) -> tuple[Bridge, Bridge]:
        """The two bridges up to the noise level at which they meet: all the way, unless the
        perturbation lowers it.
        """
        if all(stage_of(step) != "level" for step in steps_of(self.perturb)):
            return self.source, self.target
        return tuple(
            leg.up_to(at(self.perturb, "level", leg.sigmas[-1], self._scalar(leg.sigmas), {}))
            for leg in (self.source, self.target)
        )

    def check_tie(self) -> None:
        """Raise ValueError where its bridges cannot be tied: see `Tie.check`; ends at unlike noise
        levels; a release that is none of theirs.
        """
        if self.tie is None:
            return
        self.tie.check(self.target)
        ends = [float(leg.sigmas[-1]) for leg in (self.source, self.target)]
        if abs(np.log(ends[0] / ends[1])) > _SAME_END:
            raise ValueError(
                f"Tied bridges end at one noise level; the source's ends at {ends[0]:g}, the"
                f" target's at {ends[1]:g}: give both one grid (`make_grid`)."
            )
        if self.tie.release is not None and not 0 < self.tie.release < ends[1]:
            raise ValueError(
                f"A tie is released between 0 and the end of its bridges at {ends[1]:g}, not at"
                f" {self.tie.release:g}."
            )

    def _scalar(self, like: Array) -> Scalar:
        return jnp.asarray(self.coefficient, like.dtype)


def fixed_noise(key: PRNGKey, index: Array, like: Array) -> Array:
    """Gaussian noise of every image's own: it depends on the key and the image's index alone, not
    on the batching.
    """
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
    return jax.vmap(lambda k: jax.random.normal(k, like.shape[1:], like.dtype))(keys)


def neighbour(images: Any) -> Any:
    """For every image the one before it, for the first the last."""
    return (jnp if isinstance(images, jax.Array) else np).roll(images, 1, axis=0)

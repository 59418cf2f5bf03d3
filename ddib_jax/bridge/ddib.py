"""DDIB: two bridges, and the perturbation of the latent between them."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.bridge.bridge import Bridge
from ddib_jax.bridge.checks import as_floats, check_meeting
from ddib_jax.bridge.couplings import Coupling, check_no_switch, decode_coupled
from ddib_jax.bridge.meeting import meet, meeting_noise
from ddib_jax.perturbations import PERTURBATIONS, at, needs, stage_of, steps_of
from ddib_jax.solvers import Solution
from ddib_jax.types import Context, Data, Keys, Perturbation, Scalar

_SAME_END = 1e-3
"""Noise levels whose logarithms differ by no more count as equal."""


@struct.dataclass
class DDIB:
    """Dual Diffusion Implicit Bridge: source.encode, perturb, target.decode.

    Su et al. (2023), algorithm 1. `perturb` is one of `perturbations.PERTURBATIONS`, a sequence of
    them, or any function (latent, coefficient, context) -> latent; the coefficient is a leaf, so
    that another one never retraces (one that is written into `perturb`, as add-noise=.1, does).
    Under a `coupling` both ODEs are integrated down together, down to the noise level `until`
    (None: to the end). `reference`, [h w c] or one for each image [b h w c], is an image of the
    source's domain whose latent a perturbation may look at. denoised: end with a denoising, as
    `Bridge.sample` does, for a target that starts from noise and not from an image's latent.
    """

    source: Bridge
    target: Bridge
    coefficient: Any = 0.0
    perturb: Perturbation = struct.field(pytree_node=False, default=PERTURBATIONS["none"])
    coupling: Coupling | None = None
    until: Scalar | float | None = None
    reference: Float[Array | np.ndarray, "..."] | None = None
    denoised: bool = struct.field(pytree_node=False, default=False)

    def __call__(self, keys: Keys, image: Data) -> Data:
        """Images [b h w c] of the source domain in [-1, 1] -> images of the target domain.

        Images may be bytes, too (`as_floats`).
        The translation itself is deterministic: `keys` [b], one an image, are those of the fixed
        noise of perturbations. Raises ValueError for another number of keys, models that do not
        meet, and a perturbation that looks at a reference where there is none.
        """
        return self.decode(self.encode(keys, image)[0]).y

    def encode(self, keys: Keys, image: Data) -> tuple[Context, Solution[Array]]:
        """What the perturbation is called with besides its coefficient, and the ODE's solution.

        The context holds data, fixed noise, latent, and the reference's latent where it is needed;
        and the noise of `meet` where the two models have unlike numbers of channels.
        """
        check_meeting(self.source.model, self.target.model)
        source, _ = self.bridges()
        data = source.model.to_data(self.perturbed_image(keys, image))
        solution = source.solve(data, rising=True)
        latent = solution.y / source.scale
        context = {"data": data, "noise": fixed_noise(keys, latent), "latent": latent}
        if "reference" in needs(self.perturb):
            context["reference"] = self.encode_reference(len(image))
        if not self.alike:
            shape = self.target.model.data_shape
            context["meeting"] = meeting_noise(keys, shape, latent.dtype)
        return context, solution

    def perturbed_image(self, keys: Keys, image: Data) -> Data:
        """Images [b h w c] after those steps of the perturbation that act on images."""
        image = jnp.asarray(as_floats(image, "images"))
        context = {"data": image, "noise": fixed_noise(keys, image)}
        return at(self.perturb, "image", image, self._scalar(image), context)

    def references(self) -> Data:
        """The reference images, [1 ...] or one for each.

        Raises ValueError where there are none, or of another shape than the source's.
        """
        if self.reference is None:
            raise ValueError(
                "This perturbation looks at the latent of another image; give the DDIB a"
                " `reference` (--reference on the command line)."
            )
        reference = jnp.asarray(as_floats(self.reference, "images"))
        shape = self.source.model.image_shape
        if reference.shape[-len(shape) :] != shape:
            found, expected = (
                " x ".join(map(str, each)) for each in (reference.shape[-len(shape) :], shape)
            )
            raise ValueError(
                f"The reference is of {found} and the source's images are of {expected}; give one"
                " of their size (in windows, --fit tile, `ddib sweep` reads it so)."
            )
        return reference[None] if reference.ndim == len(shape) else reference

    def encode_reference(self, count: int) -> Data:
        """The reference's latent, once for each of `count` images."""
        source, _ = self.bridges()
        latent = source.encode(self.references())
        return jnp.broadcast_to(latent, (count, *source.model.data_shape))

    def decode(self, context: Context) -> Solution[Array]:
        """The solution down the target's ODE from the perturbed latent; its y are the images."""
        latent = context["latent"]
        perturbed = at(self.perturb, "latent", latent, self._scalar(latent), context)
        if not self.alike:
            perturbed = meet(perturbed, context["meeting"])
        return self.decode_latent(latent, perturbed)

    @property
    def alike(self) -> bool:
        """Whether the latents of both models are of one shape; if not, they `meet`."""
        return self.source.model.data_shape == self.target.model.data_shape

    def decode_latent(self, latent: Data, perturbed: Data) -> Solution[Array]:
        """As `decode`, from latents [b ...] as they were encoded and as they were perturbed.

        perturbed: of the target's shape.
        """
        source, target = self.bridges()
        if self.coupling is None:
            solution = target.solve(perturbed * target.scale, rising=False)
        else:
            solution = decode_coupled(
                self.coupling, source.model, target, latent, perturbed=perturbed, until=self.until
            )
        data = solution.y
        if self.denoised:
            data = target.model.denoise(data, target.sigmas[0])
        return replace(solution, y=target.model.to_image(data))

    def bridges(self) -> tuple[Bridge, Bridge]:
        """Source and target up to the noise level at which they meet.

        That is the end of their grids, unless a perturbation lowers it.
        """
        if all(stage_of(step) != "level" for step in steps_of(self.perturb)):
            return self.source, self.target
        return self._lowered(self.source), self._lowered(self.target)

    def _lowered(self, bridge: Bridge) -> Bridge:
        coefficient = self._scalar(bridge.sigmas)
        return bridge.up_to(at(self.perturb, "level", bridge.sigmas[-1], coefficient, {}))

    def given(self, source: Any, target: Any) -> "DDIB":
        """This DDIB with its models under conditions; None leaves a model under its own."""
        return replace(self, source=self.source.under(source), target=self.target.under(target))

    def check(self) -> None:
        """Raise ValueError where the models do not meet or the two bridges cannot be coupled.

        Besides what `Coupling.check` refuses that is for ends at different noise levels, for a
        level `until` that lies outside of them, and for a perturbation that lowers the ends out of
        the grids.
        """
        check_meeting(self.source.model, self.target.model)
        source, target = self.bridges()
        if self.coupling is None:
            if self.until is not None:
                raise ValueError(
                    "There is no coupling to end; name one, or leave out the level at which it"
                    " ends."
                )
            return
        if not self.alike:
            raise ValueError(
                "A coupling holds one image to another of the same channels, and these models have"
                " unlike numbers of them; leave the coupling out."
            )
        self.coupling.check(self.target.model.data_shape)
        check_no_switch(target)
        source_end, target_end = float(source.end), float(target.end)
        if abs(np.log(source_end / target_end)) > _SAME_END:
            raise ValueError(
                f"Coupled bridges end at one noise level; the source's ends at {source_end:g}, the"
                f" target's at {target_end:g}: give both one grid (`make_grid`)."
            )
        if self.until is not None and not 0 < self.until < target_end:
            raise ValueError(
                f"A coupling ends between 0 and the end of its bridges at {target_end:g}, not at"
                f" {self.until:g}."
            )

    def _scalar(self, like: Array) -> Scalar:
        return jnp.asarray(self.coefficient, like.dtype)


def fixed_noise(keys: Keys, like: Data) -> Data:
    """Gaussian noise of the shape of `like` [b ...], each image's from its own of the keys [b].

    Raises ValueError for another number of keys than images.
    """
    if keys.shape != like.shape[:1]:
        raise ValueError(
            f"Every image has a key of its own: found keys of shape {keys.shape} for {len(like)}"
            " images; see `jax.random.split` and `translation.image_keys`."
        )
    return jax.vmap(lambda key: jax.random.normal(key, like.shape[1:], like.dtype))(keys)

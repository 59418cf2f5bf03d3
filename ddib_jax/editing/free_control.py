"""FreeControl (Mo et al. 2024): any text-to-image model under any condition image, untrained."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float

from ddib_jax.bridge import Bridge, as_floats
from ddib_jax.bridge.couplings import Rows, SideBySide
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.editing.bases import Bases
from ddib_jax.editing.conditional import guided_around
from ddib_jax.editing.energies import ByLevel, constant, descended, push
from ddib_jax.editing.layers import as_positions, structure_layers
from ddib_jax.editing.masks import places_of_words, stretched
from ddib_jax.types import Cond, Latent, Scalar, VectorField

STRUCTURE = 5000.0
"""Weight of the structure energy, a mean over positions and components: control_ablations.py."""
APPEARANCE = 0.2
"""Weight of the appearance energy, in units of that of structure."""
UNTIL = 1.0
"""The noise level at which guidance ends."""
MASK = 0.3
"""Share of the most attended position's attention from which on a position is the concept's."""


@struct.dataclass
class Further:
    """A further condition image of `FreeControl`, whose structure energy is added to the first's.

    latent: that of the image under its own condition, [h w c] for all images or [b h w c] for each.
    cond: what its picture is told. concept [n]: 1 at the tokens of that prompt whose place alone is
    controlled; None: all of it is. weight: in units of the first's. until: the noise level at which
    its energy ends.
    """

    latent: Float[Array | np.ndarray, "..."]
    cond: Cond
    concept: Float[Array, " n"] | None = None
    weight: Scalar | float = 1.0
    until: Scalar | float = 0.0

    @classmethod
    def of(
        cls, source: Bridge, image: Float[Array | np.ndarray, "h w c"], **options: Any
    ) -> "Further":
        """Of an image in [-1, 1], encoded by a bridge of the model under the image's condition."""
        latent = source.encode(jnp.asarray(as_floats(image, "images"))[None])[0]
        return cls(latent, source.model.cond, **options)


@struct.dataclass
class FreeControl(SideBySide):
    """The target takes the structure of the source's picture, and nothing else of it.

    A coupling of a model with itself. Rows: the *example*, the condition image under its own
    prompt; the *sibling*, what the target would be without control, where `appearance` is held; and
    the *control*, the translation. Its denoiser is that of classifier-free guidance, moved by
    -structure sigma^2 grad (g_s + appearance g_a), of its own conditional half's features alone:

    g_s  in the coordinates s of `bases`, the mean square of s - s_example where the example shows
         the concept, and `penalty` times that of what s has elsewhere above the largest that the
         example has there (equation 4). Without a `concept` it shows everywhere.
    g_a  the mean square of the differences to the sibling of the features' means, weighted by each
         of the first `shown` coordinates (equations 5 and 6).

    bases: of the features, of this model. structure: a weight by noise level (`energies`). concept
    [n]: 1 at the tokens of the example's prompt that name the concept, read by the attention of
    `cross`; None: no mask, so that the background keeps its structure too. longest: what the move
    may be at most, in units of D - x. normalised: coordinates are scaled to [0, 1] over an image's
    positions, as in the published code and not in the paper. soft: appearance is weighted by the
    sigmoid of coordinates, as in the paper, else by those above a half, as in the code. further:
    more condition images, each a row of its own, whose g_s are added (figure 14); `ends` is the
    noise level at which that of the first one ends, where others last longer. Where the picture
    starts is the DDIB's own: from the example's latent, or from noise where it is replaced.
    """

    bases: Bases
    structure: ByLevel
    appearance: Scalar | float | None = APPEARANCE
    penalty: Scalar | float = 10.0
    concept: Float[Array, " n"] | None = None
    threshold: Scalar | float = MASK
    longest: Scalar | float = 1.0
    further: tuple[Further, ...] = ()
    ends: Scalar | float = 0.0
    cross: tuple[str, ...] = struct.field(pytree_node=False, default=())
    shown: int = struct.field(pytree_node=False, default=2)
    normalised: bool = struct.field(pytree_node=False, default=True)
    soft: bool = struct.field(pytree_node=False, default=True)

    @classmethod
    def of(
        cls,
        model: DiffusionModel,
        bases: Bases,
        *,
        structure: float | ByLevel = STRUCTURE,
        concept: Float[Array, " n"] | None = None,
        further: Sequence[Further] = (),
        **options: Any,
    ) -> "FreeControl":
        """With the layers of the model that a mask is read from; raises as `Bases.check` does."""
        bases.check(model)
        cross: tuple[str, ...] = ()
        if any(each is not None for each in (concept, *(one.concept for one in further))):
            cross = tuple(layer.name for layer in structure_layers(model, cross=True))
        weights = structure if isinstance(structure, ByLevel) else constant(structure)
        return cls(bases, weights, concept=concept, cross=cross, further=tuple(further), **options)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError where a further condition's latent is of other data than `shape`."""
        for each in self.further:
            if each.latent.shape[-len(shape) :] != shape:
                raise ValueError(
                    f"A further condition's latent is of {each.latent.shape}, and the model's data"
                    f" are of {shape}; encode it by a bridge of the model (`Further.of`)."
                )

    def start(self, source: Latent, target: Latent) -> Rows:
        """The examples' latents; the sibling starts where the control does."""
        others = [jnp.broadcast_to(each.latent, source.shape) for each in self.further]
        siblings = [] if self.appearance is None else [target]
        return jnp.stack([source, *others, *siblings, target], axis=1)

    def field(self, source: DiffusionModel, target: DiffusionModel) -> VectorField:
        """The slope of the rows."""
        sites = self.bases.sites
        attended = [f"{layer}.{part}" for layer in self.cross for part in ("query", "key")]

        def slope(sigma: Scalar, rows: Rows) -> Rows:
            control, answers, seen = rows[:, -1], [], []
            under = [source, *(source.given(each.cond) for each in self.further)]
            for row, model in enumerate(under):
                theirs, values = model.read(rows[:, row], sigma, [*sites, *attended])
                answers.append(theirs)
                seen.append(values)
            shown = None
            if self.appearance is not None:
                sibling, shown = target.read(rows[:, -2], sigma, sites)
                answers.append(sibling)
            energy = lambda values: self.energy(values, seen, shown, sigma)
            told, gradient = descended(target, control, sigma, sites, energy)
            denoised = guided_around(target, control, sigma, told)
            weight = self.structure(sigma)
            moved = push(gradient, control, denoised, sigma, weight, longest=self.longest)
            return (rows - jnp.stack([*answers, denoised + moved], axis=1)) / sigma

        return slope

    def energy(
        self,
        control: dict[str, Array],
        examples: Sequence[dict[str, Array]],
        sibling: dict[str, Array] | None,
        sigma: Scalar,
    ) -> Float[Array, " b"]:
        """The examples' g_s + appearance g_a of every image, a mean over the layers of `bases`.

        control, each of the examples, and sibling: the values at the sites of `bases`; of an
        example those of the mask's layers too. No gradient is taken of any but the control's.
        """
        found, parts = self._coordinates(control, sigma), []
        first = (self.concept, 1.0, self.ends)
        conditions = [first, *((each.concept, each.weight, each.until) for each in self.further)]
        for example, (concept, weight, until) in zip(examples, conditions, strict=True):
            example = jax.lax.stop_gradient(example)
            mask = self.mask(example, concept)
            held = jnp.where(sigma >= until, weight, 0.0)
            parts += [
                held * structure_energy(own, theirs, mask, self.penalty)
                for own, theirs in zip(found, self._coordinates(example, sigma), strict=True)
            ]
        weight = self.appearance
        if sibling is not None and weight is not None:
            sibling = jax.lax.stop_gradient(sibling)
            shown = self._coordinates(sibling, sigma)
            for site, own, theirs in zip(self.bases.sites, found, shown, strict=True):
                means = [
                    appearance_means(site, values[site], weights[..., : self.shown], soft=self.soft)
                    for values, weights in ((control, own), (sibling, theirs))
                ]
                difference = jnp.square(means[0] - means[1]).mean(axis=(1, 2))
                parts.append(weight * difference)
        return jnp.sum(jnp.stack(parts), axis=0) / len(self.bases.sites)

    def mask(
        self, example: dict[str, Array], concept: Float[Array, " tokens"] | None
    ) -> Bool[Array, "b n"] | None:
        """Where an example shows its concept; None without one."""
        if concept is None:
            return None
        return places_of_words(example, self.cross, concept) > self.threshold

    def _coordinates(self, values: dict[str, Array], sigma: Scalar) -> list[Array]:
        found = self.bases.coordinates(values, sigma)
        return [stretched(each) for each in found] if self.normalised else found


def structure_energy(
    own: Float[Array, "b n k"],
    example: Float[Array, "b n k"],
    mask: Bool[Array, "b n"] | None,
    penalty: Scalar | float,
) -> Float[Array, " b"]:
    """Equation 4 of Mo et al. (2024), with means for sums over components.

    mask: where the example shows the concept; None: everywhere.
    """
    square = jnp.square(own - example)
    if mask is None:
        return square.mean(axis=(1, 2))
    inside, outside = mask[..., None], ~mask[..., None]
    k = own.shape[-1]
    forward = jnp.sum(jnp.where(inside, square, 0), (1, 2)) / (k * jnp.maximum(mask.sum(1), 1))
    highest = jnp.where(outside, example, -jnp.inf).max(axis=1, keepdims=True)
    highest = jnp.where(jnp.isfinite(highest), highest, jnp.inf)  # where there is no outside
    above = jnp.square(jax.nn.relu(jnp.where(outside, own - highest, 0)))
    backward = above.sum(axis=(1, 2)) / (k * jnp.maximum((~mask).sum(1), 1))
    return forward + penalty * backward


def appearance_means(
    site: str, features: Float[Array, "b ..."], coordinates: Float[Array, "b n k"], *, soft: bool
) -> Float[Array, "b k c"]:
    """Equation 5 of Mo et al. (2024): the features' means, weighted by each of the coordinates."""
    features = as_positions(site, features).astype(jnp.float32)
    above = jnp.where(coordinates > 0.5, coordinates, 0)
    weights = jax.nn.sigmoid(coordinates) if soft else above
    total = jnp.einsum("bnk,bnc->bkc", weights, features)
    return total / (weights.sum(axis=1)[..., None] + _SMALL)


_SMALL = 1e-6

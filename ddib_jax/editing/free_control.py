"""FreeControl (Mo et al. 2024): any text-to-image model under any condition image, untrained."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from ddib_jax.bridge.couplings import Rows, SideBySide
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.editing.bases import Bases
from ddib_jax.editing.conditional import guided_around
from ddib_jax.editing.energies import ByLevel, constant, descended, push
from ddib_jax.editing.layers import as_positions, structure_layers
from ddib_jax.nets.hooks import attention_weights
from ddib_jax.types import Latent, Scalar, VectorField

STRUCTURE = 3000.0
"""Weight of the structure energy, which is a mean over positions and components."""
APPEARANCE = 0.2
"""Weight of the appearance energy, in units of that of structure."""
UNTIL = 0.5
"""The noise level at which guidance ends."""
MASK = 0.3
"""Share of the most attended position's attention from which on a position is the concept's."""


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
    sigmoid of coordinates, as in the paper, else by those above a half, as in the code. Where the
    picture starts is the DDIB's own: from the example's latent, or from noise where it is replaced.
    """

    bases: Bases
    structure: ByLevel
    appearance: Scalar | float | None = APPEARANCE
    penalty: Scalar | float = 10.0
    concept: Float[Array, " n"] | None = None
    threshold: Scalar | float = MASK
    longest: Scalar | float = 1.0
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
        **options: Any,
    ) -> "FreeControl":
        """With the layers of the model that a mask is read from; raises as `Bases.check` does."""
        bases.check(model)
        cross: tuple[str, ...] = ()
        if concept is not None:
            cross = tuple(layer.name for layer in structure_layers(model, cross=True))
        weights = structure if isinstance(structure, ByLevel) else constant(structure)
        return cls(bases, weights, concept=concept, cross=cross, **options)

    def start(self, source: Latent, target: Latent) -> Rows:
        """The example's latent; the sibling starts where the control does."""
        rows = [source, target] if self.appearance is None else [source, target, target]
        return jnp.stack(rows, axis=1)

    def field(self, source: DiffusionModel, target: DiffusionModel) -> VectorField:
        """The slope of the rows."""
        sites = self.bases.sites
        attended = [f"{layer}.{part}" for layer in self.cross for part in ("query", "key")]

        def slope(sigma: Scalar, rows: Rows) -> Rows:
            example, control = rows[:, 0], rows[:, -1]
            theirs, seen = source.read(example, sigma, [*sites, *attended])
            answers, shown = [theirs], None
            if self.appearance is not None:
                sibling, shown = target.read(rows[:, 1], sigma, sites)
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
        example: dict[str, Array],
        sibling: dict[str, Array] | None,
        sigma: Scalar,
    ) -> Float[Array, " b"]:
        """g_s + appearance g_a of every image, a mean over the layers of `bases`.

        control, example and sibling: the values at the sites of `bases`; of the example those of
        the mask's layers too. No gradient is taken of the latter two.
        """
        example = jax.lax.stop_gradient(example)
        mask = self.mask(example)
        found = self._coordinates(control, sigma)
        wanted = self._coordinates(example, sigma)
        parts = [
            structure_energy(own, theirs, mask, self.penalty)
            for own, theirs in zip(found, wanted, strict=True)
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

    def mask(self, example: dict[str, Array]) -> Bool[Array, "b n"] | None:
        """Where the example shows the concept; None without one."""
        if self.concept is None:
            return None
        maps = []
        for layer in self.cross:
            weights = attention_weights(example[f"{layer}.query"], example[f"{layer}.key"])
            maps.append((weights.mean(axis=1) * self.concept).sum(axis=-1))
        attended = _stretched(jnp.stack(maps).mean(axis=0)[..., None])[..., 0]
        return attended > self.threshold

    def _coordinates(self, values: dict[str, Array], sigma: Scalar) -> list[Array]:
        found = self.bases.coordinates(values, sigma)
        return [_stretched(each) for each in found] if self.normalised else found


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


def _stretched(x: Float[Array, "b n k"]) -> Float[Array, "b n k"]:
    """Each image's components scaled to [0, 1] over its positions, by ends held fixed."""
    low, high = (jax.lax.stop_gradient(f(x, axis=1, keepdims=True)) for f in (jnp.min, jnp.max))
    return (x - low) / (high - low + _SMALL)


_SMALL = 1e-6

"""pix2pix-zero (Parmar et al. 2023): an edit of the condition, held to the source's attention."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.bridge.couplings import Rows, SideBySide
from ddib_jax.conditioning import Conditioner
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.editing.conditional import guided_around
from ddib_jax.editing.energies import ByLevel, constant, descended, push
from ddib_jax.editing.layers import text_layers
from ddib_jax.nets.hooks import attention_weights
from ddib_jax.types import Cond, Scalar, VectorField

MOVE = 0.1
"""The rate of the one step of gradient descent that the paper's code does at every noise level."""


@struct.dataclass
class Pix2PixZero(SideBySide):
    """The target attends to its words where the source does: by the gradient of an energy.

    A coupling of a model with itself under an edited condition (`edit_direction`). With E, the
    `cross_attention_energy` between both rows, the target's denoiser is D - weight sigma^2 grad E,
    as if exp(-weight E) were a likelihood; D is the guided one, and E that of the conditional half.
    It is a term of the ODE, so that the result does not depend on the number of steps.

    weight: by noise level; `kick_weights` are those of the paper's code. longest: what the move of
    the denoiser is bounded by, in units of D - x. As a DDIB's coupling it takes the bridge's own
    encoding; the paper's regularised one is `RegularisedInversion`. Under equal conditions and no
    guidance it gives the source back.
    """

    layers: tuple[str, ...] = struct.field(pytree_node=False)
    weight: ByLevel
    longest: Scalar | float = 1.0

    @classmethod
    def of(
        cls,
        model: DiffusionModel,
        *,
        weight: Scalar | float | ByLevel = 1.0,
        longest: Scalar | float = 1.0,
    ) -> "Pix2PixZero":
        """With the paper's layers: all that attend to the text.

        Raises ValueError for a network that attends to no text.
        """
        layers = tuple(layer.name for layer in text_layers(model))
        return cls(layers, weight if isinstance(weight, ByLevel) else constant(weight), longest)

    def field(self, source: DiffusionModel, target: DiffusionModel) -> VectorField:
        """The slope of the pair.

        The source's maps come from a call that is not differentiated.
        """
        sites = [f"{name}.{part}" for name in self.layers for part in ("query", "key")]
        maps = lambda values: {
            name: attention_weights(values[f"{name}.query"], values[f"{name}.key"])
            for name in self.layers
        }

        def slope(sigma: Scalar, rows: Rows) -> Rows:
            y, x = rows[:, 0], rows[:, 1]
            denoised, values = source.read(y, sigma, sites)
            theirs = maps(values)
            energy = lambda values: cross_attention_energy(maps(values), theirs)
            told, gradient = descended(target, x, sigma, sites, energy)
            guided = guided_around(target, x, sigma, told)
            weight = self.weight(sigma)
            steered = guided + push(gradient, x, guided, sigma, weight, longest=self.longest)
            return (rows - jnp.stack([denoised, steered], axis=1)) / sigma

        return slope


def cross_attention_energy(
    own: Mapping[str, Float[Array, "b heads p n"]],
    source: Mapping[str, Float[Array, "b heads p n"]],
) -> Float[Array, " b"]:
    """How much differently two rows attend: the squares of the differences, for each image.

    Summed over layers, positions and tokens, and the mean over the heads. own and source: the
    attention's weights by layer.
    """
    energies = [
        jnp.sum(jnp.mean(jnp.square(weights - source[name]), axis=1), axis=(1, 2))
        for name, weights in own.items()
    ]
    return jnp.sum(jnp.stack(energies), axis=0)


def kick_weights(sigmas: Float[Array | np.ndarray, " n"], *, move: float = MOVE) -> ByLevel:
    """The weights with which Euler's steps down a grid move as far as the paper's code does.

    sigmas [n]: the ascending grid. Before every step the code moves x_t by -move grad of a loss
    that is the mean over both halves of guidance, of which one is carried on: in x = x_t / alpha_t
    that is move / 2 (1 + sigma^2) grad E. In this form the slope is that at the place before the
    move, and `longest` is to be large. Another number of steps is another edit.
    """
    upper, lower = jnp.asarray(sigmas[1:]), jnp.asarray(sigmas[:-1])
    return ByLevel(upper, move / 2 * (1 + upper**2) / (upper * (upper - lower)))


def edit_direction(
    conditioner: Conditioner, source_sentences: Sequence[str], target_sentences: Sequence[str]
) -> Cond:
    """What leads a condition from one word to another, to be added to it leaf by leaf.

    The mean of the conditions of sentences with the target's word, less that of sentences with the
    source's, token by token. Raises ValueError where there are no sentences, as the conditioner
    does.
    """
    source, target = (
        jax.tree.map(lambda leaf: np.mean(leaf, axis=0), conditioner(sentences))
        for sentences in (source_sentences, target_sentences)
    )
    return jax.tree.map(lambda there, here: there - here, target, source)

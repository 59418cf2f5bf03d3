"""Ctrl-X (Lin et al. 2024): structure and appearance by features, without gradients."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from flax.traverse_util import flatten_dict
from jaxtyping import Array, Float

from ddib_jax.bridge import Bridge, Coupling, as_floats, decode_coupled, fixed_noise
from ddib_jax.bridge.couplings import Rows, SideBySide
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.editing.conditional import guided_around
from ddib_jax.editing.layers import attention_layers, told, unguided
from ddib_jax.nets.hooks import Hook, attention_weights, inject
from ddib_jax.types import Data, Keys, Latent, Scalar, VectorField

UNTIL = 1.17
"""The noise level at which control ends: .6 of Stable Diffusion's steps, as in the paper's code."""


@struct.dataclass
class CtrlX:
    """Fresh noise decoded under the target's prompt, with the structure of an image.

    A `Translator`. The image with noise of each level is read by the network under its own prompt,
    and what it computes of it, at `features` and in the queries and keys of `attention`, is the
    target's: no inversion, no gradient. A *sibling* that starts where the target does, without
    control, gives the appearance: before the layers `appearance` of self-attention the target's
    features take mean and deviation of the sibling's, position by position, as they attend to it.
    All of it is in the conditional half of a guidance alone.

    source: the model under the image's prompt. target: the bridge of the same model under the
    target's. appearance: names of layers, and their numbers of heads. until: the noise level at
    which control ends. shown: an image [h w c] whose appearance is taken in place of the sibling's,
    on the path of noise too, under the target's prompt. The paper's self-recurrence and its fresh
    noise at every step are left out: the path of noise is straight, as an ODE needs.
    """

    source: DiffusionModel
    target: Bridge
    features: tuple[str, ...] = struct.field(pytree_node=False, kw_only=True)
    attention: tuple[str, ...] = struct.field(pytree_node=False, kw_only=True)
    appearance: tuple[tuple[str, int], ...] = struct.field(pytree_node=False, kw_only=True)
    until: Scalar | float = UNTIL
    shown: Float[Array | np.ndarray, "h w c"] | None = None

    @classmethod
    def of(cls, source: DiffusionModel, target: Bridge, **options: Any) -> "CtrlX":
        """With the layers of the paper's code, which is for SDXL, or those in their place.

        Structure: the output of the first residual block of the first decoder block that attends to
        the image, and all of its self-attention. Appearance: all self-attention of as many
        positions or more, but for the bottleneck's and that behind the named residual block. Raises
        ValueError for a network without diffusers' transformer blocks.
        """
        layers = [layer for layer in attention_layers(target.model) if not layer.cross]
        decoder = [layer for layer in layers if layer.decoder]
        if not decoder:
            raise ValueError(
                f"No layer of the decoder of the {type(target.model.network).__name__} attends to"
                " the image; take a model of which some do."
            )
        held = [layer for layer in decoder if layer.block == decoder[0].block]
        sites = told(target.model).sites()
        features = f"{held[0].block}.resnets.0"
        if features not in sites or _input(held[0].name) not in sites:
            raise ValueError(
                "Ctrl-X looks into the transformer blocks of diffusers' U-Nets, which a"
                f" {type(target.model.network).__name__} has not; take another method."
            )
        first = f"{held[0].block}.attentions.0."
        dressed = [
            (layer.name, layer.heads)
            for layer in layers
            if layer.positions >= held[0].positions
            and not layer.block.startswith("mid_block")
            and not layer.name.startswith(first)
        ]
        return cls(
            source,
            target,
            features=(features,),
            attention=tuple(layer.name for layer in held),
            appearance=tuple(dressed),
            **options,
        )

    def __call__(self, keys: Keys, image: Data) -> Data:
        """Images [b h w c] in [-1, 1] and their keys [b] -> translations [b h w c]."""
        model = self.target.model
        coupling, start = self.coupled(keys, image)
        solution = decode_coupled(coupling, self.source, self.target, start, until=self.until)
        return model.to_image(model.denoise(solution.y, self.target.sigmas[0]))

    def coupled(self, keys: Keys, image: Data) -> tuple[Coupling, Latent]:
        """The coupling of sibling and target for these images, and where both start, [b ...]."""
        model = self.target.model
        data = model.to_data(jnp.asarray(as_floats(image, "images")))
        apart = jax.vmap(partial(jax.random.split, num=3))(keys)
        noise, start, other = (fixed_noise(apart[:, stream], data) for stream in range(3))
        shown = None
        if self.shown is not None:
            one = model.to_data(jnp.asarray(as_floats(self.shown, "images"))[None])
            shown = jnp.broadcast_to(one, data.shape), other
        sites = self.features, self.attention, self.appearance
        return _Controlled((data, noise), shown, *sites), start

    def given(self, source: Any, target: Any) -> "CtrlX":
        """This method with its model under other conditions; None leaves one as it is."""
        under = lambda model, cond: model if cond is None else model.given(cond)
        return replace(self, source=under(self.source, source), target=self.target.under(target))


@struct.dataclass
class _Controlled(SideBySide):
    """The sibling's row and the target's.

    structure: data and noise, whose path data + sigma noise is read. shown: the same of what is
    looked at in the sibling's place.
    """

    structure: tuple[Data, Data]
    shown: tuple[Data, Data] | None
    features: tuple[str, ...] = struct.field(pytree_node=False)
    attention: tuple[str, ...] = struct.field(pytree_node=False)
    appearance: tuple[tuple[str, int], ...] = struct.field(pytree_node=False)

    def field(self, source: DiffusionModel, target: DiffusionModel) -> VectorField:
        """The slope of both rows."""
        given = [f"{name}.{part}" for name in self.attention for part in ("query", "key")]
        inputs = [_input(name) for name, _ in self.appearance]
        weights: dict[str, Any] = dict(flatten_dict(target.params, sep=".")) if inputs else {}

        def slope(sigma: Scalar, rows: Rows) -> Rows:
            sibling, x = rows[:, 0], rows[:, 1]
            seen = unguided(source).read(
                _noisy(self.structure, sigma), sigma, [*self.features, *given, *inputs]
            )[1]
            answer, looks = target.read(sibling, sigma, inputs)
            if self.shown is not None:
                looks = unguided(target).read(_noisy(self.shown, sigma), sigma, inputs)[1]
            hooks = list(inject({site: seen[site] for site in (*self.features, *given)}))
            for name, heads in self.appearance:
                site = _input(name)
                ask = partial(_projected, weights[f"{name}.to_q.kernel"], heads)
                keys = _projected(weights[f"{name}.to_k.kernel"], heads, _normed(looks[site]))
                asking = seen[site] if name in self.attention else None
                hooks.append(Hook(site, partial(_dressed, ask, keys, looks[site], asking)))
            own = unguided(target).hooked(*hooks).denoise(x, sigma)
            answers = jnp.stack([answer, guided_around(target, x, sigma, own)], axis=1)
            return (rows - answers) / sigma

        return slope


def _noisy(path: tuple[Data, Data], sigma: Scalar) -> Data:
    data, noise = path
    return data + sigma * noise


def _dressed(
    ask: Callable[[Array], Array],
    keys: Float[Array, "b n heads d"],
    shown: Float[Array, "b n c"],
    structure: Float[Array, "b n c"] | None,
    own: Float[Array, "b n c"],
) -> Float[Array, "b n c"]:
    """Features [b n c] with mean and deviation of those shown, as they attend to them.

    ask: features to queries. structure: the features that ask in place of their own, where queries
    are injected.
    """
    weights = attention_weights(ask(_normed(own if structure is None else structure)), keys)
    values = shown.astype(jnp.float32).reshape(*keys.shape[:3], -1)
    taken = lambda of: jnp.einsum("bhnm,bmhd->bnhd", weights, of).reshape(shown.shape)
    mean, square = taken(values), taken(jnp.square(values))
    deviation = jnp.sqrt(jax.nn.relu(square - jnp.square(mean)))
    return deviation * _normed(own) + mean


def _normed(x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
    """Every channel of mean 0 and deviation 1 over the positions."""
    x = x.astype(jnp.float32)
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / (x.std(axis=1, keepdims=True) + _SMALL)


def _projected(
    kernel: Float[Array, "c e"], heads: int, x: Float[Array, "b n c"]
) -> Float[Array, "b n heads d"]:
    """A linear layer without a bias, split into heads."""
    return (x @ kernel.astype(jnp.float32)).reshape(*x.shape[:2], heads, -1)


def _input(attention: str) -> str:
    """The site of what an attention layer is given, before its projections."""
    return f"{attention.rpartition('.')[0]}.norm1"


_SMALL = 1e-6

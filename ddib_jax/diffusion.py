"""`DiffusionModel`, the ODE that it defines and the loss that trains it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, PyTree

from ddib_jax import weightings
from ddib_jax.types import (
    Cond,
    Guidance,
    Network,
    NoiseSchedule,
    Params,
    Preconditioning,
    PRNGKey,
    VectorField,
)

GOLDEN_RATIO = 0.6180339887498949
_UNWEIGHTED = weightings.Unweighted()


@struct.dataclass
class DiffusionModel:
    """Weights and what they mean: a denoiser D(x, sigma) in the coordinates x = x_t / alpha_t.

    params, precondition, cond and guidance are pytrees: new weights, statistics, labels or scales
    never retrace. network, schedule and data_shape (that of one image, [h w c]) are static,
    compared by value. cond is of the network's `condition_spec`, a label or an embedding or a tree
    of such: a leaf of its rank is for all images, one of rank + 1, [b ...], has one for each.
    """

    params: Params
    precondition: Preconditioning
    cond: Cond = None
    guidance: Guidance | None = None
    network: Network = struct.field(pytree_node=False, kw_only=True)
    schedule: NoiseSchedule = struct.field(pytree_node=False, kw_only=True)
    data_shape: tuple[int, ...] = struct.field(pytree_node=False, kw_only=True)

    def denoise(
        self, x: Float[Array, "b ..."], sigma: Float[Array, "..."], **options
    ) -> Float[Array, "b ..."]:
        """E[data | x = data + sigma * noise] [b ...] (Karras et al. 2022, eq. 7).

        x [b ...]; sigma a scalar or [b]; `options` go to the network (`train`, `rngs`). A network
        of more output channels than the data (learned variances) has only its first ones used.
        Raises ValueError where the model's condition is not of the network's, or not of b images.
        """
        time = jnp.broadcast_to(self.schedule.time(sigma), (len(x),))
        sigma = sigma if jnp.ndim(sigma) == 0 else sigma.reshape(-1, *[1] * (x.ndim - 1))

        def unguided(x: Array, cond: Cond, *others: Cond) -> list[Array]:
            spec, count = self.network.condition_spec(), 1 + len(others)
            rows = [_one_each(spec, cond, len(x)) for cond in (cond, *others)]
            inputs = _repeated(self.precondition.inputs(x, sigma), count)
            stacked = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *rows)
            times = _repeated(time, count)
            output = self.network.apply({"params": self.params}, inputs, times, stacked, **options)
            output = output[..., : x.shape[-1]].astype(x.dtype)
            prior, scale = self.precondition.prior(x, sigma), self.precondition.scale(sigma)
            return [prior + scale * part for part in jnp.split(output, count)]

        if self.guidance is None:
            return unguided(x, self.cond)[0]
        return self.guidance(unguided, x, sigma, time, self.cond)

    def given(self, cond: Cond) -> "DiffusionModel":
        """This model under a condition: one class-conditional model is many domains.

        None takes the condition away. Raises ValueError for one that is not of the network's
        `condition_spec`.
        """
        if cond is not None:
            _check_condition(self.network.condition_spec(), cond)
        return self.replace(cond=cond)

    def guided(self, guidance: Guidance | None) -> "DiffusionModel":
        """This model under a guidance, encoding and decoding alike, or under none."""
        return self.replace(guidance=guidance)


def _check_condition(spec: PyTree[jax.ShapeDtypeStruct] | None, cond: Cond) -> None:
    """Raise ValueError where a condition is not one of the spec, for all images or one for each."""
    same = jax.tree.structure(cond) == jax.tree.structure(spec)
    pairs = zip(jax.tree.leaves(cond), jax.tree.leaves(spec), strict=True) if same else ()
    if same and all(_suits(leaf, expected) for leaf, expected in pairs):
        return
    if spec is None:
        raise ValueError(
            f"The condition is {_in_words(cond)} and the network takes none; leave it out."
        )
    found = "There is no condition" if cond is None else f"The condition is {_in_words(cond)}"
    raise ValueError(
        f"{found} and the network takes {_in_words(spec)}: give that for all images, or with one"
        " axis more in front for each its own."
    )


def _suits(leaf: Any, expected: jax.ShapeDtypeStruct) -> bool:
    """Whether a leaf is one of the spec's, for all images or one for each, of the same kind."""
    shape, rank = jnp.shape(leaf), len(expected.shape)
    kinds = (jnp.integer, jnp.floating)
    same_kind = all(
        jnp.issubdtype(jnp.result_type(leaf), kind) == jnp.issubdtype(expected.dtype, kind)
        for kind in kinds
    )
    return same_kind and shape[len(shape) - rank :] == expected.shape and len(shape) <= rank + 1


def _in_words(tree: Any) -> str:
    """The leaves of a condition or of its spec: "text float32[77, 768], size float32[2]"."""
    leaves, _ = jax.tree.flatten_with_path(tree)
    name = lambda path: jax.tree_util.keystr(path, simple=True, separator=".")
    words = [
        f"{name(path)} {jnp.result_type(leaf)}{list(jnp.shape(leaf))}".strip()
        for path, leaf in leaves
    ]
    return ", ".join(words) or "empty"


def _one_each(spec: PyTree[jax.ShapeDtypeStruct] | None, cond: Cond, count: int) -> Cond:
    """The condition with a row for each of `count` images, every leaf [count ...]."""
    _check_condition(spec, cond)

    def rows(leaf: Any, expected: jax.ShapeDtypeStruct) -> Array:
        leaf = jnp.asarray(leaf)
        if leaf.ndim > len(expected.shape) and len(leaf) != count:
            raise ValueError(
                f"There are conditions for {len(leaf)} images, and {count} images; give one for"
                " each, or one for all."
            )
        return jnp.broadcast_to(leaf, (count, *expected.shape))

    return jax.tree.map(rows, cond, spec)


def _repeated(x: Array, count: int) -> Array:
    return jnp.concatenate([x] * count) if count > 1 else x


def probability_flow(model: DiffusionModel) -> VectorField:
    """The probability-flow ODE dx/dsigma = (x - D(x, sigma)) / sigma.

    Karras et al. (2022), equations 1 and 3, in the coordinates x = x_t / alpha_t.
    """

    def slope(sigma, x):
        return (x - model.denoise(x, sigma)) / sigma

    return slope


@struct.dataclass
class LogNormal:
    """Noise levels for training with log sigma ~ N(mean, std^2) (Karras et al. 2022, table 1)."""

    mean: float = struct.field(pytree_node=False, default=-1.2)
    std: float = struct.field(pytree_node=False, default=1.2)

    def __call__(self, u: Float[Array, " b"]) -> Float[Array, " b"]:
        """The noise levels at the quantiles u in (0, 1)."""
        return jnp.exp(self.mean + self.std * jax.scipy.special.ndtri(u))


@struct.dataclass
class UniformTime:
    """Noise levels for training as DDPM's, with the model's time uniform over [t_min, t_max]."""

    schedule: NoiseSchedule = struct.field(pytree_node=False)
    t_min: float = struct.field(pytree_node=False)
    t_max: float = struct.field(pytree_node=False)

    def __call__(self, u: Float[Array, " b"]) -> Float[Array, " b"]:
        """The noise levels at the quantiles u in (0, 1)."""
        return self.schedule.sigma(self.t_min + (self.t_max - self.t_min) * u)


def denoising_loss(
    key: PRNGKey,
    model: DiffusionModel,
    image: Float[Array, "b ..."],
    noise_level: Callable[[Float[Array, " b"]], Float[Array, " b"]],
    *,
    index: Int[Array, " b"] | None = None,
    reference: Float[Array, "n ..."] | None = None,
    related: Bool[Array, "b n"] | None = None,
    weighting: Callable[[Array, Preconditioning], Array] = _UNWEIGHTED,
    **options,
) -> Float[Array, ""]:
    """Denoising score matching, E[weight(sigma) (D(x + sigma n, sigma) - x)^2], n ~ N(0, I).

    Karras et al. (2022), equation 8. The default weight makes it the plain squared error of the
    network's output in every preconditioning (`weightings`). `options` go to the network.

    image: clean data x [b ...]. noise_level: maps quantiles [b] in (0, 1) to sigmas [b]. index [b]:
    that of each image in the global batch, by default 0 ... b-1; the image's noise depends on key
    and index alone, so that a batch split over devices has the noise of one that is not. reference
    [n ...]: images of the domain, whose `stable_target` then takes the place of x. related [b n]:
    which of them share an image's label.
    """
    index = jnp.arange(len(image)) if index is None else index
    level_key, noise_key, network_key = jax.random.split(key, 3)
    # the golden-ratio sequence, shifted at random: it covers the quantiles of a batch evenly
    u = jax.random.uniform(level_key) + GOLDEN_RATIO * index.astype(image.dtype)
    sigma = noise_level(jnp.clip(u - jnp.floor(u), 1e-6, 1 - 1e-6))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(noise_key, index)
    noise = jax.vmap(lambda k: jax.random.normal(k, image.shape[1:], image.dtype))(keys)
    column = sigma.reshape(-1, *[1] * (image.ndim - 1))
    noisy = image + column * noise
    target = (
        image
        if reference is None
        else stable_target(image, noisy, sigma, reference, related=related)
    )
    # one key a device: the masks of dropout are drawn for the device's whole part of the batch
    rngs = {"dropout": jax.random.fold_in(network_key, index[0])}
    denoised = model.denoise(noisy, sigma, rngs=rngs, **options)
    return jnp.mean(weighting(column, model.precondition) * jnp.square(denoised - target))


def stable_target(
    image: Float[Array, "b ..."],
    noisy: Float[Array, "b ..."],
    sigma: Float[Array, " b"],
    reference: Float[Array, "n ..."],
    *,
    related: Bool[Array, "b n"] | None = None,
) -> Float[Array, "b ..."]:
    """E[data | noisy] [b ...] if the data were `reference` and the image itself.

    The stable target field of Xu et al. (2023). As a training target a single image is noisy: at a
    noise level where many images could have made `noisy`, this is nearly the average that the
    network can at best learn, and where only one could, it is that image. It has the bias of a
    self-normalised average, which vanishes as n grows.

    image and noisy [b ...]; sigma [b]; reference [n ...], images of the domain, of which only the
    `related` ones [b n] count where these are given. Costs two products [b d] x [d n].
    """
    own, noisy, others = (a.reshape(len(a), -1) for a in (image, noisy, reference))
    half_square = lambda a: 0.5 * jnp.sum(jnp.square(a), axis=1)
    # -|noisy - data|^2 / 2, the log-densities times sigma^2, less |noisy|^2 / 2, common to all
    own_logits = jnp.sum(noisy * own, axis=1, keepdims=True) - half_square(own)[:, None]
    other_logits = noisy @ others.T - half_square(others)[None]
    if related is not None:
        other_logits = jnp.where(related, other_logits, -jnp.inf)
    logits = jnp.concatenate([own_logits, other_logits], axis=1)
    logits = (logits - jnp.max(logits, axis=1, keepdims=True)) / jnp.square(sigma)[:, None]
    # bounded, for XLA's vectorised exp on CPU gives NaN below about -1e9
    weights = jax.nn.softmax(jnp.maximum(logits, -100.0), axis=1)
    return (weights[:, :1] * own + weights[:, 1:] @ others).reshape(image.shape)

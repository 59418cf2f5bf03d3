"""`DiffusionModel`, the ODE that it defines and the loss that trains it."""

import dataclasses
from collections.abc import Callable, Collection, Sequence

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from ddib_jax import weightings
from ddib_jax.nets.conditions import check_condition, one_each, repeated
from ddib_jax.nets.hooks import Hook, read, sites_of
from ddib_jax.nets.precision import Precision, in_precision, products
from ddib_jax.noise_levels import OffShell
from ddib_jax.tiling import AT_ONCE, OVERLAP, Tiling
from ddib_jax.types import (
    Codec,
    Cond,
    Denoiser,
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
    never retrace. network, schedule, data_shape (that of one image, [h w c]) and hooks, which
    replace what layers of the network compute (`nets.hooks`), are static, compared by value. cond
    is of the network's `condition_spec`, a label or an embedding or a tree of such: a leaf of its
    rank is for all images, one of rank + 1, [b ...], has one for each. With a `codec`, a pytree,
    the data are codes of images (latent diffusion), and data_shape is that of a code. precision is
    that of the network and its guidance, static; what stands around them is float32 where one is
    named, and None leaves all to the network and the device. With a `tiling`, a pytree, the model
    is that of larger pictures, whose windows its network sees (`tiled`).
    """

    params: Params
    precondition: Preconditioning
    cond: Cond = None
    guidance: Guidance | None = None
    codec: Codec | None = None
    tiling: Tiling | None = None
    network: Network = struct.field(pytree_node=False, kw_only=True)
    schedule: NoiseSchedule = struct.field(pytree_node=False, kw_only=True)
    data_shape: tuple[int, ...] = struct.field(pytree_node=False, kw_only=True)
    hooks: tuple[Hook, ...] = struct.field(pytree_node=False, kw_only=True, default=())
    precision: Precision | None = struct.field(pytree_node=False, kw_only=True, default=None)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """That of one image: the codec's, or that of the data, which are then images themselves."""
        return self.data_shape if self.codec is None else self.codec.image_shape

    def to_data(self, image: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
        """What the ODE is over: the codes of images [b ...], or the images themselves."""
        return image if self.codec is None else self.codec.encode(image)

    def to_image(self, data: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
        """The images of codes [b ...], or of images themselves."""
        return data if self.codec is None else self.codec.decode(data)

    def denoise(
        self, x: Float[Array, "b ..."], sigma: Float[Array, "..."], **options
    ) -> Float[Array, "b ..."]:
        """E[data | x = data + sigma * noise] [b ...] (Karras et al. 2022, eq. 7).

        x [b ...]; sigma a scalar or [b]; `options` go to the network (`train`, `rngs`). A network
        of more output channels than the data (learned variances) has only its first ones used.

        Raises ValueError for a hook at a site that the network does not have, and where the
        model's condition is not of the network's, or not of b images.
        """
        return self.read(x, sigma, (), **options)[0]

    def read(
        self,
        x: Float[Array, "b ..."],
        sigma: Float[Array, "..."],
        sites: Collection[str],
        **options,
    ) -> tuple[Float[Array, "b ..."], dict[str, Array]]:
        """What `denoise` returns, and the values at `sites` of the network, by name.

        A guidance evaluates the network more than once; the values are those of the evaluation at x
        under the model's own condition. Raises as `denoise` does, and for a site that the network
        does not have.
        """
        if self.tiling is not None:
            if sites:
                raise ValueError(
                    "The layers of a tiled model have values for each window and none for the"
                    " picture; read those of the model alone."
                )
            alone = self._of_windows(self.tiling)
            return self.tiling(lambda window: alone.denoise(window, sigma, **options), x), {}
        time = jnp.broadcast_to(self.schedule.time(sigma), (len(x),))
        sigma = sigma if jnp.ndim(sigma) == 0 else sigma.reshape(-1, *[1] * (x.ndim - 1))
        network = in_precision(self.network, self.precision)
        around = None if self.precision is None else "float32"

        def evaluated(
            x: Array, conds: Sequence[Cond], sites: Collection[str] = ()
        ) -> tuple[list[Array], dict[str, Array]]:
            spec, count = network.condition_spec(), len(conds)
            rows = [one_each(spec, cond, len(x)) for cond in conds]
            stacked = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *rows)
            with products(around):
                inputs = repeated(self.precondition.inputs(x, sigma), count)
                prior, scale = self.precondition.prior(x, sigma), self.precondition.scale(sigma)
            args = ({"params": self.params}, inputs, repeated(time, count), stacked)
            with products(self.precision):
                output, values = read(network, sites, *args, hooks=self.hooks, **options)
            output = output[..., : x.shape[-1]].astype(x.dtype)
            return [prior + scale * part for part in jnp.split(output, count)], values

        if self.guidance is None:
            (own,), values = evaluated(x, (self.cond,), sites)
            return own, values
        own, values = evaluated(x, (self.cond,), sites) if sites else (None, {})

        here = x

        def unguided(x: Array, cond: Cond, *others: Cond) -> list[Array]:
            conds, known = (cond, *others), own is not None and x is here
            # one by one where one was read before, and under hooks, which are made for one batch of
            # images and not for several conditions
            if known or self.hooks:
                return [
                    own[0] if own and known and each is self.cond else evaluated(x, (each,))[0][0]
                    for each in conds
                ]
            return evaluated(x, conds)[0]

        with products(self.precision):
            return self.guidance(unguided, x, sigma, time, self.cond), values

    def sites(self, *, batch: int = 1) -> dict[str, jax.ShapeDtypeStruct]:
        """Every site of the network that can be read (`nets.hooks`), with shape and dtype.

        batch: the number of images, where the condition is one for each of them. Nothing is
        computed.
        """
        plain = dataclasses.replace(self, guidance=None, hooks=())
        x = jax.ShapeDtypeStruct((batch, *self.data_shape), jnp.float32)
        return sites_of(plain.denoise, x, jax.ShapeDtypeStruct((), jnp.float32))

    def hooked(self, *hooks: Hook) -> "DiffusionModel":
        """This model with more hooks, after those that it has."""
        return dataclasses.replace(self, hooks=(*self.hooks, *hooks))

    def given(self, cond: Cond) -> "DiffusionModel":
        """This model under a condition: one class-conditional model is many domains.

        None takes the condition away. Raises ValueError for one that is not of the network's
        `condition_spec`.
        """
        if cond is not None:
            check_condition(self.network.condition_spec(), cond)
        return dataclasses.replace(self, cond=cond)

    def tiled(
        self, height: int, width: int, *, overlap: float = OVERLAP, at_once: int = AT_ONCE
    ) -> "DiffusionModel":
        """This model of pictures of another size: their windows are denoised and averaged.

        At every noise level, so that the picture has one ODE (`tiling.Tiling`). A model that is
        tiled is tiled anew; one of the picture's own size is not tiled.

        Raises:
            ValueError: a window is larger than the picture, or the model is of codes or points.
        """
        if self.codec is not None or len(self.data_shape) != 3:
            raise ValueError(
                "Windows are those of a model of pictures; one of codes takes other sizes by"
                " itself (--image-size), and one of points has none."
            )
        alone = self if self.tiling is None else self._of_windows(self.tiling)
        window, channels = (alone.data_shape[0], alone.data_shape[1]), alone.data_shape[2]
        if (height, width) == window:
            return alone
        tiling = Tiling.over((height, width), window, overlap=overlap, at_once=at_once)
        return dataclasses.replace(alone, tiling=tiling, data_shape=(height, width, channels))

    def _of_windows(self, tiling: Tiling) -> "DiffusionModel":
        shape = (*tiling.window, *self.data_shape[2:])
        return dataclasses.replace(self, tiling=None, data_shape=shape)

    def at_precision(self, precision: Precision | None) -> "DiffusionModel":
        """This model with its network computed in a precision, or as network and device have it."""
        return dataclasses.replace(self, precision=precision)

    def guided(self, guidance: Guidance | None) -> "DiffusionModel":
        """This model under a guidance, encoding and decoding alike, or under none."""
        return dataclasses.replace(self, guidance=guidance)


def probability_flow(model: Denoiser) -> VectorField:
    """The probability-flow ODE dx/dsigma = (x - D(x, sigma)) / sigma.

    Karras et al. (2022), equations 1 and 3, in the coordinates x = x_t / alpha_t.
    """

    def slope(sigma, x):
        return (x - model.denoise(x, sigma)) / sigma

    return slope


def denoising_loss(
    key: PRNGKey,
    model: DiffusionModel,
    image: Float[Array, "b ..."],
    noise_level: Callable[[Float[Array, " b"]], Float[Array, " b"]],
    *,
    index: Int[Array, " b"] | None = None,
    reference: Float[Array, "n ..."] | None = None,
    related: Bool[Array, "b n"] | None = None,
    off_shell: OffShell | None = None,
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
    which of them share an image's label. off_shell: which images are shown less noise; only with a
    reference, or ValueError is raised, for the image itself is no target there.
    """
    if off_shell is not None and reference is None:
        raise ValueError("Images shown with less noise need a reference for their targets.")
    index = jnp.arange(len(image)) if index is None else index
    level_key, noise_key, network_key = jax.random.split(key, 3)
    # the golden-ratio sequence, shifted at random: it covers the quantiles of a batch evenly
    u = jax.random.uniform(level_key) + GOLDEN_RATIO * index.astype(image.dtype)
    sigma = noise_level(jnp.clip(u - jnp.floor(u), 1e-6, 1 - 1e-6))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(noise_key, index)
    noise = jax.vmap(lambda k: jax.random.normal(k, image.shape[1:], image.dtype))(keys)
    shown = sigma
    if off_shell is not None:
        sigma, factor = off_shell(jax.random.fold_in(key, 1), index, sigma)
        shown = factor * sigma
    column, shown = (a.reshape(-1, *[1] * (image.ndim - 1)) for a in (sigma, shown))
    noisy = image + shown * noise
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
    # Divided by sigma^2 below, which would make much of rounded products.
    other_logits = jnp.matmul(noisy, others.T, precision="highest") - half_square(others)[None]
    if related is not None:
        other_logits = jnp.where(related, other_logits, -jnp.inf)
    logits = jnp.concatenate([own_logits, other_logits], axis=1)
    logits = (logits - jnp.max(logits, axis=1, keepdims=True)) / jnp.square(sigma)[:, None]
    # bounded, for XLA's vectorised exp on CPU gives NaN below about -1e9
    weights = jax.nn.softmax(jnp.maximum(logits, -100.0), axis=1)
    return (weights[:, :1] * own + weights[:, 1:] @ others).reshape(image.shape)

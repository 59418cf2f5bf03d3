"""Semantic bases: the principal directions of a network's features over images of a concept.

FreeControl (Mo et al. 2024) reads the structure of a picture in them: a dog's head and a cat's have
like coordinates, whatever their colours.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from ddib_jax.bridge import Bridge
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.editing.layers import as_positions, structure_layers, told, unguided
from ddib_jax.editing.levels import nearest_level
from ddib_jax.editing.masks import sides, stretched
from ddib_jax.files import drafted_file
from ddib_jax.types import Latent, Scalar

KNOTS = 15
"""Noise levels that have bases of their own, unless another number is asked for."""
_SHARE = 20
"""Of a layer's channels one in so many is a component: 64 of Stable Diffusion's 1280."""
_FEWEST = 8
_COLOURS = 3


@struct.dataclass
class Bases:
    """Of each of some layers, at L noise levels: a mean, and orthonormal directions from there.

    sites: the values that are projected (`nets.hooks`). levels [L]. means: of each site
    [L c]; directions: [L c k], that of the largest variance first; explained: the share of the
    variance [L k] along each. Noise levels between have the nearest one's. A pytree: other bases of
    the same layers never retrace.
    """

    sites: tuple[str, ...] = struct.field(pytree_node=False)
    levels: Float[Array, " levels"]
    means: tuple[Float[Array, "levels c"], ...]
    directions: tuple[Float[Array, "levels c k"], ...]
    explained: tuple[Float[Array, "levels k"], ...]

    def coordinates(self, values: Mapping[str, Array], sigma: Scalar) -> list[Array]:
        """Of each site its values' coordinates [b n k], position by position."""
        level = nearest_level(self.levels, sigma)
        found = []
        for site, mean, directions in zip(self.sites, self.means, self.directions, strict=True):
            features = as_positions(site, values[site]).astype(jnp.float32)
            found.append((features - mean[level]) @ directions[level])
        return found

    def leading(self, count: int) -> "Bases":
        """The first `count` directions of each."""
        cut = lambda arrays: tuple(array[..., :count] for array in arrays)
        return replace(self, directions=cut(self.directions), explained=cut(self.explained))

    def check(self, model: DiffusionModel) -> None:
        """Raise ValueError where a model's network has not these layers, or other channels."""
        sites = told(model).sites()
        for site, mean in zip(self.sites, self.means, strict=True):
            if site not in sites:
                raise ValueError(
                    f"These bases are of the layer {site}, which the model's network has not; make"
                    " bases of this model (`ddib bases`)."
                )
            found = jax.eval_shape(partial(as_positions, site), sites[site]).shape[-1]
            if found != mean.shape[-1]:
                raise ValueError(
                    f"These bases are of {mean.shape[-1]} channels of {site}, which has {found} in"
                    " the model's network; make bases of this model (`ddib bases`)."
                )


def semantic_bases(
    bridge: Bridge,
    latents: Latent,
    *,
    sites: Sequence[str] | None = None,
    components: int | None = None,
    knots: int = KNOTS,
    inverted: bool = False,
    batch_size: int = 16,
    progress: Callable = iter,
) -> Bases:
    """The bases of a concept, from seed images that are sampled of it.

    bridge: of a model under the concept's condition, guided or not. latents [n ...]: Gaussian, one
    for each seed image; twenty are plenty. Features are those under the condition, read at `knots`
    of the bridge's noise levels, evenly in its steps, while the seeds are being sampled, as the
    published code does; inverted: while the sampled images are encoded again, unguided, as the
    paper says. sites: by default the keys of `structure_layers`. components: directions of each,
    by default one in 20 channels, 8 at least. Nothing but sums is kept: any number of seeds will
    do. Raises ValueError for none.
    """
    model = bridge.model
    if sites is None:
        sites = [f"{layer.name}.key" for layer in structure_layers(model)]
    steps = len(bridge.sigmas) - 1
    places = np.unique(np.linspace(0, steps, min(knots, steps + 1)).round().astype(int))
    totals = None
    for start in progress(range(0, len(latents), batch_size)):
        part = jnp.asarray(latents[start : start + batch_size])
        read = _sums(bridge, part, jnp.asarray(places), sites=tuple(sites), inverted=inverted)
        read = jax.tree.map(lambda a: np.asarray(a, np.float64), read)
        totals = read if totals is None else jax.tree.map(np.add, totals, read)
    if totals is None:
        raise ValueError("There are no seed images; draw one latent at least.")
    means, directions, explained = [], [], []
    for total, square, number in zip(*totals, strict=True):
        found = [
            _principal(*pair, float(number), components) for pair in zip(total, square, strict=True)
        ]
        for kept, arrays in zip(
            (means, directions, explained), zip(*found, strict=True), strict=True
        ):
            kept.append(jnp.asarray(np.stack(arrays), jnp.float32))
    levels = bridge.sigmas[jnp.asarray(places)]
    return Bases(tuple(sites), levels, tuple(means), tuple(directions), tuple(explained))


@partial(jax.jit, static_argnames=("sites", "inverted"))
def _sums(
    bridge: Bridge, latents: Latent, places: Array, *, sites: tuple[str, ...], inverted: bool
) -> tuple[Any, Any, Any]:
    """Of each site the features' sums [L c], their products' [L c c], and their number."""
    model, sigmas = unguided(bridge.model), bridge.sigmas
    path = _path(bridge, latents, inverted=inverted)

    def at(place: Array) -> tuple[Any, Any]:
        values = _features(bridge, path, place, sites)
        flat = [as_positions(site, values[site]).astype(jnp.float32) for site in sites]
        flat = [features.reshape(-1, features.shape[-1]) for features in flat]
        product = lambda a: jnp.matmul(a.T, a, precision="highest")
        return [features.sum(axis=0) for features in flat], [product(features) for features in flat]

    first, second = jax.lax.map(at, places)
    shapes = jax.eval_shape(lambda x: model.read(x, sigmas[0], sites)[1], latents)
    numbers = [jax.eval_shape(partial(as_positions, site), shapes[site]).shape for site in sites]
    return first, second, [jnp.asarray(shape[0] * shape[1]) for shape in numbers]


def _path(bridge: Bridge, latents: Latent, *, inverted: bool) -> Float[Array, "levels n ..."]:
    """The seeds at every noise level, as they are sampled or as the samples are encoded again."""
    if not inverted:
        return bridge.path(latents, rising=False)[::-1]
    data = bridge.solve(latents * bridge.scale, rising=False).y
    return replace(bridge, model=unguided(bridge.model)).path(data, rising=True)


def _features(
    bridge: Bridge, path: Float[Array, "levels n ..."], place: Array, sites: Sequence[str]
) -> dict[str, Array]:
    """What is read at one level of a path, under the condition alone."""
    sigma = bridge.sigmas[place]
    # a path's states are of unit variance, but for the data at its lowest level
    state = path[place] * jnp.where(place == 0, 1.0, jnp.sqrt(1 + sigma**2))
    return unguided(bridge.model).read(state, sigma, sites)[1]


def false_colours(
    bridge: Bridge,
    latents: Latent,
    bases: Bases,
    *,
    rows: int = 4,
    inverted: bool = False,
) -> Float[np.ndarray, "levels n h w 3"]:
    """What bases see of seeds: their first three directions as red, green and blue, in [-1, 1].

    latents [n ...], as for `semantic_bases`, of whose first layer the coordinates are; each is
    scaled to its whole range in every picture, and a direction that there is not is grey. The first
    row is the seeds themselves, the others, at `rows` of the bases' noise levels, go from the
    highest down. Of the size of the images.
    """
    kept = np.linspace(0, len(bases.levels) - 1, min(rows, len(bases.levels))).round().astype(int)
    levels = bases.levels[jnp.asarray(kept[::-1])]
    return np.asarray(
        _coloured(bridge, latents, bases.leading(_COLOURS), levels, inverted=inverted)
    )


@partial(jax.jit, static_argnames="inverted")
def _coloured(
    bridge: Bridge, latents: Latent, bases: Bases, levels: Array, *, inverted: bool
) -> Float[Array, "levels n h w 3"]:
    path = _path(bridge, latents, inverted=inverted)
    model = bridge.model
    places = jax.vmap(partial(nearest_level, bridge.sigmas))(levels)

    def at(place: Array) -> Array:
        values = _features(bridge, path, place, bases.sites)
        colours = stretched(bases.coordinates(values, bridge.sigmas[place])[0])
        missing = [(0, 0), (0, 0), (0, _COLOURS - colours.shape[-1])]
        colours = jnp.pad(2 * colours - 1, missing)
        side = sides(colours.shape[1], model.data_shape)
        pictures = colours.reshape(len(latents), *side, _COLOURS)
        size = (len(latents), *model.image_shape[:2], _COLOURS)
        return jax.image.resize(pictures, size, "nearest")

    seeds = model.to_image(path[0])
    seeds = jnp.broadcast_to(seeds, (*seeds.shape[:3], _COLOURS))
    return jnp.concatenate([seeds[None], jax.lax.map(at, places)])


def _principal(
    total: np.ndarray, square: np.ndarray, count: float, components: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean [c], directions [c k] and shares of the variance [k], from sums over `count`."""
    mean = total / count
    covariance = square / count - np.outer(mean, mean)
    values, vectors = np.linalg.eigh(covariance)
    kept = min(components or max(_FEWEST, len(mean) // _SHARE), len(mean))
    values, vectors = values[::-1][:kept], vectors[:, ::-1][:, :kept]
    # of either sign: the largest entry is positive, so that equal features make equal bases
    signs = np.sign(np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0))
    whole = max(float(np.trace(covariance)), np.finfo(np.float64).tiny)
    return mean, vectors * signs, np.maximum(values, 0) / whole


def save_bases(path: str | Path, bases: Bases, *, model: str, prompt: str) -> Path:
    """Write bases as an .npz file, whole or not at all; returns its path.

    model: the fingerprint of the checkpoint that they are of. prompt: of their seed images.
    """
    path = Path(path)
    arrays: dict[str, Any] = {"sites": np.asarray(bases.sites), "levels": bases.levels}
    for number in range(len(bases.sites)):
        for name in _PARTS:
            arrays[f"{name}.{number}"] = getattr(bases, name)[number]
    with drafted_file(path) as draft, draft.open("wb") as file:
        np.savez(file, model=np.asarray(model), prompt=np.asarray(prompt), **arrays)
    return path


def load_bases(path: str | Path, *, model: str | None = None) -> Bases:
    """The bases of a file that `save_bases` wrote.

    model: the fingerprint of the checkpoint that they must be of. Raises FileNotFoundError for no
    file, ValueError for another one and for bases of another model.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There are no bases {path}; `ddib bases` makes some.")
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        sites = tuple(str(site) for site in arrays["sites"])
        parts = [
            tuple(jnp.asarray(arrays[f"{name}.{number}"]) for number in range(len(sites)))
            for name in _PARTS
        ]
        made_of = str(arrays["model"])
        levels = jnp.asarray(arrays["levels"])
    except (KeyError, ValueError, OSError, EOFError, TypeError, BadZipFile) as error:
        raise ValueError(
            f"{path} holds no bases, or is cut short; `ddib bases` makes some."
        ) from error
    if model is not None and made_of != model:
        raise ValueError(
            f"The bases of {path} are those of another model; make some of this one (`ddib bases`)."
        )
    return Bases(sites, levels, *parts)


_PARTS = ("means", "directions", "explained")

"""What the layers of a network compute, read and replaced by name.

A layer's name is its path in the network, joined with dots, as the names of its parameters begin:
`output_blocks.1.0` of `output_blocks.1.0.in_layers.2.kernel`. The values that can be read and
replaced are its *sites*:

    NAME              the layer's output, where that is one array
    NAME.query        what an attention layer's `attend` is given: [b n heads d],
    NAME.key          [b m heads d]
    NAME.value        and [b m heads d]
    NAME.attention    what it returns: [b n heads d], before the projection

A hook alone may also name `NAME.attend`, the operation itself: (query, key, value) -> attention.
All is done by flax's own interception of methods; the networks know nothing of it.
"""

import difflib
import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict
from jaxtyping import Array, Float

Blend = Callable[[Array, Array], Array]
"""(source, target) -> what takes the place of the target, of its shape."""

_COLLECTION = "sites"
_OUTPUT = "output"
_GIVEN = ("query", "key", "value")


@dataclass(frozen=True)
class Hook:
    """`edit` takes the place of the value at `site`.

    edit: the value -> a new one of its shape, cast to its dtype; at a site `NAME.attend`, (query,
    key, value) -> the attention's output, the keys and values of any number of positions. Several
    hooks at a site act one after the other; of several at `NAME.attend` the last one acts.

    An edit may hold traced arrays where it is made and used within one trace. A hook that is an
    argument of a compiled program (held by a model that is one) is compared by value: its edit is
    then a function of a module, or a frozen dataclass with `__call__`, so that an equal hook does
    not trace anew.
    """

    site: str
    edit: Callable[..., Array]


@contextmanager
def intercepted(hooks: Sequence[Hook]) -> Iterator[None]:
    """Networks that are traced within it have their values replaced by the hooks.

    A program that was compiled before is not traced again, and knows nothing of them. Raises
    ValueError, as the network is traced, for a value of another shape, and at the end for a site
    that no layer had.
    """
    interception = _Interception(hooks)
    with interception.active():
        yield


def read(
    network: Any,
    sites: Collection[str],
    variables: Any,
    *inputs: Any,
    hooks: Sequence[Hook] = (),
    **options: Any,
) -> tuple[Any, dict[str, Array]]:
    """The network's output, and the values at `sites` by name, under the hooks.

    The first is `network.apply(variables, *inputs, **options)`. The values are those that the
    network goes on with, the hooks' edits included; of a layer that is called more than once, those
    of its last call. Raises ValueError for a site that no layer has, and as `intercepted` does.
    """
    if not sites and not hooks:
        return network.apply(variables, *inputs, **options), {}
    if sites and not isinstance(network, nn.Module):
        raise ValueError(
            f"Layers are read from a linen module alone; the network is a {type(network).__name__}."
        )
    with (interception := _Interception(hooks, sites)).active():
        if not sites:
            return network.apply(variables, *inputs, **options), {}
        # A collection of variables, for a value that is merely kept aside does not leave
        # `jax.checkpoint`, where the blocks of a network with `remat` are.
        output, state = network.apply(variables, *inputs, mutable=[_COLLECTION], **options)
    values: dict[str, Any] = {
        interception.names[path]: value
        for path, value in flatten_dict(state.get(_COLLECTION, {})).items()
    }
    return output, {site: values[site] for site in sites}


def sites(network: nn.Module, *inputs: Any, **options: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """Every site of a network that can be read, with shape and dtype; nothing is computed.

    inputs: what the network is initialised on (x, time, cond), arrays or their shapes.
    """
    return sites_of(functools.partial(network.init, **options), jax.random.key(0), *inputs)


def sites_of(function: Callable, *inputs: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """The sites of the network that `function(*inputs)` applies; nothing is computed."""
    with (interception := _Interception()).active():
        jax.eval_shape(function, *inputs)
    return interception.found


def share(sites: Sequence[str], *, blend: Blend | None = None) -> tuple[Hook, ...]:
    """Hooks for a batch whose first half is sources and whose second half their targets.

    At every site the value of a target becomes `blend(source, target)`, by default the source's,
    and the source's stays. Equal arguments make equal hooks.
    """
    return tuple(Hook(site, _Halves(site, blend or _source)) for site in sites)


def inject(values: Mapping[str, Array], *, blend: Blend | None = None) -> tuple[Hook, ...]:
    """Hooks that hand on what was read before, from this network or one of equal layers.

    At the site of each value the network's own becomes `blend(value, own)`, by default the value.
    """
    return tuple(
        Hook(site, functools.partial(blend or _source, value)) for site, value in values.items()
    )


def attention_weights(
    q: Float[Array, "b n heads d"], k: Float[Array, "b m heads d"]
) -> Float[Array, "b heads n m"]:
    """softmax(q k^T / sqrt(d)) in float32: how much each query attends to each position.

    With the values, `jnp.einsum("bhnm,bmhd->bnhd", weights, v)`, it is the attention.
    """
    q, k = q.astype(jnp.float32), k.astype(jnp.float32)
    logits = jnp.einsum("bnhd,bmhd->bhnm", q, k) / jnp.sqrt(q.shape[-1])
    return jax.nn.softmax(logits, axis=-1)


def slerp_features(
    source: Float[Array, "b ..."], target: Float[Array, "b ..."], strength: Float[Array, "..."]
) -> Float[Array, "b ..."]:
    """Spherical interpolation from the target's features to the source's, of the target's norm.

    The content injection of Jeong, Kwon and Uh (2024), on the bottleneck: the source is first
    scaled to the target's norm, sample by sample. strength: 0 is the target itself, 1 the source's
    direction; a scalar, or [b] with one for each sample. Computed in float32 at least, returned in
    the target's dtype.
    """
    axes = tuple(range(1, target.ndim))
    dtype = jnp.promote_types(target.dtype, jnp.float32)
    a, b = target.astype(dtype), source.astype(dtype)
    norm = lambda h: jnp.sqrt(jnp.maximum(jnp.sum(h * h, axes, keepdims=True), _TINY))
    scale = norm(a) / norm(b)
    # Clipped, so that parallel features do not divide by sin(0).
    cosine = jnp.sum(a * (scale * b), axes, keepdims=True) / norm(a) ** 2
    angle = jnp.arccos(jnp.clip(cosine, -0.9999, 0.9999))
    strength = jnp.asarray(strength, dtype).reshape(-1, *[1] * len(axes))
    kept, taken = (jnp.sin(share * angle) / jnp.sin(angle) for share in (1 - strength, strength))
    return (kept * a + taken * scale * b).astype(target.dtype)


_TINY = 1e-30
"""Below any sum of squares that is told from 0 in float32."""


def _source(source: Array, target: Array) -> Array:
    return source


@dataclass(frozen=True)
class _Halves:
    site: str
    blend: Blend

    def __call__(self, value: Array) -> Array:
        if len(value) % 2:
            raise ValueError(
                f"A hook hands '{self.site}' from the first half of a batch to the second, and the"
                f" batch is {len(value)}; give the sources, then as many targets."
            )
        source, target = jnp.split(value, 2)
        return jnp.concatenate([source, self.blend(source, target).astype(value.dtype)])


@dataclass
class _Interception:
    """An interceptor of flax: applies the hooks, stores the values at `wanted` sites."""

    hooks: Sequence[Hook] = ()
    wanted: Collection[str] = ()
    found: dict[str, jax.ShapeDtypeStruct] = field(default_factory=dict)
    operations: set[str] = field(default_factory=set)
    names: dict[tuple[str, ...], str] = field(default_factory=dict)

    @contextmanager
    def active(self) -> Iterator[None]:
        with nn.intercept_methods(self):
            yield
        for hook in self.hooks:
            self._check(hook.site, {*self.found, *self.operations})
        for site in self.wanted:
            self._check(site, set(self.found))

    def __call__(self, proceed: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
        module, method = context.module, context.method_name
        # `nn.Embed` has an `attend` too, of one argument.
        if method == "attend" and len(args) == 3 and module.path:
            return self._attend(proceed, args, module)
        value = proceed(*args, **kwargs)
        if method == "__call__" and module.path and isinstance(value, jax.Array):
            return self._at(module, _OUTPUT, value)
        return value

    def _attend(self, proceed: Callable, args: tuple, module: nn.Module) -> Array:
        operation = ".".join((*module.path, "attend"))
        self.operations.add(operation)
        given = [self._at(module, part, value) for part, value in zip(_GIVEN, args, strict=True)]
        edits = [hook.edit for hook in self.hooks if hook.site == operation]
        if not edits:
            return self._at(module, "attention", proceed(*given))
        query = given[0]
        value = _fitting(edits[-1](*given), query, operation)
        return self._at(module, "attention", value)

    def _at(self, module: nn.Module, part: str, value: Array) -> Array:
        site = ".".join(module.path if part == _OUTPUT else (*module.path, part))
        for hook in self.hooks:
            if hook.site == site:
                value = _fitting(hook.edit(value), value, site)
        self.found[site] = jax.ShapeDtypeStruct(value.shape, value.dtype)
        if site in self.wanted:
            self.names[*module.path, part] = site
            last = {"init_fn": lambda: None, "reduce_fn": lambda _, new: new}
            module.sow(_COLLECTION, part, value, **last)
        return value

    def _check(self, site: str, known: set[str]) -> None:
        if site in known:
            return
        if site in self.operations:
            raise ValueError(
                f"'{site}' is an operation: a hook may replace it, but there is no value to read;"
                f" read '{site.removesuffix('attend')}attention', what it returns."
            )
        near = difflib.get_close_matches(site, sorted(known), n=3)
        names = f"the nearest are {', '.join(near)}" if near else "none has a name like it"
        raise ValueError(
            f"The network has no site '{site}'; {names}. `sites` of `ddib_jax.nets.hooks` lists"
            " all of them."
        )


def _fitting(new: Array, old: Array, site: str) -> Array:
    if new.shape != old.shape:
        raise ValueError(
            f"A hook returned an array of shape {new.shape} for '{site}', where the network goes on"
            f" with {old.shape}; an edit keeps the shape."
        )
    return new.astype(old.dtype)

"""Conditions of a network, held to its `condition_spec` and repeated over a batch."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ddib_jax.types import Cond


def check_condition(spec: PyTree[jax.ShapeDtypeStruct] | None, cond: Cond) -> None:
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


def one_each(spec: PyTree[jax.ShapeDtypeStruct] | None, cond: Cond, count: int) -> Cond:
    """The condition with a row for each of `count` images, every leaf [count ...]."""
    check_condition(spec, cond)

    def rows(leaf: Any, expected: jax.ShapeDtypeStruct) -> Array:
        leaf = jnp.asarray(leaf)
        if leaf.ndim > len(expected.shape) and len(leaf) != count:
            raise ValueError(
                f"There are conditions for {len(leaf)} images, and {count} images; give one for"
                " each, or one for all."
            )
        return jnp.broadcast_to(leaf, (count, *expected.shape))

    return jax.tree.map(rows, cond, spec)


def repeated(x: Array, count: int) -> Array:
    """x [b ...] `count` times, one after the other."""
    return jnp.concatenate([x] * count) if count > 1 else x

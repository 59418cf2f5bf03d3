"""Attention of every network of the package, by the fastest way that the device has."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_WIDEST = {8: 128, 9: 256}
"""Generation of an NVIDIA GPU, Ampere and Hopper -> the widest head that cuDNN attends with."""


def attention(
    q: Float[Array, "b n heads d"],
    k: Float[Array, "b m heads d"],
    v: Float[Array, "b m heads d"],
    *,
    causal: bool = False,
) -> Float[Array, "b n heads d"]:
    """softmax(q k^T / sqrt(d)) v in each head: n queries over m positions.

    The softmax is in float32. causal: position i attends to those up to i alone. On NVIDIA GPUs
    from Ampere on, 16-bit heads of a width that cuDNN knows are attended with by its flash
    attention, which never holds the weights [b heads n m]; everywhere else XLA does it, and it
    computes all derivatives.
    """
    plain = functools.partial(jax.nn.dot_product_attention, is_causal=causal, implementation="xla")
    flash = q.dtype in (jnp.bfloat16, jnp.float16) and q.shape[-1] % 8 == 0
    if not flash or q.shape[-1] > _widest_head():
        return plain(q, k, v)
    return _transformable(functools.partial(plain, implementation="cudnn"), plain)(q, k, v)


def _transformable(fused: Callable, plain: Callable) -> Callable:
    """cuDNN's attention under every transform of JAX, with the derivatives of the plain one.

    Alone it has no forward derivative, and no `vmap` over some of its arguments and not others.
    """

    @jax.custom_batching.custom_vmap
    def mapped(*parts: Array) -> Array:
        return fused(*parts)

    @mapped.def_vmap
    def _(size: int, are_mapped: Sequence[bool], *parts: Array) -> tuple[Array, bool]:
        rows = [
            part if is_mapped else jnp.broadcast_to(part, (size, *part.shape))
            for part, is_mapped in zip(parts, are_mapped, strict=True)
        ]
        merged = (part.reshape(-1, *part.shape[2:]) for part in rows)
        return mapped(*merged).reshape(rows[0].shape), True

    @jax.custom_jvp
    def attend(*parts: Array) -> Array:
        return mapped(*parts)

    @attend.defjvp
    def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
        # The value is cuDNN's under a derivative too: an iteration may compare it with a plain one.
        return attend(*primals), jax.jvp(plain, primals, tangents)[1]

    return attend


def _widest_head() -> int:
    """The widest head that cuDNN attends with on the default device; 0 where it has none."""
    # Only GPUs have one; of NVIDIA it is "9.0", of AMD "gfx90a".
    capability = getattr(jax.local_devices()[0], "compute_capability", "")
    generation = capability.partition(".")[0]
    if not generation.isdigit():
        return 0
    return max((width for since, width in _WIDEST.items() if int(generation) >= since), default=0)

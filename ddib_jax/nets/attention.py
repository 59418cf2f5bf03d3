"""Attention of every network of the package, by the fastest way that the device has."""

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

    The softmax is in float32. causal: position i attends to those up to i alone.
    On NVIDIA GPUs from Ampere on, 16-bit heads of a width that cuDNN knows are attended to by its
    flash attention, which never holds the weights [b heads n m]; everywhere else XLA does it.
    """
    flash = q.dtype in (jnp.bfloat16, jnp.float16) and q.shape[-1] % 8 == 0
    flash = flash and q.shape[-1] <= _widest_head()
    implementation = "cudnn" if flash else "xla"
    return jax.nn.dot_product_attention(q, k, v, is_causal=causal, implementation=implementation)


def _widest_head() -> int:
    """The widest head that cuDNN attends with on the default device; 0 where it has none."""
    # Only GPUs have one; of NVIDIA it is "9.0", of AMD "gfx90a".
    capability = getattr(jax.devices()[0], "compute_capability", "")
    generation = capability.partition(".")[0]
    if not generation.isdigit():
        return 0
    return max((width for since, width in _WIDEST.items() if int(generation) >= since), default=0)

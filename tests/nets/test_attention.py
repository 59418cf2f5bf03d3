"""One attention for all networks: what it computes, and which way it takes on which device."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.nets.attention import attention
from ddib_jax.nets.hooks import attention_weights


def heads(dtype=jnp.float32, *, width=8, positions=(5, 7)):
    rng = np.random.default_rng(0)
    n, m = positions
    shapes = ((2, n, 3, width), (2, m, 3, width), (2, m, 3, width))
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def test_it_is_the_weighted_mean_of_the_values():
    q, k, v = heads()
    expected = jnp.einsum("bhnm,bmhd->bnhd", attention_weights(q, k), v)
    np.testing.assert_allclose(attention(q, k, v), expected, atol=1e-5)


def test_causal_positions_see_none_after_them():
    q, k, v = heads(positions=(6, 6))
    weights = jnp.tril(attention_weights(q, k))
    weights /= weights.sum(-1, keepdims=True)
    expected = jnp.einsum("bhnm,bmhd->bnhd", weights, v)
    np.testing.assert_allclose(attention(q, k, v, causal=True), expected, atol=1e-5)


def test_the_softmax_is_in_float32():
    """In bfloat16 a thousand equal weights would not sum to one."""
    q = jnp.zeros((1, 1, 1, 8), jnp.bfloat16)
    k, v = jnp.zeros((1, 1000, 1, 8), jnp.bfloat16), jnp.ones((1, 1000, 1, 8), jnp.bfloat16)
    np.testing.assert_allclose(attention(q, k, v).astype(jnp.float32), 1.0, rtol=5e-3)


@pytest.mark.parametrize(
    ("capability", "dtype", "width", "expected"),
    [
        (None, jnp.bfloat16, 64, "xla"),  # a CPU or a TPU
        ("gfx90a", jnp.bfloat16, 64, "xla"),  # AMD
        ("7.5", jnp.float16, 64, "xla"),
        ("8.0", jnp.bfloat16, 40, "cudnn"),
        ("8.6", jnp.float16, 160, "xla"),
        ("9.0", jnp.bfloat16, 160, "cudnn"),
        ("12.0", jnp.bfloat16, 512, "xla"),
        ("9.0", jnp.bfloat16, 12, "xla"),
        ("9.0", jnp.float32, 64, "xla"),
    ],
)
def test_cudnn_is_taken_where_it_can(monkeypatch, capability, dtype, width, expected):
    device = SimpleNamespace(**{} if capability is None else {"compute_capability": capability})
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    taken = []

    def recorded(q, k, v, *, is_causal, implementation):
        taken.append((is_causal, implementation))
        return q

    monkeypatch.setattr(jax.nn, "dot_product_attention", recorded)
    attention(*heads(dtype, width=width, positions=(4, 4)), causal=True)
    assert taken == [(True, expected)]


@pytest.mark.slow
@pytest.mark.parametrize("causal", [False, True])
def test_transforms_of_what_cudnn_computes(monkeypatch, causal):
    """As cuDNN's: no forward derivative, and a `vmap` over all three arguments or none."""
    xla = jax.nn.dot_product_attention

    @jax.custom_vjp
    def fused(q, k, v):
        assert q.ndim == k.ndim == v.ndim == 4
        return xla(q, k, v, is_causal=causal)

    fused.defvjp(lambda *given: (fused(*given), None), lambda *_: pytest.fail("not asked"))

    def either(q, k, v, *, is_causal, implementation):
        assert is_causal == causal
        return fused(q, k, v) if implementation == "cudnn" else xla(q, k, v, is_causal=causal)

    q, k, v = heads(jnp.bfloat16, positions=(6, 6))
    more = jnp.stack([q, 2 * q, -q])

    def transformed(q, k, v):
        attend = lambda q, k, v: attention(q, k, v, causal=causal)
        energy = lambda *given: jnp.sum(attend(*given).astype(jnp.float32) ** 2)
        mapped = jax.vmap(attend, (0, None, None))(more, k, v)
        nested = jax.vmap(lambda q: jax.vmap(attend, (None, 1, 1))(q, k[:, None], v[:, None]))(more)
        slopes = jax.vmap(jax.grad(energy, (0, 1, 2)), (0, None, None))(more, k, v)
        value, linear = jax.linearize(attend, q, k, v)
        twice = jax.jvp(jax.grad(energy), (q, k, v), (q, k, v))
        return mapped, nested, slopes, value, linear(k, v, q), twice

    expected = jax.jit(transformed)(q, k, v)
    monkeypatch.setattr(jax.nn, "dot_product_attention", either)
    device = SimpleNamespace(compute_capability="9.0")
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    found = jax.jit(lambda *given: transformed(*given))(q, k, v)
    same = lambda a, b: np.testing.assert_allclose(
        a.astype(jnp.float32), b.astype(jnp.float32), rtol=0.02, atol=0.02
    )
    jax.tree.map(same, found, expected)

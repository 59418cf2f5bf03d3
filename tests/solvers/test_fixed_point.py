"""Fixed points by Anderson acceleration and Newton's method."""

import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.solvers import FixedPoint

pytestmark = pytest.mark.usefixtures("strict")


def linear(rate):
    """x -> M x + b, whose fixed point is known; M has its eigenvalues up to `rate` in size."""
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    matrix = jnp.asarray(basis @ np.diag(np.linspace(-rate, rate, 6)) @ basis.T)
    shift = jnp.asarray(rng.normal(size=(3, 6)))
    return (lambda x: x @ matrix.T + shift), jnp.linalg.solve(jnp.eye(6) - matrix, shift.T).T


def test_anderson_beats_plain_iteration():
    g, truth = linear(0.9)
    found = FixedPoint(newton=0, memory=6, passes=40)(g, jnp.zeros((3, 6)))
    assert float(jnp.abs(found.x - truth).max()) < 1e-10
    plain = jnp.zeros((3, 6))
    for _ in range(int(found.evaluations)):
        plain = g(plain)
    assert float(jnp.abs(plain - truth).max()) > 1e-3


def test_newton_where_iteration_does_not_contract():
    g, truth = linear(3.0)
    alone = FixedPoint(newton=0, memory=1, passes=10)(g, jnp.zeros((3, 6)))
    assert float(alone.residual.max()) > 1e-3
    found = FixedPoint(newton=3, memory=1, passes=10)(g, jnp.zeros((3, 6)))
    assert float(jnp.abs(found.x - truth).max()) < 1e-10
    assert int(found.evaluations) > int(alone.evaluations)


def test_members_do_not_disturb_each_other():
    """A member without a fixed point leaves the others theirs, and has a large residual."""
    g = lambda x: jnp.where(jnp.arange(3)[:, None] == 1, x + 1.0, jnp.cos(x))
    found = FixedPoint(newton=0)(g, jnp.zeros((3, 2)))
    assert float(jnp.abs(found.x[jnp.asarray([0, 2])] - 0.7390851332151607).max()) < 1e-8
    assert float(found.residual[1]) > 1e-3 > float(found.residual[0])

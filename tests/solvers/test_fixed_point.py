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


@pytest.mark.slow
def test_members_do_not_disturb_each_other():
    """A member without a fixed point leaves the others theirs, and has a large residual."""
    g = lambda x: jnp.where(jnp.arange(3)[:, None] == 1, x + 1.0, jnp.cos(x))
    found = FixedPoint(newton=0)(g, jnp.zeros((3, 2)))
    assert float(jnp.abs(found.x[jnp.asarray([0, 2])] - 0.7390851332151607).max()) < 1e-8
    assert float(found.residual[1]) > 1e-3 > float(found.residual[0])


@pytest.mark.slow
def test_a_member_that_diverges_ends_nobody_elses_iteration():
    """Not Anderson's, and not Newton's, whose Krylov spaces are of one member each."""
    rng = np.random.default_rng(1)
    basis, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    matrix = jnp.asarray(basis @ np.diag(np.linspace(-3, 3, 6)) @ basis.T)
    shift = jnp.asarray(rng.normal(size=(3, 6)))
    truth = jnp.linalg.solve(jnp.eye(6) - matrix, shift.T).T

    def g(x):
        lost = jnp.where(jnp.abs(x) > 3, jnp.inf, 2 * x + 1)
        return jnp.where(jnp.arange(3)[:, None] == 1, lost, x @ matrix.T + shift)

    found = FixedPoint(newton=3, memory=1, passes=6)(g, jnp.zeros((3, 6)))
    others = jnp.asarray([0, 2])
    assert float(jnp.abs((found.x - truth)[others]).max()) < 1e-9
    contracting = lambda x: jnp.where(jnp.arange(2)[:, None] == 1, x * 1e200, jnp.cos(x))
    found = FixedPoint(newton=0, passes=60)(contracting, jnp.ones((2, 4)))
    assert float(jnp.abs(found.x[0] - 0.7390851332151607).max()) < 1e-8


def test_a_start_without_a_value_is_left():
    """Any number is better than none."""
    g = lambda x: jnp.where(x == 0, jnp.nan, jnp.cos(x))
    found = FixedPoint(newton=3)(g, jnp.full((1, 4), 1.0))
    assert float(jnp.abs(found.x - 0.7390851332151607).max()) < 1e-8

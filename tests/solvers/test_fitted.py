"""A method of given weights: it is the method that they come from, on its grid."""

import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.solvers import Fitted, get_solver, solve, solve_path

GRID = np.array([0.1, 0.2, 0.5, 1.1, 3.0])


def slope(t, y):
    """A field of the form (y - d) / t with a curved d."""
    return (y - jnp.sin(y) * jnp.cos(t)) / t


def weights_of_2m(grid):
    """DPM-Solver++(2M) over a grid, a row a step."""
    logs, rows = np.log(grid), []
    for k, h in enumerate(np.diff(logs)):
        row = np.zeros(k + 1)
        row[0] = np.exp(h)
        if k:
            row[-1] += np.expm1(h) * h / (2 * (logs[k] - logs[k - 1]))
        rows.append(tuple(row))
    return tuple(rows)


@pytest.fixture
def method():
    return Fitted(weights_of_2m(GRID), weights_of_2m(GRID[::-1]))


@pytest.mark.parametrize("step", [1, -1], ids=["rising", "falling"])
def test_it_is_the_method_that_its_weights_are_of(double, method, step):
    y0, ts = jnp.asarray([[0.3, -1.2], [2.0, 0.7]]), jnp.asarray(GRID[::step])
    expected = solve(get_solver("dpmpp-2m"), slope, y0, ts)
    made = solve(method, slope, y0, ts)
    np.testing.assert_allclose(made.y, expected.y, rtol=1e-12)
    assert int(made.evaluations) == 4
    np.testing.assert_allclose(solve_path(method, slope, y0, ts)[-1], expected.y, rtol=1e-12)


def test_what_stands_still_stays_whatever_the_weights_are():
    rng = np.random.default_rng(0)
    rows = tuple(tuple(rng.normal(size=k + 1).tolist()) for k in range(4))
    y0 = jnp.asarray([[0.5, 2.0]])
    made = solve(Fitted(rows, rows), lambda t, y: jnp.zeros_like(y), y0, jnp.asarray(GRID))
    np.testing.assert_allclose(made.y, y0, rtol=1e-5)


@pytest.mark.parametrize(
    "tables",
    [
        (((1.0,), (1.0,)), ((1.0,), (1.0, 0.0))),
        (((1.0,),), ((1.0,), (1.0, 0.0))),
        (((1.0, 2.0),), ((1.0, 2.0),)),
    ],
)
def test_weights_of_other_numbers_are_refused(tables):
    with pytest.raises(ValueError, match=r"as many steps up as down, k \+ 1 for step k"):
        Fitted(*tables)

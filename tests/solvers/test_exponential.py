"""The exponential form says what the method that it wraps says."""

import jax.numpy as jnp
import pytest

from ddib_jax.solvers import (
    ExactInverse,
    Exponential,
    FixedPoint,
    ImplicitMidpoint,
    solve,
    solved,
)

TS = jnp.geomspace(0.01, 10, 6)


@pytest.mark.slow
def test_a_residual_passes_through():
    f = lambda t, y: y / (1 + t**2)
    for fixed_point, good in ((FixedPoint(), True), (FixedPoint(passes=1, newton=0), False)):
        method = ImplicitMidpoint(fixed_point)
        solver = Exponential(method)
        solution = solve(solver, f, jnp.ones((2, 3)), TS)
        assert solver.tolerance == method.tolerance
        assert bool(solved(solver, solution).all()) == good
        assert float(solution.residual.max()) > 0
        assert int(solution.evaluations) >= 5


def test_a_method_of_the_whole_grid_has_no_such_form():
    with pytest.raises(ValueError, match="takes the grid as a whole"):
        Exponential(ExactInverse())

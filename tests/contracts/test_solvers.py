"""Every registered solver: its order by regression both ways, its evaluations, its inverse."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.solvers import (
    EULER,
    HEUN,
    SOLVERS,
    backward,
    get_solver,
    solve,
    solve_path,
)

pytestmark = pytest.mark.usefixtures("strict")


def slope(t, y):
    """A non-linear, non-autonomous problem, y' = y cos(t) / t + 0.1 y^2 / t^2."""
    return y * jnp.cos(t) / t + 0.1 * y**2 / t**2


def solved_over(solver, y0, start, stop, steps):
    ts = jnp.exp(jnp.linspace(jnp.log(start), jnp.log(stop), steps + 1)) + 0.01 * jnp.sin(
        jnp.linspace(0.0, jnp.pi, steps + 1)
    )
    return solve(solver, slope, y0, ts).y


STEPS = {
    "bdia": (1000, 2000, 4000, 8000),
    "exp-rk4": (20, 40, 80, 160),
    "rex-rk4": (20, 40, 80, 160),
}
"""Where the leading term of the error shows: BDIA's is (1 - gamma) / (1 + gamma) times Euler's."""
REVERSIBLE = [name for name, solver in SOLVERS.items() if solver.inverse is not None]
IMPLICIT = [name for name, solver in SOLVERS.items() if solver.tolerance is not None]
EVERY = [
    pytest.param(name, marks=pytest.mark.slow) if name in IMPLICIT else name for name in SOLVERS
]
"""All names; the implicit ones, whose programs are large, are slow."""


@pytest.mark.parametrize("ends", [(1.0, 3.0), (3.0, 1.0)], ids=["rising", "falling"])
@pytest.mark.parametrize("name", EVERY)
def test_order(name, ends):
    solver, y0 = SOLVERS[name], jnp.asarray([[0.5], [1.5]])
    truth = solved_over(SOLVERS["rk4"], y0, *ends, 3000)
    steps = np.array(STEPS.get(name, (40, 80, 160, 320)))
    errors = [float(jnp.abs(solved_over(solver, y0, *ends, int(n)) - truth).max()) for n in steps]
    order = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(order - solver.order) < 0.25, f"{name} of order {solver.order} measures {order:.2f}"


def counted():
    """The slope, and a list that grows by one at each of its evaluations as the program runs."""
    calls = []

    def f(t, y):
        jax.debug.callback(lambda: calls.append(1))
        return slope(t, y)

    return f, calls


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SOLVERS if name not in IMPLICIT])
def test_evaluations(name):
    """Of a whole run, with what the solver does at its start, as it says before and after."""
    solver = SOLVERS[name]
    for steps in (1, 2, 6):
        f, calls = counted()
        solution = solve(solver, f, jnp.ones((1, 2)), jnp.linspace(1.0, 1.5, steps + 1))
        jax.block_until_ready(solution)
        jax.effects_barrier()
        assert len(calls) == solver.evaluations(steps) == int(solution.evaluations)
        assert not solution.residual.any()


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_one_program_serves_any_number_of_steps(name):
    """On a grid padded beyond its end as on the grid itself, forward and backward."""
    solver, y0, traces, ends = SOLVERS[name], jnp.asarray([[0.5, 1.5]]), [], (1.0, 3.0)

    @jax.jit
    def run(ts, steps):
        traces.append(1)
        return solve(solver, slope, y0, ts, steps=steps)

    for steps in (4, 6):
        ts = jnp.geomspace(*ends, steps + 1)
        padded = jnp.concatenate([ts, jnp.full(8 - steps, ts[-1])])
        end, truth = run(padded, steps), solve(solver, slope, y0, ts)
        assert jnp.abs(end.y - truth.y).max() < 1e-12
        assert abs(int(end.evaluations) - int(truth.evaluations)) <= (
            0 if name not in IMPLICIT else 3
        )
        back = backward(padded, steps=jnp.asarray(steps))
        assert jnp.array_equal(back[: steps + 1], ts[::-1])
        if name in REVERSIBLE:
            start = solve(solver.inverse, slope, end.y, back, aux=end.aux, steps=steps)
            assert jnp.abs(start.y - y0).max() < 1e-12
    assert len(traces) == 1


@pytest.mark.slow
@pytest.mark.parametrize("ends", [(1.0, 2.0), (2.0, 1.0)], ids=["rising", "falling"])
@pytest.mark.parametrize("name", IMPLICIT)
def test_implicit_solvers_count_their_evaluations(name, ends):
    f, calls = counted()
    end = solve(SOLVERS[name], f, jnp.ones((1, 2)), jnp.linspace(*ends, 6))
    jax.effects_barrier()
    assert len(calls) == int(end.evaluations)
    assert end.residual.shape == (1,)
    assert float(end.residual[0]) < 1e-13


@pytest.mark.parametrize("ends", [(1.0, 3.0), (3.0, 1.0)], ids=["rising", "falling"])
@pytest.mark.parametrize("name", REVERSIBLE)
def test_reversible_solvers_give_the_state_back(name, ends):
    """From the pair, to rounding, at steps far too long for accuracy; and the pair once more."""
    solver, y0, ts = SOLVERS[name], jnp.asarray([[0.5, 1.5]]), jnp.geomspace(*ends, 6)
    end = solve(solver, slope, y0, ts)
    back = solve(solver.inverse, slope, end.y, ts[::-1], aux=end.aux)
    again = solve(solver, slope, back.y, ts, aux=back.aux)
    assert jnp.abs(back.y - y0).max() < 1e-13
    assert jnp.abs(again.y - end.y).max() < 1e-13
    assert float(jnp.abs(again.aux - end.aux).max()) < 1e-13
    # the first state alone is not enough
    assert jnp.abs(solve(solver, slope, end.y, ts[::-1]).y - y0).max() > 1e-9


@pytest.mark.parametrize("name", [name for name in SOLVERS if name not in REVERSIBLE])
def test_an_auxiliary_state_of_no_use_is_refused(name):
    with pytest.raises(ValueError, match="no auxiliary state to start from"):
        solve(
            SOLVERS[name], slope, jnp.ones((1, 2)), jnp.linspace(1.0, 2.0, 3), aux=jnp.ones((1, 2))
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_the_path_ends_where_the_solution_does(name):
    solver, y0, ts = SOLVERS[name], jnp.asarray([[0.5, 1.5]]), jnp.geomspace(1.0, 3.0, 6)
    if name == "exact-dpmpp-2m":
        with pytest.raises(ValueError, match="no states between the ends"):
            solve_path(solver, slope, y0, ts)
        return
    path = solve_path(solver, slope, y0, ts)
    assert jnp.array_equal(path[0], y0)
    assert jnp.abs(path[-1] - solve(solver, slope, y0, ts).y).max() < 1e-13


@pytest.mark.slow
@pytest.mark.parametrize("ends", [(1.0, 3.0), (3.0, 1.0)], ids=["rising", "falling"])
@pytest.mark.parametrize("name", IMPLICIT)
def test_implicit_solvers_give_the_state_back_without_a_second_state(name, ends):
    solver, y0, ts = SOLVERS[name], jnp.asarray([[0.5, 1.5], [0.1, 0.2]]), jnp.geomspace(*ends, 6)
    back = solve(solver, slope, solve(solver, slope, y0, ts).y, ts[::-1]).y
    assert jnp.abs(back - y0).max() < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_eager_jit_and_vmap_agree(name):
    solver, ts = SOLVERS[name], jnp.linspace(1.0, 2.0, 6)
    batch = jnp.asarray([[[0.5, 1.5]], [[1.0, 2.0]]])
    run = lambda y: solve(solver, slope, y, ts).y
    eager = jnp.stack([run(y) for y in batch])
    assert jnp.allclose(jax.jit(run)(batch), eager, rtol=1e-12)
    assert jnp.allclose(jax.vmap(run)(batch), eager, rtol=1e-12)


def test_one_program_serves_both_directions():
    traces = 0

    @jax.jit
    def run(y, ts):
        nonlocal traces
        traces += 1
        return solve(HEUN, slope, y, ts).y

    ts = jnp.linspace(1.0, 3.0, 11)
    back = run(run(jnp.ones(2), ts), ts[::-1])
    assert traces == 1
    assert jnp.abs(back - 1).max() < 1e-2


def test_ddim_is_euler():
    """DDIM's update in x_t (Song et al. 2021, eq. 12, eta 0) is Euler's in x = x_t / alpha_t."""
    bars = jnp.asarray([0.02, 0.1, 0.5, 0.9, 0.999])
    sigmas = jnp.sqrt(1 / bars - 1)
    eps = lambda x_t, bar: jnp.tanh(x_t) * bar  # any noise prediction
    x_t = jnp.asarray([0.3, -1.2])
    start = x_t / jnp.sqrt(bars[0])
    for bar, after in itertools.pairwise(bars):
        noise = eps(x_t, bar)
        clean = (x_t - jnp.sqrt(1 - bar) * noise) / jnp.sqrt(bar)
        x_t = jnp.sqrt(after) * clean + jnp.sqrt(1 - after) * noise
    slope_of_eps = lambda s, x: eps(x / jnp.sqrt(1 + s**2), 1 / (1 + s**2))
    euler = solve(EULER, slope_of_eps, start, sigmas).y * jnp.sqrt(bars[-1])
    assert SOLVERS["ddim"] is EULER
    assert jnp.abs(euler - x_t).max() < 1e-13


def test_unknown_solver_is_refused_with_the_list():
    with pytest.raises(ValueError, match="'leapfrog'; known are euler, ddim"):
        get_solver("leapfrog")

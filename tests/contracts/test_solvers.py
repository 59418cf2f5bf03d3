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
    count,
    get_solver,
    is_implicit,
    is_reversible,
    odeint,
    odeint_effort,
    odeint_pair,
)

pytestmark = pytest.mark.usefixtures("strict")


def slope(t, y):
    """A non-linear, non-autonomous problem, y' = y cos(t) / t + 0.1 y^2 / t^2."""
    return y * jnp.cos(t) / t + 0.1 * y**2 / t**2


def solve(solver, y0, start, stop, steps):
    ts = jnp.exp(jnp.linspace(jnp.log(start), jnp.log(stop), steps + 1)) + 0.01 * jnp.sin(
        jnp.linspace(0.0, jnp.pi, steps + 1)
    )
    return odeint(solver, slope, y0, ts)


STEPS = {
    "bdia": (1000, 2000, 4000, 8000),
    "exp-rk4": (20, 40, 80, 160),
    "rex-rk4": (20, 40, 80, 160),
}
"""Where the leading term of the error shows: BDIA's is (1 - gamma) / (1 + gamma) times Euler's."""
REVERSIBLE = [name for name, solver in SOLVERS.items() if is_reversible(solver)]
IMPLICIT = [name for name, solver in SOLVERS.items() if is_implicit(solver)]


@pytest.mark.parametrize("ends", [(1.0, 3.0), (3.0, 1.0)], ids=["rising", "falling"])
@pytest.mark.parametrize("name", SOLVERS)
def test_order(name, ends):
    solver, y0 = SOLVERS[name], jnp.asarray([[0.5], [1.5]])
    truth = solve(SOLVERS["rk4"], y0, *ends, 3000)
    steps = np.array(STEPS.get(name, (40, 80, 160, 320)))
    errors = [float(jnp.abs(solve(solver, y0, *ends, int(n)) - truth).max()) for n in steps]
    order = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(order - solver.order) < 0.25, f"{name} of order {solver.order} measures {order:.2f}"


def counted():
    """The slope, and a list that grows by one at each of its evaluations as the program runs."""
    calls = []

    def f(t, y):
        jax.debug.callback(lambda: calls.append(1))
        return slope(t, y)

    return f, calls


@pytest.mark.parametrize("name", [name for name in SOLVERS if name not in IMPLICIT])
def test_evaluations(name):
    """Of a step, and of a whole run with what the solver does at its start."""
    calls = {}
    for steps in (1, 5, 6):
        f, evaluations = counted()
        jax.block_until_ready(
            odeint(SOLVERS[name], f, jnp.ones((1, 2)), jnp.linspace(1.0, 1.5, steps + 1))
        )
        jax.effects_barrier()
        calls[steps] = len(evaluations)
    assert calls[6] - calls[5] == SOLVERS[name].evaluations
    assert calls == {steps: count(SOLVERS[name], steps) for steps in calls}


@pytest.mark.parametrize("name", SOLVERS)
def test_one_program_serves_any_number_of_steps(name):
    """On a grid padded beyond its end as on the grid itself, forward and backward."""
    solver, y0, traces, ends = SOLVERS[name], jnp.asarray([[0.5, 1.5]]), [], (1.0, 3.0)

    @jax.jit
    def run(ts, steps):
        traces.append(1)
        return odeint(solver, slope, y0, ts, steps=steps)

    for steps in (4, 6):
        ts = jnp.geomspace(*ends, steps + 1)
        padded = jnp.concatenate([ts, jnp.full(8 - steps, ts[-1])])
        assert jnp.abs(run(padded, steps) - odeint(solver, slope, y0, ts)).max() < 1e-12
        back = backward(padded, steps=jnp.asarray(steps))
        assert jnp.array_equal(back[: steps + 1], ts[::-1])
        if is_reversible(solver):
            y, second = odeint_pair(solver, slope, y0, padded, steps=steps)
            start, _ = odeint_pair(solver.inverse, slope, y, back, second=second, steps=steps)
            assert jnp.abs(start - y0).max() < 1e-12
    assert len(traces) == 1


@pytest.mark.parametrize("ends", [(1.0, 2.0), (2.0, 1.0)], ids=["rising", "falling"])
@pytest.mark.parametrize("name", IMPLICIT)
def test_implicit_solvers_count_their_evaluations(name, ends):
    f, calls = counted()
    _, residual, evaluations = odeint_effort(
        SOLVERS[name], f, jnp.ones((1, 2)), jnp.linspace(*ends, 6)
    )
    jax.effects_barrier()
    assert len(calls) == int(evaluations)
    assert residual.shape == (1,)
    assert float(residual[0]) < 1e-13


@pytest.mark.parametrize("ends", [(1.0, 3.0), (3.0, 1.0)], ids=["rising", "falling"])
@pytest.mark.parametrize("name", REVERSIBLE)
def test_reversible_solvers_give_the_state_back(name, ends):
    """From the pair, to rounding, at steps far too long for accuracy; and the pair once more."""
    solver, y0, ts = SOLVERS[name], jnp.asarray([[0.5, 1.5]]), jnp.geomspace(*ends, 6)
    pair = odeint_pair(solver, slope, y0, ts)
    back = odeint_pair(solver.inverse, slope, pair[0], ts[::-1], second=pair[1])
    again = odeint_pair(solver, slope, back[0], ts, second=back[1])
    assert jnp.abs(back[0] - y0).max() < 1e-13
    assert jnp.abs(jnp.stack(again) - jnp.stack(pair)).max() < 1e-13
    # the first state alone is not enough
    assert jnp.abs(odeint(solver, slope, pair[0], ts[::-1]) - y0).max() > 1e-9


@pytest.mark.parametrize("ends", [(1.0, 3.0), (3.0, 1.0)], ids=["rising", "falling"])
@pytest.mark.parametrize("name", IMPLICIT)
def test_implicit_solvers_give_the_state_back_without_a_second_state(name, ends):
    solver, y0, ts = SOLVERS[name], jnp.asarray([[0.5, 1.5], [0.1, 0.2]]), jnp.geomspace(*ends, 6)
    back = odeint(solver, slope, odeint(solver, slope, y0, ts), ts[::-1])
    assert jnp.abs(back - y0).max() < 1e-12


@pytest.mark.parametrize("name", SOLVERS)
def test_eager_jit_and_vmap_agree(name):
    solver, ts = SOLVERS[name], jnp.linspace(1.0, 2.0, 6)
    batch = jnp.asarray([[[0.5, 1.5]], [[1.0, 2.0]]])
    eager = jnp.stack([odeint(solver, slope, y, ts) for y in batch])
    assert jnp.allclose(jax.jit(lambda y: odeint(solver, slope, y, ts))(batch), eager, rtol=1e-12)
    assert jnp.allclose(jax.vmap(lambda y: odeint(solver, slope, y, ts))(batch), eager, rtol=1e-12)


def test_one_program_serves_both_directions():
    traces = 0

    @jax.jit
    def run(y, ts):
        nonlocal traces
        traces += 1
        return odeint(HEUN, slope, y, ts)

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
    euler = odeint(EULER, slope_of_eps, start, sigmas) * jnp.sqrt(bars[-1])
    assert SOLVERS["ddim"] is EULER
    assert jnp.abs(euler - x_t).max() < 1e-13


def test_unknown_solver_is_refused_with_the_list():
    with pytest.raises(ValueError, match="'leapfrog'; known are euler, ddim"):
        get_solver("leapfrog")

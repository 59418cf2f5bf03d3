"""`ddib diagnose` on models that are exact, or wrong in a known way."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import diagnosis, schedules
from ddib_jax.analytic import mixture_model
from ddib_jax.bridge import Bridge
from ddib_jax.diagnosis import (
    PaddedGrid,
    RoundTrip,
    latent_checks,
    recommended,
    round_trips,
    sample_checks,
    steps_within,
)
from ddib_jax.diffusion import probability_flow
from ddib_jax.grids import make_grid
from ddib_jax.solvers import HEUN, SOLVERS, get_solver, solve

SHAPE = (8, 8, 1)


def gaussian(mean=0.2, variance=0.25):
    return mixture_model(
        jnp.full((1, *SHAPE), mean), jnp.asarray([variance]), schedule=schedules.EDM(0.05, 80.0)
    )


def images(count=64, mean=0.2, variance=0.25):
    return np.asarray(
        mean + np.sqrt(variance) * np.random.default_rng(0).normal(size=(count, *SHAPE)), np.float32
    )


def failed(checks):
    return {check.label for check in checks if not check.passed}


def test_an_exact_model_passes():
    bridge = Bridge.over(gaussian(), steps=40, grid="log-uniform")
    latents = diagnosis.noisy_latents(jax.random.key(0), bridge, images())
    assert abs(latents.var() - 1) < 0.05
    assert not failed(latent_checks(latents))
    assert not failed(sample_checks(images(32) * 0.98, images()))


@pytest.mark.parametrize(
    ("domain", "label"),
    [
        ({"mean": 1.0}, "Latent mean"),
        ({"variance": 1.0}, "Latent variance"),
        ({"variance": 0.01}, "Latent variance"),
    ],
)
def test_images_of_another_domain_are_found_out(domain, label):
    bridge = Bridge.over(gaussian(), steps=40, grid="log-uniform")
    latents = diagnosis.noisy_latents(jax.random.key(0), bridge, images(**domain))
    labels = failed(latent_checks(latents))
    assert label in labels
    assert "Latent, Kolmogorov–Smirnov distance" in labels


def test_faults_of_latents_are_told_apart():
    rng = np.random.default_rng(0)
    white = rng.normal(size=(64, *SHAPE))
    smooth = (white + np.roll(white, 1, axis=1)) / np.sqrt(2)
    heavy = np.where(rng.uniform(size=white.shape) < 0.02, 6 * white, 0.6 * white)
    tinted = white + 0.5 * rng.normal(size=(64, 1, 1, 1))
    assert failed(latent_checks(smooth)) == {"Latent, correlation of neighbours"}
    assert "Latent excess kurtosis" in failed(latent_checks(heavy))
    assert "Latent, deviation of its channel sums" in failed(latent_checks(tinted))


def test_grid_noise_is_no_sample():
    """A model that gives every image back may still generate such samples."""
    smooth = np.cumsum(np.cumsum(images(), axis=1), axis=2) * 0.2
    checks = sample_checks(
        np.random.default_rng(1).normal(size=smooth.shape) * smooth.std() + smooth.mean(), smooth
    )
    assert failed(checks) == {"Samples less images, correlation of neighbours"}


@pytest.mark.parametrize("name", ["ddim", "ab3", "dpmpp-3m", "reversible-heun", "coupled-rk4"])
def test_steps_fit_the_budget(name):
    solver = get_solver(name)
    for budget in (1, 5, 7, 20, 100):
        steps = steps_within(solver, budget)
        assert steps == 0 or solver.evaluations(steps) <= budget
        assert solver.evaluations(steps + 1) > budget


def test_a_padded_grid_has_the_end_of_the_grid():
    model, x = gaussian(), jnp.asarray(images(2))
    sigmas = make_grid("log-uniform", model.schedule, 7)
    solution, seconds = PaddedGrid.of(sigmas, 12).solve(HEUN, model, x, rising=True)
    truth = solve(HEUN, probability_flow(model), x, sigmas)
    np.testing.assert_allclose(solution.y, truth.y, rtol=1e-5)
    assert solution.evaluations == 14
    assert solution.aux is None
    assert seconds > 0


@pytest.mark.slow
def test_round_trips():
    trips = round_trips(
        gaussian(),
        jnp.asarray(images(4)),
        ("ddim", "rk4", "rex-midpoint", "implicit-midpoint"),
        (4, 40),
    )
    kinds = {(trip.solver, trip.with_aux) for trip in trips}
    assert kinds == {
        ("ddim", False),
        ("rk4", False),
        ("rex-midpoint", False),
        ("rex-midpoint", True),
        ("implicit-midpoint", False),
    }
    error = {(trip.solver, trip.with_aux, trip.steps): trip.error for trip in trips}
    assert error["rex-midpoint", True, 1] < 1e-5 < 0.05 < error["rex-midpoint", False, 1]
    assert error["rk4", False, 10] < error["ddim", False, 40] < error["ddim", False, 4]
    assert all(
        trip.evaluations == SOLVERS[trip.solver].evaluations(trip.steps)
        for trip in trips
        if SOLVERS[trip.solver].tolerance is None
    )
    assert all(trip.residual > 0 for trip in trips if trip.solver == "implicit-midpoint")


def test_the_cheapest_that_solves_the_ode_is_recommended():
    """A method that inverts itself well with a latent that is not the ODE's is passed over."""
    trip = functools.partial(RoundTrip, residual=0.0, seconds=1.0)
    trips = [
        trip("self-inverse", with_aux=False, steps=1, evaluations=5, error=1e-9, latent=0.9),
        trip("good", with_aux=False, steps=20, evaluations=20, error=5e-4, latent=0.01),
        trip(
            "unsolved", with_aux=False, steps=9, evaluations=9, error=0.0, latent=0.0, solved=False
        ),
        trip("better", with_aux=False, steps=40, evaluations=40, error=1e-5, latent=0.01),
        trip("reversible", with_aux=True, steps=5, evaluations=5, error=1e-7, latent=0.01),
    ]
    assert recommended(trips, 1e-3, 0.05).solver == "good"
    assert recommended(trips, 1e-4, 0.05).solver == "better"
    assert recommended(trips, 1e-6, 0.05) is None
    assert recommended(trips, 1e-6, 0.05, with_aux=True).solver == "reversible"


def test_memory():
    model = gaussian()
    weights, each = diagnosis.memory(model, HEUN, 8)
    assert weights == sum(leaf.nbytes for leaf in jax.tree.leaves(model))
    assert each >= 0

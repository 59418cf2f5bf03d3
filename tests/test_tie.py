"""Tied bridges: low frequencies are the source's, the rest the target's, and the pair inverts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ddib_jax
from ddib_jax import bridge
from ddib_jax.analytic import mixture_model
from ddib_jax.bridge import DDIB, Bridge, Tie
from ddib_jax.bridge.tie import projection
from ddib_jax.diffusion import probability_flow
from ddib_jax.perturbations import get_perturbation
from ddib_jax.solvers import get_solver, odeint

pytestmark = pytest.mark.usefixtures("double")

SHAPE = (8, 6, 2)


@pytest.fixture
def means():
    """The means of two mixtures of three Gaussians."""
    return [0.5 * np.random.default_rng(seed).normal(size=(3, *SHAPE)) for seed in (0, 1)]


@pytest.fixture
def legs(means):
    """Bridges between the mixtures."""
    return [
        Bridge.over(
            mixture_model(jnp.asarray(mean), jnp.full(3, 0.1)),
            steps=60,
            grid="log-uniform",
            solver=get_solver("rk4"),
        )
        for mean in means
    ]


@pytest.fixture
def images(means):
    """Images of the source."""
    noise = np.random.default_rng(2).normal(size=(5, *SHAPE))
    return means[0][[0, 1, 2, 0, 1]] + np.sqrt(0.1) * noise


def low(x, count):
    rows, columns = (projection(size, count) for size in SHAPE[:2])
    return np.einsum("ij,bjkc,kl->bilc", rows, x, columns)


@pytest.mark.parametrize(("size", "count"), [(8, 1), (7, 3), (4, 4)])
def test_the_projection_is_one(size, count):
    p = np.asarray(projection(size, count))
    np.testing.assert_allclose(p @ p, p, atol=1e-6)
    np.testing.assert_allclose(p, p.T, atol=1e-6)
    assert np.trace(p) == pytest.approx(count, abs=1e-5)
    np.testing.assert_allclose(p @ np.ones(size), np.ones(size), atol=1e-6)


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_tied_is_the_sources_and_the_rest_is_not(legs, images, count):
    free, tied = (bridge.translate(DDIB(*legs, tie=tie), images) for tie in (None, Tie(count)))
    np.testing.assert_allclose(low(tied, count), low(images, count), atol=2e-4)
    assert np.abs(low(free, count) - low(images, count)).max() > 0.05
    assert np.abs(tied - images).max() > 0.3


def test_released_it_is_the_targets_again(legs, images):
    """Released at once it is the plain DDIB; released late it is near the source's frequencies."""
    at_once, early, late = (
        bridge.translate(DDIB(*legs, tie=Tie(2, release)), images) for release in (79.9, 0.5, None)
    )
    np.testing.assert_allclose(at_once, bridge.translate(DDIB(*legs), images), atol=1e-4)
    distances = [float(np.abs(low(x, 2) - low(images, 2)).mean()) for x in (at_once, early, late)]
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 1e-4


@pytest.mark.parametrize(("name", "least"), [("heun", 1.7), ("dpmpp-2m", 1.6), ("rk4", 3.0)])
def test_a_released_tie_has_the_order_of_its_solver(strict, means, name, least):
    """The solver starts afresh on the level of the release: no step spans the jump of the slope."""
    sigmas = np.geomspace(0.002, 80, 25)
    release = sigmas[9] * 0.999

    def end(solver, refined):
        positions = np.linspace(0, 24, 24 * refined + 1)
        levels = jnp.asarray(np.exp(np.interp(positions, np.arange(25), np.log(sigmas))))
        source, target = (
            Bridge(
                mixture_model(jnp.asarray(mean, jnp.float64), jnp.full(3, 0.1)),
                levels,
                get_solver(solver),
            )
            for mean in means
        )
        latent = jnp.asarray(np.random.default_rng(3).normal(size=(2, *SHAPE)))
        return Tie(2, release).decode(source, target, latent)

    exact = end("rk4", 32)
    errors = [float(jnp.abs(end(name, refined) - exact).max()) for refined in (4, 8)]
    assert np.log2(errors[0] / errors[1]) > least, errors


def test_a_tie_released_at_the_start_changes_nothing(legs, images):
    noisy = DDIB(*legs, 1.0, perturb=get_perturbation("add-noise"))
    level = DDIB(*legs, 1.0, perturb=get_perturbation("partial-noise"))
    for plain, release in ((noisy, 79.9), (level, 2.0)):
        tied = plain.replace(tie=Tie(2, release))
        np.testing.assert_allclose(
            bridge.translate(tied, images), bridge.translate(plain, images), atol=1e-4
        )


def test_a_domain_tied_to_itself_gives_the_image_back(legs, images):
    np.testing.assert_allclose(
        bridge.translate(DDIB(legs[0], legs[0], tie=Tie(2)), images), images, atol=2e-4
    )


def test_gaussians_part_into_the_sources_low_and_the_targets_high_frequencies():
    """Isotropic Gaussians never mix frequencies: a tie exchanges the low ones and no others."""
    source, target = (
        Bridge.over(
            mixture_model(jnp.full((1, *SHAPE), mean), jnp.asarray([variance])),
            steps=60,
            solver=get_solver("rk4"),
        )
        for mean, variance in ((0.5, 0.04), (-0.5, 0.3))
    )
    images = np.random.default_rng(2).normal(0.5, 0.2, size=(4, *SHAPE))
    free, tied = (bridge.translate(DDIB(source, target, tie=tie), images) for tie in (None, Tie(2)))
    np.testing.assert_allclose(tied, low(images, 2) + free - low(free, 2), atol=1e-3)


def test_the_pair_is_led_back_to_the_latent(legs, images):
    source, target = legs
    tie = Tie(2)
    latent = source.encode(jnp.asarray(images))
    x = tie.decode(source, target, latent)
    y = source.decode(latent)
    rows, columns = (jnp.asarray(projection(size, 2)) for size in SHAPE[:2])

    def coupled(sigma, pair):
        y, x = jnp.split(pair, 2)
        dy, dx = probability_flow(source.model)(sigma, y), probability_flow(target.model)(sigma, x)
        return jnp.concatenate([dy, dx + jnp.einsum("ij,bjkc,kl->bilc", rows, dy - dx, columns)])

    end = odeint(target.solver, coupled, jnp.concatenate([y, x]), target.sigmas)
    back = end / jnp.sqrt(1 + target.sigmas[-1] ** 2)
    np.testing.assert_allclose(back, jnp.concatenate([latent, latent]), atol=2e-4)


def test_sweeps_are_tied_too(legs, images):
    ddib = DDIB(*legs, perturb=get_perturbation("blur"), tie=Tie(1))
    coefficients = (0.0, 1.0)
    swept = ddib_jax.translate_sweep(ddib, images, coefficients, batch_size=2).images
    whole = ddib_jax.sweep(jax.random.key(0), ddib, jnp.asarray(images), jnp.asarray(coefficients))
    np.testing.assert_allclose(swept, whole, atol=1e-4)
    np.testing.assert_allclose(
        swept[0], bridge.translate(DDIB(*legs, tie=Tie(1)), images), atol=1e-4
    )
    assert np.abs(swept[1] - swept[0]).max() > 0.05
    for part in swept:
        np.testing.assert_allclose(low(part, 1), low(images, 1), atol=2e-4)
    level = DDIB(*legs, perturb=get_perturbation("partial-noise"), tie=Tie(1))
    translations = ddib_jax.translate_sweep(level, images, (2.0,)).images[0]
    np.testing.assert_allclose(low(translations, 1), low(images, 1), atol=2e-3)


def test_what_cannot_be_tied_is_said(legs, images):
    for count in (0, 7):
        with pytest.raises(ValueError, match=f"{count} frequencies of 8 x 6 x 2 cannot be tied"):
            bridge.translate(DDIB(*legs, tie=Tie(count)), images)
    for release in (0.0, -1.0, 80.0):
        with pytest.raises(ValueError, match="released between 0 and the end of its bridges at 80"):
            bridge.translate(DDIB(*legs, tie=Tie(1, release)), images)
    with pytest.raises(ValueError, match="the source's ends at 80, the target's at 40"):
        bridge.translate(DDIB(legs[0], legs[1].up_to(jnp.asarray(40.0)), tie=Tie(1)), images)
    with pytest.raises(ValueError, match="has no tie"):
        bridge.decode_tied(DDIB(*legs), images)
    implicit = [leg.replace(solver=get_solver("implicit-midpoint")) for leg in legs]
    with pytest.raises(ValueError, match="by explicit solvers, not by"):
        bridge.translate(DDIB(*implicit, tie=Tie(1)), images)

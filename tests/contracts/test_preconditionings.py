"""Every registered preconditioning against the exact denoiser of Gaussian data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import preconditioning
from ddib_jax.preconditioning import (
    PRECONDITIONINGS,
    Epsilon,
    Flow,
    Sample,
    Score,
    Velocity,
    Wiener,
)

pytestmark = pytest.mark.usefixtures("strict")
SIGMAS = [0.002, 0.3, 5.0, 80.0]
SHAPE = (4, 4, 2)


def statistics():
    """A mean and a covariance of three strong directions over an isotropic rest."""
    rng = np.random.default_rng(0)
    size = int(np.prod(SHAPE))
    basis = np.linalg.qr(rng.normal(size=(size, 3)))[0].T
    mean, variances, rest = rng.normal(size=size) * 0.3, np.array([4.0, 1.5, 0.7]), 0.05
    covariance = basis.T @ np.diag(variances) @ basis + rest * (np.eye(size) - basis.T @ basis)
    return mean, basis, variances, rest, covariance


def examples():
    mean, basis, variances, rest, covariance = statistics()
    size = len(mean)
    wiener = Wiener(
        mean=jnp.asarray(mean.reshape(SHAPE)),
        directions=jnp.asarray(basis.reshape(3, *SHAPE)),
        variances=jnp.asarray(variances),
        rest=jnp.asarray(rest),
    )
    zero = np.zeros(size)
    # name -> preconditioning, and the mean and covariance of the Gaussian that it believes in (of
    # "flow" in units of sigma)
    return {
        "epsilon": (Epsilon(), zero, np.full((size, size), np.inf)),
        "score": (Score(), zero, np.full((size, size), np.inf)),
        "velocity": (Velocity(), zero, np.eye(size)),
        "flow": (Flow(), zero, np.eye(size)),
        "sample": (Sample(), zero, 0 * np.eye(size)),
        "edm": (preconditioning.EDM(sigma_data=0.4), zero, 0.16 * np.eye(size)),
        "wiener": (wiener, mean, covariance),
    }


def test_every_registered_preconditioning_has_an_example():
    assert {name: type(example[0]) for name, example in examples().items()} == PRECONDITIONINGS


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("name", PRECONDITIONINGS)
def test_prior_is_the_exact_denoiser_of_its_gaussian(name, sigma):
    precondition, mean, covariance = examples()[name]
    covariance = sigma * covariance if name == "flow" else covariance
    x = np.random.default_rng(1).normal(size=(5, len(mean))) * 3
    if np.isinf(covariance).any():
        expected = x
    else:
        expected = mean + (x - mean) @ np.linalg.solve(
            covariance + sigma**2 * np.eye(len(mean)), covariance
        )
    prior = precondition.prior(jnp.asarray(x.reshape(5, *SHAPE)), jnp.asarray(sigma))
    np.testing.assert_allclose(np.asarray(prior).reshape(5, -1), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("name", ["edm", "wiener"])
def test_scale_is_the_root_mean_posterior_variance(name, sigma):
    precondition, _, covariance = examples()[name]
    posterior = covariance @ np.linalg.solve(
        covariance + sigma**2 * np.eye(len(covariance)), np.eye(len(covariance)) * sigma**2
    )
    expected = np.sqrt(np.trace(posterior) / len(posterior))
    assert float(precondition.scale(jnp.asarray(sigma))) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["epsilon", "velocity", "flow", "sample"])
def test_the_papers_targets(name):
    """Of the true noise, velocity or sample as the network's output the denoiser is the data."""
    precondition, _, _ = examples()[name]
    rng = np.random.default_rng(2)
    data, noise = (jnp.asarray(rng.normal(size=(3, *SHAPE))) for _ in range(2))
    for sigma in SIGMAS:
        norm = 1 + sigma if name == "flow" else np.sqrt(1 + sigma**2)
        alpha, sigma_t = 1 / norm, sigma / norm
        output = {
            "epsilon": noise,
            "velocity": alpha * noise - sigma_t * data,
            "flow": noise - data,
            "sample": data,
        }[name]
        x, level = data + sigma * noise, jnp.asarray(sigma)
        denoised = precondition.prior(x, level) + precondition.scale(level) * output
        np.testing.assert_allclose(denoised, data, atol=1e-9)
        x_t = alpha * data + sigma_t * noise
        np.testing.assert_allclose(precondition.inputs(x, level), x_t, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRECONDITIONINGS)
def test_one_sigma_an_image_is_as_good_as_one_for_all(name):
    precondition, _, _ = examples()[name]
    x = jnp.asarray(np.random.default_rng(3).normal(size=(4, *SHAPE)))
    sigmas = jnp.asarray(SIGMAS)
    column = sigmas[:, None, None, None]
    for method in ("prior", "inputs"):
        together = getattr(precondition, method)(x, column)
        apart = [getattr(precondition, method)(x[i : i + 1], sigmas[i])[0] for i in range(4)]
        np.testing.assert_allclose(together, jnp.stack(apart), rtol=1e-12)
    scales = [precondition.scale(s) for s in sigmas]
    np.testing.assert_allclose(precondition.scale(column).ravel(), jnp.stack(scales), rtol=1e-12)
    assert jax.jit(precondition.prior)(x, column).shape == x.shape


def test_wiener_finds_the_statistics_of_its_data():
    mean, basis, variances, rest, covariance = statistics()
    draws = np.random.default_rng(4).multivariate_normal(mean, covariance, size=40_000)
    fitted = Wiener.fit(draws.reshape(-1, *SHAPE), rank=3)
    np.testing.assert_allclose(fitted.mean, mean.reshape(SHAPE), atol=0.05)
    np.testing.assert_allclose(fitted.variances, variances, rtol=0.05)
    assert float(fitted.rest) == pytest.approx(rest, rel=0.05)
    overlap = np.abs(np.asarray(fitted.directions, np.float64).reshape(3, -1) @ basis.T)
    np.testing.assert_allclose(overlap, np.eye(3), atol=0.05)


def test_wiener_of_few_images_is_that_of_many():
    """Fewer images than values: the same filter, from the smaller of the two matrices."""
    deviations = np.linspace(0.1, 2, 32).reshape(SHAPE)
    images = np.random.default_rng(6).normal(size=(20, *SHAPE)) * deviations
    few, many = Wiener.fit(images, rank=5), Wiener.fit(np.concatenate([images, images]), rank=5)
    np.testing.assert_allclose(few.mean, many.mean, atol=1e-3)
    np.testing.assert_allclose(few.variances, np.asarray(many.variances) * 39 / 38, rtol=1e-5)
    rows, columns = (np.asarray(fit.directions, np.float64).reshape(5, -1) for fit in (few, many))
    np.testing.assert_allclose(np.abs(rows @ columns.T), np.eye(5), atol=5e-3)


def test_wiener_target_has_unit_variance_on_gaussian_data():
    """At every sigma the network's target has variance 1, if the data are the Gaussian."""
    wiener, mean, covariance = examples()["wiener"]
    rng = np.random.default_rng(5)
    data = jnp.asarray(rng.multivariate_normal(mean, covariance, size=20_000).reshape(-1, *SHAPE))
    for sigma in SIGMAS:
        x = data + sigma * jnp.asarray(rng.normal(size=data.shape))
        target = (data - wiener.prior(x, jnp.asarray(sigma))) / wiener.scale(jnp.asarray(sigma))
        assert float(jnp.mean(target**2)) == pytest.approx(1, abs=0.02)


def test_wiener_refuses_what_it_cannot_fit():
    with pytest.raises(ValueError, match="need more images than 3"):
        Wiener.fit(np.random.default_rng(0).normal(size=(3, *SHAPE)), rank=3)
    with pytest.raises(ValueError, match="all equal"):
        Wiener.fit(np.ones((10, *SHAPE)), rank=3)

"""The Gaussian switch: exact on Gaussians, undone to rounding, refused where it does not belong."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import schedules, translation
from ddib_jax.analytic import mixture_model
from ddib_jax.baselines import SDEdit
from ddib_jax.bridge import DDIB, Bridge, log_likelihood, parse_coupling
from ddib_jax.diffusion import DiffusionModel, probability_flow
from ddib_jax.perturbations import PERTURBATIONS
from ddib_jax.preconditioning import Wiener
from ddib_jax.solvers import get_solver, solve

SHAPE = (4, 4, 2)
FINE = get_solver("rk4")


@dataclass(frozen=True)
class Nothing:
    """A network that corrects nothing: with its preconditioning alone a model is a Gaussian's."""

    def init(self, key, x, time, cond=None):
        return {"params": {}}

    def apply(self, variables, x, time, cond=None, **options):
        return jnp.zeros_like(x)

    def condition_spec(self):
        return None


def gaussian(seed, shift):
    """The model of a correlated Gaussian, its directions rounded to float16 as stored ones are."""
    rng = np.random.default_rng(seed)
    images = shift + 0.5 * rng.normal(size=(200, 6)) @ rng.normal(size=(6, 32)) / 6
    wiener = Wiener.fit((images + 0.05 * rng.normal(size=images.shape)).reshape(-1, *SHAPE), rank=6)
    wiener = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(float)), wiener)
    schedule = schedules.EDM(0.1, 80.0)
    return DiffusionModel({}, wiener, network=Nothing(), schedule=schedule, data_shape=SHAPE)


@pytest.fixture
def models(double):
    return gaussian(0, 0.3), gaussian(1, -0.4)


@pytest.fixture
def images():
    """Three, in the default precision of the test."""
    return jnp.asarray(np.random.default_rng(2).uniform(-1, 1, (3, *SHAPE)))


@pytest.mark.slow
def test_the_flow_solves_the_ode_of_the_prior(models, images):
    model, _ = models
    exact = model.replace(precondition=Bridge.over(model, switch=2.0).switch.gaussian)
    x, ts = images, jnp.geomspace(0.1, 80.0, 500)
    truth = solve(FINE, probability_flow(exact), x, ts).y
    assert jnp.abs(exact.precondition.flow(x, ts[0], ts[-1]) - truth).max() < 1e-6
    back = exact.precondition.flow(truth, ts[-1], ts[0])
    assert jnp.abs(back - x).max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.5, 3.0, 12.0])
def test_translations_of_gaussians_are_exact_wherever_it_is(models, images, level):
    whole = [Bridge.over(model, steps=300, solver=FINE) for model in models]
    switched = [Bridge.over(model, steps=300, solver=FINE, switch=level) for model in models]
    keys = jax.random.split(jax.random.key(0), len(images))
    truth, found = DDIB(*whole)(keys, images), DDIB(*switched)(keys, images)
    # the stored directions are orthonormal to 1e-3 alone, and the switch's wholly
    assert jnp.abs(found - truth).max() < 2e-3
    assert jnp.abs(truth - images).max() > 0.3
    assert float(switched[0].sigmas[-1]) == pytest.approx(level)


@pytest.mark.slow
def test_latents_lie_at_the_end_of_the_noise_levels(models, images):
    """And are of unit variance there, so that a perturbation means the same."""
    source, target = models
    noise = np.random.default_rng(3).normal(size=(500, *SHAPE))
    wiener = source.precondition
    coordinates = noise.reshape(500, -1)[:, :6] * np.sqrt(np.asarray(wiener.variances))
    directions = np.asarray(wiener.directions).reshape(6, -1)
    drawn = wiener.mean + jnp.asarray((coordinates @ directions).reshape(500, *SHAPE))
    bridge = Bridge.over(source, steps=60, solver=FINE, switch=5.0)
    plain = Bridge.over(source, steps=60, solver=FINE)
    assert float(bridge.scale) == float(plain.scale)
    assert jnp.abs(bridge.encode(drawn) - plain.encode(drawn)).max() < 1e-3
    keys = jax.random.split(jax.random.key(0), 3)
    perturbed = [
        DDIB(
            half,
            Bridge.over(target, steps=60, solver=FINE, switch=level),
            0.3,
            perturb=PERTURBATIONS["add-noise"],
        )(keys, images)
        for half, level in ((bridge, 5.0), (plain, None))
    ]
    assert jnp.abs(perturbed[0] - perturbed[1]).max() < 2e-3


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["rex-midpoint", "o-belm"])
def test_the_pair_gives_the_images_back(models, images, solver):
    bridge = Bridge.over(models[0], steps=5, solver=get_solver(solver), switch=8.0)
    up = bridge.solve(images, rising=True)
    back = bridge.solve(up.y, rising=False, aux=up.aux)
    assert jnp.abs(back.y - images).max() < 1e-11
    encoded = translation.encode(bridge, images)
    decoded = translation.decode(bridge, encoded.y, aux=encoded.aux)
    assert np.abs(decoded - images).max() < 1e-11


@pytest.mark.slow
def test_the_path_has_the_latents_at_its_end(models, images):
    bridge = Bridge.over(models[0], steps=4, switch=8.0)
    up = translation.path(bridge, images, rising=True)
    latent = bridge.encode(images)
    assert len(up) == len(bridge.levels) == 6
    np.testing.assert_allclose(bridge.levels, [*bridge.sigmas, 80.0])
    np.testing.assert_allclose(up[0], images)
    np.testing.assert_allclose(up[-1], latent, atol=1e-12)
    down = translation.path(bridge, latent, rising=False)
    np.testing.assert_allclose(down[0], latent, atol=1e-12)
    np.testing.assert_allclose(down[1], up[-2], atol=1e-12)
    np.testing.assert_allclose(down[-1], bridge.decode(latent), atol=1e-12)


@pytest.mark.slow
def test_other_statistics_than_the_models_own(images):
    model = mixture_model(jnp.full((1, *SHAPE), 0.3), jnp.asarray([0.25]))
    with pytest.raises(ValueError, match="Sample does not hold the mean and covariance"):
        Bridge.over(model, switch=8.0)
    some = 0.3 + 0.5 * np.random.default_rng(0).normal(size=(4000, *SHAPE))
    bridge = Bridge.over(model, steps=60, switch=8.0, gaussian=Wiener.fit(some, rank=8))
    plain = Bridge.over(model, steps=60)
    assert jnp.abs(bridge.encode(images) - plain.encode(images)).max() < 0.02


def test_where_it_does_not_belong(models, images):
    source, target = (Bridge.over(model, steps=3, switch=8.0) for model in models)
    keys = jax.random.split(jax.random.key(0), 3)
    for level in (0.1, 80.0, 200.0):
        with pytest.raises(ValueError, match=r"between the model's noise levels, 0.1 and 80"):
            Bridge.over(models[0], switch=level)
    with pytest.raises(ValueError, match="lattice is crossed to the bit"):
        Bridge.over(models[0], switch=8.0, solver=get_solver("lattice-heun"))
    coupled = DDIB(source, target, coupling=parse_coupling("low-pass:1", SHAPE, strength=1.0))
    with pytest.raises(ValueError, match="leave the Gaussian switch out"):
        coupled.check()
    with pytest.raises(ValueError, match="leave the Gaussian switch out"):
        coupled(keys, images)
    with pytest.raises(ValueError, match="leave the switch out"):
        SDEdit(target, jnp.asarray(1.0))(keys, images)
    with pytest.raises(ValueError, match="without a Gaussian switch"):
        log_likelihood(source, images)

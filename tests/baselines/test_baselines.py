"""Other methods of translation on exact models, and that batches do not matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import baselines, translation
from ddib_jax.analytic import mixture_model
from ddib_jax.bridge import Bridge
from ddib_jax.bridge.couplings import Linear, Resized
from ddib_jax.gan import GAN_LOSSES, CycleGAN
from ddib_jax.gan.cyclegan import cyclegan_gradients, cyclegan_parameters, optimiser
from ddib_jax.nets import PatchDiscriminator, ResnetGenerator
from ddib_jax.training import TrainState
from ddib_jax.training.step import train_step
from ddib_jax.types import Translator

SHAPE = (4, 4, 1)


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(7, *SHAPE)).astype(np.float32)


@pytest.fixture
def target():
    return Bridge.over(mixture_model(jnp.full((1, *SHAPE), 0.5), jnp.asarray([0.01])), steps=30)


def test_identity_and_nearest(images):
    assert np.array_equal(translation.translate(baselines.Identity(), images), images)
    targets = images[::-1] + 0.01
    nearest = translation.translate(baselines.Nearest(jnp.asarray(targets)), images, batch_size=3)
    np.testing.assert_allclose(nearest, images + 0.01, atol=1e-6)


@pytest.mark.slow
def test_sdedit_goes_from_source_to_target(images, target):
    """A little noise leaves the source as it is; much leaves nothing of it, but N(.5, .01)."""
    little, much = (
        translation.translate(baselines.SDEdit(target, jnp.asarray(sigma)), images)
        for sigma in (0.003, 50.0)
    )
    assert np.abs(little - images).max() < 0.1
    assert abs(much.mean() - 0.5) < 0.05
    assert 0.05 < much.std() < 0.15
    assert abs(np.corrcoef(much.ravel(), images.ravel())[0, 1]) < 0.3


def test_a_noise_level_that_the_bridge_does_not_reach_is_refused(images, target):
    for sigma in (0.001, 100.0):
        edited = baselines.SDEdit(target, jnp.asarray(sigma))
        with pytest.raises(
            ValueError, match=f"{sigma:g} is outside of the bridge, which goes from"
        ):
            translation.translate(edited, images)
        keys = translation.image_keys(jax.random.key(0), 7)
        assert np.isnan(jax.jit(baselines.SDEdit.__call__)(edited, keys, images)).all()


@pytest.mark.slow
def test_ilvr_has_the_sources_low_frequencies_and_the_targets_detail():
    """Of domains that differ in a checkerboard of pixels alone, the average over 2 x 2 is kept."""
    board = jnp.asarray(np.indices((8, 8)).sum(0) % 2 * 1.0 - 0.5, jnp.float32)[None, :, :, None]
    rng = np.random.default_rng(0)
    coarse = np.repeat(np.repeat(rng.normal(size=(64, 4, 4, 1)), 2, 1), 2, 2).astype(np.float32)
    target = Bridge.over(mixture_model(jnp.asarray(coarse) + board, jnp.full(64, 0.1)), steps=40)
    images = coarse[:5] + 0.2
    fine, coarsest = (
        translation.translate(baselines.ILVR(target, Linear(Resized(factor), kick=True)), images)
        for factor in (2, 8)
    )
    pooled = lambda x: x.reshape(-1, 4, 2, 4, 2).mean((2, 4))
    change = lambda x: np.abs(pooled(x) - pooled(images)).max()
    assert change(fine) < 0.25 < change(coarsest)
    board_amplitude = float(((fine - images) * board).mean() / (board**2).mean())
    assert board_amplitude == pytest.approx(1, abs=0.15)


def test_noise_belongs_to_the_image_and_not_to_its_batch(images, target):
    method = baselines.SDEdit(target, jnp.asarray(1.0))
    np.testing.assert_allclose(
        translation.translate(method, images, batch_size=2),
        translation.translate(method, images, batch_size=7),
        atol=1e-5,
    )
    other = translation.translate(method, images, key=jax.random.key(1))
    assert not np.allclose(other, translation.translate(method, images))


@pytest.mark.parametrize(
    "method", [baselines.Identity(), baselines.Nearest(jnp.zeros((2, *SHAPE)))]
)
def test_every_method_is_a_translator(method, images):
    assert isinstance(method, Translator)
    keys = jax.random.split(jax.random.key(0), len(images))
    assert method(keys, jnp.asarray(images)).shape == images.shape


@pytest.fixture(scope="module")
def cyclegan():
    """A small CycleGAN between black and white: its generator, parameters and gradients."""
    generator, discriminator = ResnetGenerator(1, 8, 1), PatchDiscriminator(8, 1)
    params = cyclegan_parameters(jax.random.key(0), generator, discriminator, (8, 8, 1), 4)
    return generator, params, cyclegan_gradients(generator, discriminator, GAN_LOSSES["lsgan"])


def batch(step):
    rng = np.random.default_rng(step)
    return {
        side: jnp.asarray(centre + 0.1 * rng.normal(size=(4, 8, 8, 1)), jnp.float32)
        for side, centre in (("a", -0.7), ("b", 0.7))
    }


@pytest.mark.slow
def test_discriminators_and_generators_learn_apart(cyclegan):
    """Each gradient is that of its own loss, and reaches no parameters of the other networks."""
    _, params, grad_fn = cyclegan
    metrics, grads = jax.jit(grad_fn)(params, jax.random.key(0), batch(0), None)
    assert {
        "loss",
        "adversarial",
        "cycle",
        "discriminator_a",
        "discriminator_b",
        "spread_a",
        "spread_b",
    } == metrics.keys()
    for kind in ("generators", "discriminators"):
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(grads[kind]))
    doubled = jax.tree.map(lambda leaf: 2 * leaf, params["discriminators"])
    scaled = {**params, "discriminators": doubled}
    _, other = jax.jit(grad_fn)(scaled, jax.random.key(0), batch(0), None)
    last = lambda tree: tree["discriminators"]["b"]["model.5"]["bias"]
    assert not jnp.allclose(last(grads), last(other))


@pytest.mark.slow
def test_a_cyclegan_learns(cyclegan):
    """Sixty training steps turn black into white; the pool holds images of before."""
    generator, params, grad_fn = cyclegan
    tx = optimiser(5e-3, 60, 30)
    state = TrainState.create(params, tx)
    step = jax.jit(
        lambda state, batch: train_step(
            jax.random.key(1), state, batch, None, grad_fn=grad_fn, tx=tx, ema_decay=0.0
        )
    )
    for number in range(60):
        state, _metrics = step(state, batch(number))
    method = CycleGAN(state.params["generators"]["ab"], network=generator)
    translations = translation.translate(method, np.asarray(batch(99)["a"]))
    assert translations.mean() > 0.4
    pool = state.params["pools"]["b"]
    assert float(pool.filled) == 4
    assert float(jnp.abs(pool.images).max()) <= 1.01

"""Model, ODE, bridge and loss on models in closed form: Gaussian, mixture, empirical score."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import preconditioning, schedules
from ddib_jax.analytic import MixtureDenoiser, mixture_model
from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.diffusion import DiffusionModel, denoising_loss, probability_flow, stable_target
from ddib_jax.noise_levels import LogNormal, OffShell, UniformTime
from ddib_jax.preconditioning import Epsilon, Flow, Velocity
from ddib_jax.schedules import Cosine, Discrete, LinearVP, RectifiedFlow
from ddib_jax.solvers import RK4, SOLVERS

pytestmark = pytest.mark.slow

SHAPE = (2, 2, 1)
SCHEDULES = {
    "edm": schedules.EDM(),
    "linear-vp": LinearVP(),
    "cosine": Cosine(),
    "discrete": Discrete.linear(1000),
    "flow": RectifiedFlow(),
}


def gaussian(mean=0.3, variance=0.25, schedule=SCHEDULES["edm"]):
    return mixture_model(jnp.full((1, *SHAPE), mean), jnp.asarray([variance]), schedule=schedule)


def mixture():
    means = jnp.asarray(np.random.default_rng(0).normal(size=(3, *SHAPE)))
    return mixture_model(means, jnp.asarray([0.05, 0.1, 0.2]), weights=jnp.asarray([0.5, 0.3, 0.2]))


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("name", SCHEDULES)
def test_denoiser_of_a_gaussian(name):
    model = gaussian(schedule=SCHEDULES[name])
    x = jnp.asarray(np.random.default_rng(1).normal(size=(4, *SHAPE)))
    sigmas = jnp.geomspace(*SCHEDULES[name].sigma_range, 4)
    expected = 0.3 + 0.25 / (0.25 + sigmas**2)[:, None, None, None] * (x - 0.3)
    np.testing.assert_allclose(model.denoise(x, sigmas), expected, rtol=1e-9)


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("name", SOLVERS)
def test_bridge_of_a_gaussian_is_the_known_linear_map(name):
    """Along the flow (x - mean) / sqrt(variance + sigma^2) is constant."""
    model = gaussian()
    image = jnp.asarray(np.random.default_rng(2).normal(size=(5, *SHAPE)))
    low, high = model.schedule.sigma_range
    scaled = 0.3 + (image - 0.3) * jnp.sqrt((0.25 + high**2) / (0.25 + low**2))
    truth = scaled / jnp.sqrt(1 + high**2)
    steps = 20_000 if name == "edict" else {1: 4000, 2: 1000, 3: 300, 4: 100}[SOLVERS[name].order]
    bridge = Bridge.over(model, steps=steps, grid="karras", solver=SOLVERS[name])
    latent = bridge.encode(image)
    assert float(jnp.abs(latent - truth).max()) < 5e-3
    assert float(jnp.abs(bridge.decode(latent) - image).max()) < 5e-3


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("model", [gaussian, mixture], ids=["gaussian", "mixture"])
@pytest.mark.parametrize("name", [name for name in SOLVERS if SOLVERS[name].tolerance is None])
def test_invertible_to_the_order_of_the_solver(name, model):
    """The round trip's error is the method's, not the model's: of half the step size, 2^-order."""
    bridge_model, solver = model(), SOLVERS[name]
    image = jnp.asarray(np.random.default_rng(3).normal(size=(6, *SHAPE)) * 0.5)

    def error(steps):
        bridge = Bridge.over(bridge_model, steps=steps, solver=solver)
        return float(jnp.sqrt(jnp.mean((bridge.decode(bridge.encode(image)) - image) ** 2)))

    # On a Gaussian DEIS' errors of order 3 outweigh those of order 2, of the other sign, up to 160.
    steps = 320 if name == "deis" else 160
    coarse, fine = error(steps), error(2 * steps)
    assert fine < coarse / 2 ** (solver.order - 0.35)


@pytest.mark.usefixtures("strict")
def test_rk4_inverts_to_high_precision():
    for model in (gaussian(), mixture()):
        image = jnp.asarray(np.random.default_rng(4).normal(size=(4, *SHAPE)) * 0.5)
        bridge = Bridge.over(model, steps=2000, solver=RK4)
        assert float(jnp.abs(bridge.decode(bridge.encode(image)) - image).max()) < 1e-9


@pytest.mark.usefixtures("strict")
def test_latents_of_a_mixture_are_standard_normal():
    model, rng = mixture(), np.random.default_rng(5)
    which = rng.choice(3, size=4000, p=[0.5, 0.3, 0.2])
    params = {name: np.asarray(value) for name, value in model.params.items()}
    noise = (
        rng.normal(size=(4000, *SHAPE)) * np.sqrt(params["variances"])[which][:, None, None, None]
    )
    latent = np.asarray(
        jax.jit(Bridge.encode)(
            Bridge.over(model, steps=60), jnp.asarray(params["means"][which] + noise)
        )
    )
    flat = latent.reshape(4000, -1)
    np.testing.assert_allclose(flat.mean(0), 0, atol=0.06)
    np.testing.assert_allclose(np.cov(flat.T), np.eye(4), atol=0.1)


@pytest.mark.usefixtures("strict")
def test_empirical_score_translates_data_to_data():
    """With the exact scores of two finite sets, an image of one becomes one of the other.

    Nearly so; and it comes back.
    """
    rng = np.random.default_rng(6)
    ours, theirs = (jnp.asarray(rng.normal(size=(8, *SHAPE))) for _ in range(2))
    source, target = (
        Bridge.over(mixture_model(data, jnp.zeros(8)), steps=400) for data in (ours, theirs)
    )
    keys = jax.random.split(jax.random.key(0), 8)
    noisy = ours + 0.002 * jnp.asarray(rng.normal(size=ours.shape))
    translated = DDIB(source, target)(keys, noisy)
    gaps = jnp.sqrt(jnp.sum((translated[:, None] - theirs[None]) ** 2, axis=(2, 3, 4)))
    assert float(gaps.min(axis=1).max()) < 0.03
    back = DDIB(target, source)(keys, translated)
    assert float(jnp.abs(back - ours).max()) < 0.05


@pytest.mark.usefixtures("strict")
def test_flow_is_the_ode_of_the_paper():
    model = gaussian()
    x, sigma = jnp.ones((2, *SHAPE)), jnp.asarray(0.7)
    np.testing.assert_allclose(
        probability_flow(model)(sigma, x), (x - model.denoise(x, sigma)) / sigma
    )


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize(
    "precondition",
    [Epsilon(), Velocity(), Flow(), preconditioning.EDM(0.5)],
    ids=["epsilon", "velocity", "flow", "edm"],
)
def test_every_preconditioning_integrates_the_same_ode(precondition):
    """A network that predicts exactly what its preconditioning asks for is the same denoiser."""
    truth = gaussian()

    class Exact:
        """Solves D = prior + scale F for F, from the unscaled input."""

        def apply(self, variables, x, time, cond=None, **options):
            sigma = truth.schedule.sigma(time)[:, None, None, None]
            factor = precondition.inputs(jnp.ones_like(x), sigma)
            noisy = x / factor
            denoised = truth.denoise(noisy, sigma[:, 0, 0, 0])
            return (denoised - precondition.prior(noisy, sigma)) / precondition.scale(sigma)

        def init(self, key, x, time, cond=None):
            return {"params": {}}

        def condition_spec(self):
            return None

    model = DiffusionModel(
        {}, precondition, network=Exact(), schedule=truth.schedule, data_shape=SHAPE
    )
    image = jnp.asarray(np.random.default_rng(7).normal(size=(3, *SHAPE)))
    latent, expected = (Bridge.over(m, steps=20).encode(image) for m in (model, truth))
    np.testing.assert_allclose(latent, expected, rtol=1e-8)


@pytest.mark.usefixtures("strict")
def test_loss_is_least_for_the_exact_denoiser():
    """On Gaussian data that of the right Gaussian has its closed form, and lies below others'."""
    data = 0.3 + 0.5 * jnp.asarray(np.random.default_rng(8).normal(size=(20_000, *SHAPE)))

    def loss(mean, variance):
        return float(
            denoising_loss(jax.random.key(0), gaussian(mean, variance), data, LogNormal(-0.5, 0.8))
        )

    right = loss(0.3, 0.25)
    assert right < min(loss(0.2, 0.25), loss(0.3, 0.15), loss(0.3, 0.4))
    sigma = LogNormal(-0.5, 0.8)(jnp.linspace(1e-6, 1 - 1e-6, 20_001))
    assert right == pytest.approx(float(jnp.mean(0.25 * sigma**2 / (0.25 + sigma**2))), rel=0.03)


def test_noise_depends_on_the_index_in_the_batch_alone():
    """The mean of the halves' losses is the whole's: splitting a batch over devices is harmless."""
    data = jnp.asarray(np.random.default_rng(9).normal(size=(8, *SHAPE)), jnp.float32)
    model, key, level = gaussian(), jax.random.key(1), LogNormal(0.0, 1.0)
    whole = denoising_loss(key, model, data, level)
    halves = [
        denoising_loss(key, model, data[i : i + 4], level, index=jnp.arange(i, i + 4))
        for i in (0, 4)
    ]
    assert float(whole) == pytest.approx(float(sum(halves)) / 2, rel=1e-5)


@pytest.mark.usefixtures("strict")
def test_noise_levels_follow_their_distributions():
    u = jnp.linspace(0.0, 1.0, 8001)[1::2]
    log_sigma = jnp.log(LogNormal(-0.3, 1.1)(u))
    assert float(log_sigma.mean()) == pytest.approx(-0.3, abs=1e-3)
    assert float(log_sigma.std()) == pytest.approx(1.1, rel=5e-3)
    times = Cosine().time(UniformTime(Cosine(), 0.1, 0.9)(u))
    np.testing.assert_allclose(times, 0.1 + 0.8 * u, rtol=1e-9)


@pytest.mark.usefixtures("strict")
def test_stable_target_is_the_posterior_mean_of_the_reference_and_the_image():
    """The denoiser of the empirical distribution, whose truth `mixture_model` knows."""
    rng = np.random.default_rng(10)
    image, reference, noise = (jnp.asarray(rng.normal(size=(n, *SHAPE))) for n in (3, 7, 3))
    for sigma in (0.3, 1.0, 5.0):
        noisy = image + sigma * noise
        targets = stable_target(image, noisy, jnp.full(3, sigma), reference)
        for i in range(3):
            exact = mixture_model(jnp.concatenate([image[i : i + 1], reference]), jnp.zeros(8))
            expected = exact.denoise(noisy[i : i + 1], jnp.asarray(sigma))[0]
            np.testing.assert_allclose(targets[i], expected, atol=1e-6)
    near = stable_target(image, image + 1e-3 * noise, jnp.full(3, 1e-3), reference)
    np.testing.assert_allclose(near, image, atol=1e-12)


@pytest.mark.usefixtures("strict")
def test_stable_target_is_finite_at_any_noise_level():
    """Also where distances over sigma^2 lie beyond the domain of XLA's exponential on CPU."""
    rng = np.random.default_rng(0)
    reference, image = (jnp.asarray(rng.normal(size=(n, 32, 32, 3)), jnp.float32) for n in (512, 4))
    for sigma in (1e-2, 1e-4, 1e-6):
        targets = jax.jit(stable_target)(image, image, jnp.full(4, sigma), reference)
        np.testing.assert_allclose(targets, image, atol=1e-5)


def test_stable_target_leads_to_the_same_denoiser_with_less_noise():
    """Its loss is least for the exact denoiser too; at high noise gradients scatter far less."""
    rng = np.random.default_rng(11)
    data = 0.3 + 0.5 * jnp.asarray(rng.normal(size=(512, *SHAPE)))
    reference, level = 0.3 + 0.5 * jnp.asarray(rng.normal(size=(2048, *SHAPE))), LogNormal(1.0, 0.5)

    def slopes(batch, **options):
        loss = lambda mean, key, part: denoising_loss(key, gaussian(mean), part, level, **options)
        gradient = jax.jit(jax.grad(loss))
        return jnp.stack([gradient(0.3, jax.random.key(i), part) for i, part in enumerate(batch)])

    batches = data.reshape(16, 32, *SHAPE)
    plain, stable = slopes(batches), slopes(batches, reference=reference)
    assert float(stable.std()) < 0.25 * float(plain.std())
    shifted = slopes(batches + 0.3, reference=reference + 0.3)
    assert abs(float(stable.mean())) < 0.1 * abs(float(shifted.mean()))


SHOWN = []
"""Inputs and times that a `Witness` was called with."""


class Witness(MixtureDenoiser):
    """A denoiser that is known, and keeps what it is shown."""

    def apply(self, variables, x, time, cond=None, **options):
        SHOWN.append((np.asarray(x), np.asarray(self.schedule.sigma(time))))
        return super().apply(variables, x, time)


def test_the_target_off_the_noisy_shell_is_the_known_denoiser(double):
    """Of a finite data set, whose denoiser is exact at all points and not on the shell alone."""
    data = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (6, 4, 4, 1)))
    model = mixture_model(data, jnp.zeros(6))
    model = model.replace(network=Witness(model.schedule))
    off_shell = OffShell(1.0, 0.1, 20.0)
    for seed in range(20):
        image, others = data[seed % 6][None], jnp.delete(data, seed % 6, axis=0)
        key = jax.random.key(seed)
        given = {"reference": others, "off_shell": off_shell}
        loss = denoising_loss(key, model, image, LogNormal(0.2, 1.5), **given)
        assert float(loss) < 1e-20
        x, sigma = SHOWN[-1]
        x = x * np.sqrt(1 + sigma**2)  # as the network has it, of unit variance
        noise_left = np.sqrt(np.mean((x - image) ** 2)) / float(sigma[0])
        assert noise_left < 1.8
    levels = np.asarray([sigma[0] for _, sigma in SHOWN])
    assert 0.1 < levels.min() < 1 < 5 < levels.max() < 20


def test_the_share_of_images_off_the_shell_and_their_noise():
    index, sigma = jnp.arange(4000), jnp.full(4000, 3.0)
    levels, factors = OffShell(0.25, 0.1, 80.0)(jax.random.key(0), index, sigma)
    off = np.asarray(levels != 3.0)
    assert off.mean() == pytest.approx(0.25, abs=0.03)
    assert (np.asarray(factors)[~off] == 1).all()
    logs, less = np.log(np.asarray(levels)[off]), np.asarray(factors)[off]
    assert logs.mean() == pytest.approx(np.log(0.1 * 80) / 2, abs=0.2)
    assert (less == 0).mean() == pytest.approx(0.3 / 1.3, abs=0.04)
    assert less.mean() == pytest.approx(1 / 2.6, abs=0.03)
    assert less.max() <= 1
    # what an image is shown depends on its place in the global batch alone
    half, others = (
        OffShell(0.25, 0.1, 80.0)(jax.random.key(0), index[part], sigma[part])
        for part in (slice(0, 2000), slice(2000, None))
    )
    np.testing.assert_array_equal(np.concatenate([half[0], others[0]]), levels)


def test_images_off_the_shell_need_a_reference():
    model = mixture_model(jnp.zeros((1, 2, 2, 1)), jnp.ones(1))
    with pytest.raises(ValueError, match="need a reference for their targets"):
        denoising_loss(
            jax.random.key(0),
            model,
            jnp.zeros((1, 2, 2, 1)),
            LogNormal(),
            off_shell=OffShell(0.5, 0.1, 80.0),
        )

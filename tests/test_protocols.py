"""A user's own schedule, network and guidance, made from their Protocols alone, work everywhere.

None of them inherits anything or has an attribute that its Protocol does not name.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ddib_jax import diagnosis, translation
from ddib_jax.analytic import mixture_model
from ddib_jax.bridge import DDIB, Bridge, warn_of_guidance
from ddib_jax.cli.plan import Plan
from ddib_jax.diffusion import DiffusionModel, denoising_loss
from ddib_jax.grids import GRIDS, make_grid
from ddib_jax.nets import NETWORKS, example_condition
from ddib_jax.noise_levels import LogNormal, UniformTime
from ddib_jax.preconditioning import EDM
from ddib_jax.solvers import get_solver
from ddib_jax.trainer import Recipe, preview
from ddib_jax.training import TrainState, fit, gradients
from ddib_jax.translation import batching
from ddib_jax.translation.batching import measured_batch
from ddib_jax.types import Guidance, Network, NoiseSchedule
from ddib_jax.weightings import Unweighted

SHAPE = (4, 4, 1)


class Schedule:
    """Time is the logarithm of sigma."""

    def __init__(self):
        self.sigma_range = (0.01, 20.0)

    def sigma(self, t):
        return jnp.exp(t)

    def time(self, sigma):
        return jnp.log(sigma)


class Net:
    """A linear map of the pixels and of what it is told: a word of three numbers, and a size."""

    def init(self, key, x, time, cond):
        size = math.prod(x.shape[1:])
        return {"params": {"map": jax.random.normal(key, (size + 5, size)) / 10}}

    def apply(self, variables, x, time, cond, *, train=False, rngs=None):
        flat = x.reshape(len(x), -1)
        noise = jax.random.normal(rngs["dropout"], flat.shape) / 100 if train else 0.0
        told = [flat + noise, cond["word"], cond["size"][:, None], time[:, None]]
        return (jnp.concatenate(told, axis=1) @ variables["params"]["map"]).reshape(x.shape)

    def condition_spec(self):
        word = jax.ShapeDtypeStruct((3,), jnp.float32)
        return {"word": word, "size": jax.ShapeDtypeStruct((), jnp.float32)}


@jax.tree_util.register_pytree_node_class
class Halfway:
    """Between the model's own condition and another one."""

    evaluations = 2

    def __init__(self, other):
        self.other = other

    def describe(self):
        return "guidance halfway"

    def __call__(self, denoise, x, sigma, time, cond):
        one, other = denoise(x, cond, self.other)
        return (one + other) / 2

    def tree_flatten(self):
        return (self.other,), None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        return cls(*leaves)


def told(word, size=0.5):
    return {"word": jnp.full(3, word), "size": jnp.asarray(size)}


@pytest.fixture
def model():
    network, key, x = Net(), jax.random.key(0), jnp.zeros((1, *SHAPE))
    params = network.init(key, x, jnp.zeros(1), example_condition(network))["params"]
    model = DiffusionModel(params, EDM(0.5), network=network, schedule=Schedule(), data_shape=SHAPE)
    return model.given(told(1.0)).guided(Halfway(told(-1.0)))


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(-1, 1, (3, *SHAPE)).astype(np.float32)


@pytest.fixture
def x(images):
    return jnp.asarray(images)


def test_they_are_what_the_protocols_say():
    assert isinstance(Schedule(), NoiseSchedule)
    assert isinstance(Net(), Network)
    assert isinstance(Halfway(None), Guidance)


@pytest.mark.parametrize("name", NETWORKS)
def test_our_networks_of_diffusion_models_are_networks(name):
    """All but classifiers, generators and text encoders: they take no time or make no images."""
    others = {
        "clip-text",
        "digit-classifier",
        "noisy-classifier",
        "resnet-generator",
        "unet-generator",
        "dcgan-generator",
        "student",
    }
    assert isinstance(NETWORKS[name](), Network) == (name not in others)


@pytest.mark.slow
@pytest.mark.parametrize("grid", [grid for grid in GRIDS if not grid.startswith("ddim")])
def test_bridges(model, images, grid):
    there = Bridge.over(model, steps=30, grid=grid)
    assert math.isclose(float(there.sigmas[0]), 0.01, rel_tol=1e-4)
    latents = translation.encode(there, images).y
    back = translation.decode(there, latents)
    assert np.abs(latents - images).max() > 0.1
    assert np.abs(back - images).max() < 0.05
    other = Bridge.over(model.given(told(0.3)), steps=30, grid=grid)
    assert translation.translate(DDIB(there, other), images).shape == images.shape
    assert translation.sample(other, latents).shape == images.shape


def test_guidance_is_described(model):
    with pytest.warns(UserWarning, match="source is under guidance halfway and the target unguid"):
        warn_of_guidance(model, model.guided(None))


def test_the_guidance_asks_for_both_in_one_call(model, x):
    sigma = jnp.asarray([0.1, 1.0, 10.0])
    sides = [model.guided(None).given(told(word)).denoise(x, sigma) for word in (1.0, -1.0)]
    np.testing.assert_allclose(model.denoise(x, sigma), sum(sides) / 2, atol=1e-5)


@pytest.mark.slow
def test_a_condition_for_each_image(model, x):
    sigma, plain = jnp.asarray(0.7), model.guided(None)
    each = {"word": jnp.asarray([[1.0] * 3, [2.0] * 3, [3.0] * 3]), "size": jnp.asarray(0.5)}
    mixed = plain.given(each).denoise(x, sigma)
    for row, word in enumerate((1.0, 2.0, 3.0)):
        alone = plain.given(told(word)).denoise(x, sigma)[row]
        np.testing.assert_allclose(mixed[row], alone, atol=1e-6)
    there, each["size"] = Bridge.over(plain, steps=5), jnp.full(3, 0.5)
    latents = translation.encode(there, np.asarray(x), cond=each, batch_size=2).y
    for row, word in enumerate((1.0, 2.0, 3.0)):
        alone = Bridge.over(plain.given(told(word)), steps=5)
        np.testing.assert_allclose(latents[row], alone.encode(x)[row], atol=1e-4)


def test_a_new_condition_or_another_of_the_guidance_does_not_retrace(model, x):
    traces = []

    @jax.jit
    def run(model, x):
        traces.append(1)
        return model.denoise(x, jnp.asarray(1.0))

    for word in (1.0, 2.0):
        run(model.given(told(word)).guided(Halfway(told(3 * word))), x)
    assert len(traces) == 1


@pytest.mark.slow
def test_diagnosis(model, images):
    trips = diagnosis.round_trips(model, images, ("heun",), (20,))
    assert trips[0].error < 0.1
    assert diagnosis.memory(model, get_solver("heun"), 2)[0] > 0
    latents = diagnosis.noisy_latents(jax.random.key(0), Bridge.over(model, steps=10), images)
    assert len(diagnosis.latent_checks(latents)) > 0


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("work", ["training", "translation"])
def test_costs(model, work):
    """A step of the recipe, or an evaluation, compiled for conditions as the network takes them."""
    plan = Plan(work=work, batch_size=2, reference=4)
    cost = plan._cost(model.guided(None), jax.local_devices()[:1])
    assert cost.flops > 0


def test_a_batch_is_measured(model, monkeypatch):
    # By a clock to which every batch takes as long: a busy machine's own says anything.
    monkeypatch.setattr(batching.time, "perf_counter", itertools.count().__next__)
    assert measured_batch(Bridge.over(model, steps=3), 2) >= 2


@pytest.mark.slow
def test_training(model, images):
    """A loss of the denoiser, minimised by `fit` with a condition for each image."""
    plain, tx, key = model.guided(None), optax.adam(1e-2), jax.random.key(1)

    def loss(params, key, batch, shared):
        learner = plain.replace(params=params).given(batch["cond"])
        level = LogNormal(0.0, 1.0)
        return denoising_loss(key, learner, batch["image"], level, index=batch["index"], train=True)

    batch = {
        "image": np.resize(images, (8, *SHAPE)),
        "index": np.arange(8),
        "cond": {"word": np.ones((8, 3), np.float32), "size": np.ones(8, np.float32)},
    }
    before = TrainState.create(plain.params, tx)
    state = fit(key, before, itertools.repeat(batch), grad_fn=gradients(loss), tx=tx, steps=30)
    batch = jax.tree.map(jnp.asarray, batch)
    loss = jax.jit(loss)
    losses = [float(loss(params, key, batch, None)) for params in (before.params, state.params)]
    assert losses[1] < losses[0]


def test_remat_is_an_option_of_our_networks(model):
    with pytest.raises(ValueError, match="Net has no blocks to compute anew"):
        Recipe(remat=True).grad_fn(model, Unweighted(), 0)


def test_noise_levels_and_a_preview_of_a_training(model, tmp_path):
    times = UniformTime(Schedule(), math.log(0.01), math.log(20.0))
    np.testing.assert_allclose(times(jnp.asarray([0.0, 1.0])), [0.01, 20.0], rtol=1e-5)
    assert preview(model, tmp_path / "samples.png").exists()


@pytest.mark.usefixtures("unchecked")
def test_a_schedule_without_a_range_is_refused(model):
    class Rangeless:
        def sigma(self, t):
            return jnp.exp(t)

        def time(self, sigma):
            return jnp.log(sigma)

    said = "Rangeless is no noise schedule, for it has no sigma_range; a schedule has sigma"
    with pytest.raises(TypeError, match=said):
        make_grid("karras", Rangeless(), 10)
    with pytest.raises(TypeError, match=said):
        Bridge.over(model.replace(schedule=Rangeless()))
    with pytest.raises(TypeError, match="object is no noise schedule, for it has no sigma or time"):
        make_grid("karras", object(), 10)


WRONG = {
    "structure": (np.ones(3, np.float32), r"The condition is float32\[3\] and the network takes"),
    "part": ({"word": np.ones(3, np.float32)}, r"is word float32\[3\] and the network takes size "),
    "shape": (
        {"word": np.ones(4, np.float32), "size": np.float32(1)},
        r"is size float32\[\], word float32\[4\] and the network takes size float32\[\], word "
        r"float32\[3\]: give that for all images, or with one axis more in front",
    ),
    "nothing": ({}, "The condition is empty and the network takes size float32"),
    "rank": (
        {"word": np.ones((2, 5, 3), np.float32), "size": np.float32(1)},
        r"word float32\[2, 5, 3\] and",
    ),
    "kind": ({"word": np.ones(3, np.int32), "size": np.float32(1)}, r"word int32\[3\] and"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_condition_that_does_not_fit_is_refused(model, x, wrong):
    cond, said = WRONG[wrong]
    with pytest.raises(ValueError, match=said):
        model.given(cond)
    with pytest.raises(ValueError, match=said):
        model.replace(cond=cond).denoise(x, jnp.asarray(1.0))
    with pytest.raises(ValueError, match=said):
        model.guided(Halfway(cond)).denoise(x, jnp.asarray(1.0))


def test_a_condition_that_is_missing_or_too_many_is_refused(model, x):
    with pytest.raises(ValueError, match="There is no condition and the network takes size"):
        model.given(None).denoise(x, jnp.asarray(1.0))
    each = {"word": jnp.ones((2, 3)), "size": jnp.asarray(1.0)}
    with pytest.raises(ValueError, match="conditions for 2 images, and 3 images"):
        model.given(each).denoise(x, jnp.asarray(1.0))
    mixture = mixture_model(jnp.zeros((1, *SHAPE)), jnp.ones(1))
    with pytest.raises(ValueError, match=r"The condition is int32\[\] and the network takes none"):
        mixture.given(jnp.asarray(3))

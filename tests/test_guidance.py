"""Guidance on mixtures, whose components are their classes: the guided denoiser is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import schedules, translation
from ddib_jax.analytic import mixture_model
from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.guidance import ClassifierFreeGuidance, ClassifierGuidance
from ddib_jax.preconditioning import Sample

SHAPE = (2, 2, 1)
MEANS = np.stack([np.full(SHAPE, -0.6), np.full(SHAPE, 0.7)])
VARIANCES = np.asarray([0.1, 0.2])


def mixture(*components):
    chosen = list(components or (0, 1))
    return mixture_model(jnp.asarray(MEANS[chosen]), jnp.asarray(VARIANCES[chosen]))


class NoisyClassifier:
    """log p(component | noisy x) of the mixture, exact at every noise level.

    Called on x / sqrt(1 + sigma^2) and EDM's time.
    """

    def apply(self, variables, x, time):
        sigma = schedules.EDM().sigma(time)[:, None]
        noisy = x.reshape(len(x), -1) * jnp.sqrt(1 + sigma**2)
        total = jnp.asarray(VARIANCES)[None] + sigma**2
        gaps = jnp.sum((noisy[:, None] - jnp.asarray(MEANS).reshape(1, 2, -1)) ** 2, axis=2)
        return -0.5 * gaps / total - 2 * jnp.log(total)


class Conditional:
    """The mixture's components by label, and the whole of it under the label 2."""

    def apply(self, variables, x, time, cond=None):
        models = (mixture(0), mixture(1), mixture())
        outputs = [model.network.apply({"params": model.params}, x, time) for model in models]
        return jnp.stack(outputs)[cond, jnp.arange(len(x))]

    def init(self, key, x, time, cond=None):
        return {"params": {}}

    def condition_spec(self):
        return jax.ShapeDtypeStruct((), jnp.int32)


CONDITIONAL = Conditional()


def conditional(label):
    options = {"network": CONDITIONAL, "schedule": schedules.EDM(), "data_shape": SHAPE}
    return DiffusionModel({}, Sample(), **options).given(label)


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(5, *SHAPE))


@pytest.mark.slow
@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("sigma", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("label", [0, 1])
def test_a_classifier_of_scale_1_leads_to_its_class(x, sigma, label):
    x, sigma = jnp.asarray(x * (1 + sigma)), jnp.asarray(sigma)
    guided = mixture().guided(ClassifierGuidance({}, jnp.asarray(label), network=NoisyClassifier()))
    truth = mixture(label).denoise(x, sigma)
    np.testing.assert_allclose(guided.denoise(x, sigma), truth, atol=1e-9)
    per_image = jnp.full(5, sigma)
    np.testing.assert_allclose(guided.denoise(x, per_image), truth, atol=1e-9)


@pytest.mark.slow
@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("null", [2, [2, 1, 2, 0, 2]], ids=["one", "each"])
@pytest.mark.parametrize("label", [0, [0, 1, 1, 2, 0]], ids=["one", "each"])
@pytest.mark.parametrize("sigma", [0.7, [0.1, 0.7, 3.0, 20.0, 0.5]], ids=["one", "each"])
def test_classifier_free_guidance_extrapolates(x, sigma, label, null, joint):
    """Both branches in one call of the network or in two, for all images or for each its own."""
    x, sigma, label, null = (
        jnp.asarray(x),
        jnp.asarray(sigma),
        jnp.asarray(label),
        jnp.asarray(null),
    )
    free, own = conditional(null).denoise(x, sigma), conditional(label).denoise(x, sigma)
    each = jnp.arange(5.0).reshape(5, 1, 1, 1)
    for scale in (0.0, 1.0, 3.0, each):
        guidance = ClassifierFreeGuidance(null, jnp.asarray(scale), joint=joint)
        guided = conditional(label).guided(guidance)
        truth = free + jnp.asarray(scale) * (own - free)
        np.testing.assert_allclose(guided.denoise(x, sigma), truth, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("sigma", [0.7, [0.1, 0.7, 3.0, 20.0, 0.5]], ids=["one", "each"])
def test_rescaled_noise_has_the_deviation_of_the_conditions(x, sigma, joint):
    """Equations 14 to 16 of Lin et al. (2023), on epsilon, image by image."""
    x, sigma, null = jnp.asarray(x), jnp.asarray(sigma), jnp.asarray(2)
    label = jnp.asarray([0, 1, 1, 0, 0])
    each = jnp.linspace(0.0, 1.0, 5).reshape(5, 1, 1, 1)
    told = conditional(label)
    plain = told.guided(ClassifierFreeGuidance(null, jnp.asarray(4.0))).denoise(x, sigma)
    level = np.reshape(sigma, (-1, 1, 1, 1))
    noise, own = ((np.asarray(x) - d) / level for d in (plain, told.denoise(x, sigma)))
    deviation = lambda noise: np.std(noise, axis=(1, 2, 3), keepdims=True)
    for phi in (jnp.asarray(0.0), jnp.asarray(0.7), jnp.asarray(1.0), each):
        guidance = ClassifierFreeGuidance(null, jnp.asarray(4.0), phi, joint=joint)
        rescaled = noise * deviation(own) / deviation(noise)
        mixed = np.asarray(phi) * rescaled + (1 - np.asarray(phi)) * noise
        found = told.guided(guidance).denoise(x, sigma)
        np.testing.assert_allclose(found, x - level * mixed, rtol=1e-9, atol=1e-12)


def test_rescaling_nothing_is_nothing():
    """An answer that leaves no noise has no deviation to be divided by."""
    denoise = lambda x, *conds: [x for _ in conds]
    guidance = ClassifierFreeGuidance(jnp.asarray(0), 3.0, 0.7)
    x = jnp.ones((2, *SHAPE))
    found = guidance(denoise, x, jnp.asarray(1.0), jnp.zeros(2), jnp.asarray(1))
    np.testing.assert_array_equal(found, x)


class Counting(Conditional):
    """As `Conditional`; notes the size of every batch that it is called on."""

    def __init__(self):
        self.batches = []

    def apply(self, variables, x, time, cond=None):
        self.batches.append(len(x))
        return super().apply(variables, x, time, cond)


@pytest.mark.slow
@pytest.mark.parametrize(("joint", "batches"), [(True, [10]), (False, [5, 5])])
def test_the_branches_share_a_call_of_the_network(x, joint, batches):
    network, guidance = Counting(), ClassifierFreeGuidance(jnp.asarray(2), 3.0, joint=joint)
    model = conditional(0).replace(network=network).guided(guidance)
    model.denoise(jnp.asarray(x), jnp.asarray(0.7))
    assert network.batches == batches
    assert guidance.evaluations == sum(batches) / 5


def test_guidances_describe_themselves():
    null, network = jnp.asarray(2), NoisyClassifier()
    scales = jnp.asarray([2.5, 1.0, 2.5]).reshape(3, 1, 1, 1)
    by_classifier = ClassifierGuidance({}, jnp.asarray(0), 4.0, network=network)
    assert ClassifierFreeGuidance(null, 3).describe() == "classifier-free guidance of scale 3"
    each = ClassifierFreeGuidance(null, scales, joint=False)
    assert each.describe() == "classifier-free guidance of scale 1, 2.5"
    rescaled = ClassifierFreeGuidance(null, 7.5, 0.7)
    assert rescaled.describe() == "classifier-free guidance of scale 7.5, rescaled by 0.7"
    assert by_classifier.describe() == "classifier guidance of scale 4"
    assert by_classifier.evaluations == 2


def test_a_new_scale_or_label_or_null_does_not_retrace():
    traces = 0

    @jax.jit
    def run(model, x):
        nonlocal traces
        traces += 1
        return model.denoise(x, jnp.asarray(1.0))

    x, network = jnp.ones((5, *SHAPE)), NoisyClassifier()
    for scale, label in ((1.0, 0), (2.0, 1)):
        guidance = ClassifierGuidance({}, jnp.asarray(label), jnp.asarray(scale), network=network)
        run(mixture().guided(guidance), x)
    assert traces == 1
    for scale, label, null in ((1.0, 0, 2), (2.0, 1, 0)):
        guidance = ClassifierFreeGuidance(jnp.asarray(null), jnp.asarray(scale))
        run(conditional(jnp.asarray(label)).guided(guidance), x)
    assert traces == 2
    for rescale in (0.3, 0.7):
        rescaled = guidance.replace(rescale=jnp.asarray(rescale))
        run(conditional(jnp.asarray(1)).guided(rescaled), x)
    assert traces == 3


@pytest.mark.slow
@pytest.mark.usefixtures("strict")
def test_a_guided_bridge_is_guided_in_both_directions(x):
    """Decoded under the guidance of its encoding the image comes back; without, it does not."""
    model = conditional(0).guided(ClassifierFreeGuidance(jnp.asarray(2), jnp.asarray(2.0)))
    guided = Bridge.over(model, steps=200, grid="log-uniform")
    x = jnp.asarray(x)
    latent = guided.encode(x)
    assert float(jnp.abs(guided.decode(latent) - x).max()) < 1e-3
    plain = Bridge.over(model.guided(None), steps=200, grid="log-uniform")
    assert float(jnp.abs(plain.decode(latent) - x).max()) > 0.05


@pytest.mark.slow
def test_bridges_that_are_guided_unalike_are_warned_of(x, recwarn):
    def guidance(scale):
        return ClassifierGuidance({}, jnp.asarray(0), jnp.asarray(scale), network=NoisyClassifier())

    images = np.asarray(x, np.float32)
    bridges = [
        Bridge.over(mixture().guided(guidance(scale) if scale else None), steps=10)
        for scale in (None, 1.0, 2.0)
    ]
    for alike in bridges[:2]:
        translation.translate(DDIB(alike, alike), images)
    assert not [warning for warning in recwarn if "guide both alike" in str(warning.message)]
    with pytest.warns(
        UserWarning,
        match="source is unguided and the target under classifier guidance of scale 1",
    ):
        translation.translate(DDIB(bridges[0], bridges[1]), images)
    with pytest.warns(
        UserWarning, match="of scale 1 and the target under classifier guidance of scale 2"
    ):
        translation.translate(DDIB(bridges[1], bridges[2]), images)

"""Bridges: what retraces and what does not, auxiliary states, errors, and the shipped models."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ddib_jax
from ddib_jax import schedules, translation
from ddib_jax.analytic import mixture_model
from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets import UNet
from ddib_jax.preconditioning import Wiener
from ddib_jax.solvers import (
    SOLVERS,
    ExactEuler,
    FixedPoint,
    ImplicitMidpoint,
    get_solver,
)

pytestmark = pytest.mark.slow

SHAPE = (8, 8, 1)


def conditional(seed, labels):
    """A small class-conditional U-Net with Wiener statistics of its own, a new one every call."""
    network = UNet(
        out_channels=1,
        model_channels=32,
        channel_mult=(1,),
        attention_resolutions=(),
        patch_size=2,
        num_classes=3,
    )
    rng = np.random.default_rng(seed)
    wiener = Wiener.fit(rng.normal(size=(20, *SHAPE)).astype(np.float32), rank=4)
    inputs = jnp.zeros((1, 8, 8, 2))
    params = jax.jit(network.init)(
        jax.random.key(seed), inputs, jnp.zeros(1), jnp.zeros(1, jnp.int32)
    )["params"]
    # layers that start at zero would hide the others
    params = jax.tree.map(lambda leaf: jnp.where(leaf == 0, 0.05, leaf), params)
    options = {"network": network, "schedule": schedules.EDM(), "data_shape": SHAPE}
    return DiffusionModel(params, wiener, jnp.asarray(labels), **options)


def shifted(latent, coefficient, context):
    return latent + coefficient * context["noise"]


def test_new_weights_labels_statistics_and_coefficients_do_not_retrace():
    traces = 0

    @jax.jit
    def run(ddib, key, image):
        nonlocal traces
        traces += 1
        return ddib(jax.random.split(key, len(image)), image)

    image, results = jnp.zeros((2, *SHAPE)), []
    for seed, labels, coefficient in [
        (0, [0, 1], 0.0),
        (1, [0, 1], 0.0),
        (1, [2, 1], 0.0),
        (1, [2, 1], 0.5),
    ]:
        half = Bridge.over(conditional(seed, labels), steps=3)
        ddib = DDIB(half, half, coefficient, perturb=shifted)
        results.append(run(ddib, jax.random.key(0), image))
    assert traces == 1
    assert all(
        float(jnp.abs(a - b).max()) > 0 for a, b in zip(results[1:], results[:-1], strict=True)
    )


def test_the_weights_are_not_constants_of_the_program(unchecked):
    half = Bridge.over(conditional(0, [0, 1]), steps=3)
    text = jax.jit(Bridge.encode).lower(half, jnp.zeros((2, *SHAPE))).as_text()
    constants = [len(digits) for digits in re.findall(r"dense<([^>]*)>", text)]
    assert max(constants) < 200


def gaussians():
    means = [jnp.full((1, *SHAPE), mean) for mean in (0.5, -0.5)]
    return [Bridge.over(mixture_model(mean, jnp.asarray([0.2])), steps=20) for mean in means]


def test_batches_do_not_matter():
    """Any batch size, a last batch cut short, and noise: each image's translation is its own."""
    source, target = gaussians()
    images = np.random.default_rng(0).normal(size=(7, *SHAPE)).astype(np.float32)
    ddib = DDIB(source, target, 0.1, perturb=shifted)
    together = translation.translate(ddib, images, batch_size=7)
    for size in (1, 3, 64):
        np.testing.assert_allclose(
            translation.translate(ddib, images, batch_size=size), together, atol=1e-5
        )
    np.testing.assert_allclose(
        translation.translate(ddib, images[:2], batch_size=7), together[:2], atol=1e-5
    )


def test_translate_is_encode_then_decode():
    source, target = gaussians()
    images = np.random.default_rng(1).normal(size=(3, *SHAPE)).astype(np.float32)
    by_hand = translation.decode(target, translation.encode(source, images).y)
    np.testing.assert_allclose(
        translation.translate(DDIB(source, target), images), by_hand, atol=1e-5
    )
    # N(.5, .2) onto N(-.5, .2)
    np.testing.assert_allclose(by_hand, images - 1.0, atol=0.03)


def test_what_does_not_fit_is_refused():
    source, _ = gaussians()
    other = Bridge.over(mixture_model(jnp.zeros((1, 4, 4, 1)), jnp.asarray([0.2])), steps=3)
    with pytest.raises(ValueError, match="latents of 8 x 8 x 1, the target decodes 4 x 4 x 1"):
        translation.translate(DDIB(source, other), np.zeros((2, *SHAPE), np.float32))
    with pytest.raises(ValueError, match="takes images of 8 x 8 x 1; these are of 4 x 4 x 1"):
        translation.encode(source, np.zeros((2, 4, 4, 1), np.float32))
    with pytest.raises(ValueError, match="none were given"):
        translation.decode(source, np.zeros((0, *SHAPE), np.float32))
    with pytest.raises(ValueError, match="images hold values that are not finite"):
        translation.encode(source, np.full((1, *SHAPE), np.nan, np.float32))
    with pytest.raises(FloatingPointError, match="1 of 2 images are not finite"):
        translation.decode(source, np.stack([np.zeros(SHAPE), np.full(SHAPE, 3e38)]).astype("f4"))


REVERSIBLE = [name for name, solver in SOLVERS.items() if solver.inverse is not None]


def several(steps=10, solver="rex-midpoint", high=80.0, seed=0):
    """A bridge over a mixture, whose flow is not linear, and images of it."""
    means = jnp.asarray(np.random.default_rng(seed).normal(size=(3, *SHAPE)))
    model = mixture_model(
        means, jnp.asarray([0.05, 0.1, 0.2], means.dtype), schedule=schedules.EDM(0.1, high)
    )
    return (
        Bridge.over(model, steps=steps, grid="log-uniform", solver=get_solver(solver)),
        means + 0.2,
    )


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("name", REVERSIBLE)
def test_with_its_auxiliary_state_a_reversible_solver_gives_the_image_back(name):
    """In float64 at 10 steps to 1e-12, both ways round.

    Less near where the undoing multiplies rounding (EDICT: by 1.16 a step).
    """
    half, image = several(solver=name)
    up = half.solve(image, rising=True)
    near = {"edict": 1e-8, "bdia": 1e-11, "coupled-midpoint": 1e-11, "coupled-rk4": 1e-11}.get(
        name, 1e-12
    )
    assert float(jnp.abs(half.solve(up.y, rising=False, aux=up.aux).y - image).max()) < near
    down = half.solve(up.y, rising=False)
    back = half.solve(down.y, rising=True, aux=down.aux)
    assert float(jnp.abs(back.y - up.y).max()) < near * float(half.scale)


@pytest.mark.usefixtures("strict")
def test_the_pair_goes_to_another_domain_and_back():
    """Handed on from model to model the auxiliary state closes the cycle, at ten long steps."""
    (half, image), (other, _) = several(), several(seed=1)
    up = half.solve(image, rising=True)
    there = other.solve(up.y, rising=False, aux=up.aux)
    again = other.solve(there.y, rising=True, aux=there.aux)
    back = half.solve(again.y, rising=False, aux=again.aux)
    assert float(jnp.abs(there.y - image).max()) > 0.1
    assert float(jnp.abs(back.y - image).max()) < 1e-11


@pytest.mark.usefixtures("double")
def test_an_auxiliary_state_travels_through_batches():
    half, images = several()
    images = np.asarray(images)
    end = translation.encode(half, images, batch_size=2)
    np.testing.assert_allclose(end.y, translation.encode(half, images).y, atol=1e-9)
    np.testing.assert_allclose(
        translation.decode(half, end.y, aux=end.aux, batch_size=2), images, atol=1e-9
    )
    assert np.abs(translation.decode(half, end.y) - images).max() > 1e-3


def test_an_auxiliary_state_of_another_solver_or_grid_is_refused(unchecked):
    half, images = several()
    end = translation.encode(half, np.asarray(images))
    latents, aux = end.y, end.aux
    with pytest.raises(ValueError, match="The auxiliary state is that of Exponential"):
        translation.decode(several(solver="o-belm")[0], latents, aux=aux)
    for grid, sentence in (({"steps": 12}, "12 steps"), ({"high": 40.0}, "10 steps to 40")):
        match = f"another grid, of 10 steps to 80; this bridge's has {sentence}"
        with pytest.raises(ValueError, match=match):
            translation.decode(several(**grid)[0], latents, aux=aux)
    with pytest.raises(ValueError, match="that of 3 other latents than these 2"):
        translation.decode(half, latents[:2], aux=aux)
    heun = several(solver="heun")[0]
    with pytest.raises(ValueError, match="no auxiliary state to start from"):
        heun.solve(jnp.asarray(latents), rising=False, aux=aux.replace(solver=heun.solver))


@pytest.mark.parametrize("solver", [ExactEuler, ImplicitMidpoint])
def test_an_implicit_solver_that_does_not_converge_is_named_with_its_residual(solver):
    """Narrow data and few long steps: one pass of the fixed point does not find the step."""
    model = mixture_model(jnp.zeros((1, *SHAPE)), jnp.asarray([0.01]))
    hasty = Bridge.over(model, steps=3, solver=solver(FixedPoint(passes=1, newton=0)))
    images = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32) * 0.1
    assert not np.isfinite(hasty.encode(jnp.asarray(images))).any()
    for run in (
        lambda: translation.encode(hasty, images),
        lambda: translation.translate(DDIB(hasty, hasty), images),
    ):
        match = f"{solver.__name__} did not converge on 2 of 2 images: the worst relative residual"
        with pytest.raises(FloatingPointError, match=match):
            run()
    if solver is ImplicitMidpoint:
        with pytest.raises(FloatingPointError, match="did not converge on 2 of 2"):
            translation.decode(hasty, images)


def test_latents_far_from_gaussian_are_warned_of(recwarn):
    source, target = gaussians()
    images = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32) * 0.4 + 0.5
    translation.encode(source, images)
    translation.translate(DDIB(source, target), images)
    assert not recwarn.list
    for run in (
        lambda: translation.encode(source, images * 10),
        lambda: translation.translate(DDIB(source, target), images * 10),
    ):
        with pytest.warns(UserWarning, match=r"far from N\(0, I\).*ddib diagnose"):
            run()


def test_shipped_models_give_the_image_back():
    """Eight test fives encoded and decoded by Heun's method in 40 steps."""
    five = Bridge.over(ddib_jax.load("five"), steps=40)
    images = ddib_jax.load_dataset("five", split="test").take(range(8))
    back = translation.decode(five, translation.encode(five, images).y)
    assert np.sqrt(np.sum((back - images) ** 2) / np.sum(images**2)) < 1e-3


def test_shipped_models_give_the_image_back_exactly_with_the_auxiliary_state():
    """At 10 steps in float32: a reversible solver to 1e-5, where DDIM is off by some hundredths."""
    images, error = ddib_jax.load_dataset("five", split="test").take(range(4)), {}
    for name in ("o-belm", "ddim"):
        five = Bridge.over(
            ddib_jax.load("five"), steps=10, grid="log-uniform", solver=get_solver(name)
        )
        if name == "o-belm":
            end = translation.encode(five, images)
            back = translation.decode(five, end.y, aux=end.aux)
        else:
            back = translation.decode(five, translation.encode(five, images).y)
        error[name] = np.sqrt(np.sum((back - images) ** 2) / np.sum(images**2))
    assert error["o-belm"] < 1e-5 < 1e-2 < error["ddim"]

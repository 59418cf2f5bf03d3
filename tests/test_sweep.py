"""Sweeps: the results of single translations, encoded once, in memory that does not grow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import bridge, schedules
from ddib_jax.analytic import mixture_model
from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.perturbations import get_perturbation, parse_perturbation
from ddib_jax.translation import sweep, translate_sweep

pytestmark = pytest.mark.usefixtures("double")

SHAPE = (8, 8, 3)
IMAGES = np.random.default_rng(0).normal(0, 0.4, size=(5, *SHAPE))
KEY = jax.random.key(3)


def legs(steps=6, shape=SHAPE):
    rng = np.random.default_rng(1)
    means = [jnp.asarray(rng.normal(size=(3, *shape))) for _ in range(2)]
    return [
        Bridge.over(
            mixture_model(mean, jnp.full(3, 0.2), schedule=schedules.EDM(0.02, 40.0)), steps=steps
        )
        for mean in means
    ]


WORDS = {
    "none": ["none"],
    "noise": ["add-noise"],
    "image": ["blend-image"],
    "other": ["slerp-other"],
    "before encoding": ["blur-image"],
    "noise level": ["partial-noise"],
    "sequence": ["blur-image=0.5", "partial-noise", "normalise=1", "slerp-noise"],
}


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_both_sweeps_are_one_translation_a_coefficient(words):
    """Whatever a perturbation looks at and wherever it acts."""
    ddib, coefficients = DDIB(*legs(), perturb=parse_perturbation(words, [])), (0.25, 0.75)
    translate = jax.jit(DDIB.__call__)
    pure = jax.jit(sweep)(KEY, ddib, jnp.asarray(IMAGES), jnp.asarray(coefficients))
    batched = translate_sweep(ddib, IMAGES, coefficients, key=KEY, batch_size=2)
    assert batched.images.shape == batched.latents.shape == (2, *IMAGES.shape)
    for row, coefficient in enumerate(coefficients):
        single = ddib.replace(coefficient=jnp.asarray(coefficient))
        np.testing.assert_allclose(
            pure[row], translate(single, KEY, jnp.asarray(IMAGES)), atol=1e-9
        )
        np.testing.assert_allclose(
            batched.images[row], bridge.translate(single, IMAGES, key=KEY, batch_size=2), atol=1e-9
        )


def test_given_latents_are_not_encoded_again():
    source, target = legs()
    ddib = DDIB(source, target, perturb=get_perturbation("slerp-other"))
    latents = bridge.encode(source, IMAGES)
    expected = translate_sweep(ddib, IMAGES, [0.25, 1.0], key=KEY)
    blind = DDIB(source.replace(sigmas=source.sigmas * jnp.nan), target, perturb=ddib.perturb)
    result = translate_sweep(blind, None, [0.25, 1.0], latents=latents, key=KEY)
    np.testing.assert_allclose(result.images, expected.images, atol=1e-9)


def test_neither_coefficients_nor_models_retrace():
    traces = 0

    @jax.jit
    def run(ddib, coefficients):
        nonlocal traces
        traces += 1
        return sweep(KEY, ddib, jnp.asarray(IMAGES), coefficients)

    source, target = legs()
    first = run(
        DDIB(source, target, perturb=parse_perturbation(["rotate", "blur=0.5"], [])),
        jnp.asarray([5.0, 10.0]),
    )
    second = run(
        DDIB(target, source, perturb=parse_perturbation(["rotate", "blur=0.5"], [])),
        jnp.asarray([7.0, 10.0]),
    )
    assert traces == 1
    assert float(jnp.abs(first - second).max()) > 0


@pytest.mark.parametrize("at_once", [1, 10, 1000])
def test_chunks_do_not_matter(at_once):
    ddib = DDIB(*legs(), perturb=get_perturbation("add-noise"))
    coefficients, images = jnp.asarray([0.0, 0.1, 0.2, 0.3, 0.4, 0.5]), jnp.asarray(IMAGES)
    expected = jax.jit(sweep)(KEY, ddib, images, coefficients)
    np.testing.assert_allclose(
        sweep(KEY, ddib, images, coefficients, at_once=at_once), expected, atol=1e-9
    )


def test_memory_does_not_grow_with_the_number_of_coefficients(unchecked):
    """The program's temporary memory is that of 4 coefficients for 64; a plain vmap's is not."""
    ddib = DDIB(*legs(shape=(32, 32, 3)), perturb=get_perturbation("add-noise"))
    image = jnp.zeros((4, 32, 32, 3))

    def memory(count, at_once):
        run = jax.jit(lambda d, i, c: sweep(KEY, d, i, c, at_once=at_once))
        return (
            run.lower(ddib, image, jnp.linspace(0, 1, count))
            .compile()
            .memory_analysis()
            .temp_size_in_bytes
        )

    few, many, unbounded = memory(4, 8), memory(64, 8), memory(64, 10_000)
    assert many < 1.1 * few
    assert unbounded > 3 * many


def test_latents_alone_do_where_no_image_is_looked_at():
    source, target = legs()
    for words in (["blend-image"], ["blur-image"], ["partial-noise"]):
        ddib = DDIB(source, target, perturb=parse_perturbation(words, []))
        with pytest.raises(ValueError, match="looks at the source images"):
            translate_sweep(ddib, None, [0.5], latents=IMAGES)
    with pytest.raises(ValueError, match="takes latents of 8 x 8 x 3; these are of 4 x 4 x 3"):
        translate_sweep(DDIB(source, target), None, [0], latents=np.zeros((2, 4, 4, 3)))


def test_a_lower_meeting_level_is_reached_by_as_many_steps():
    source, target = legs()
    ddib = DDIB(source, target, 2.0, perturb=get_perturbation("partial-noise"))
    for leg in ddib.legs():
        assert len(leg.sigmas) == len(source.sigmas)
        np.testing.assert_allclose([leg.sigmas[0], leg.sigmas[-1]], [0.02, 2.0], rtol=1e-5)
    np.testing.assert_allclose(
        ddib.replace(coefficient=1e6).legs()[0].sigmas, source.sigmas, rtol=1e-5
    )

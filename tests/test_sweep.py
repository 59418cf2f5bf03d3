"""Sweeps: the results of single translations, encoded once, in memory that does not grow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import schedules, translation
from ddib_jax.analytic import mixture_model
from ddib_jax.baselines import SDEdit
from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.perturbations import PERTURBATIONS, get_perturbation, parse_perturbation
from ddib_jax.translation import image_keys, sweep, translate_sweep

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("double")]

SHAPE = (8, 8, 3)
IMAGES = np.random.default_rng(0).normal(0, 0.4, size=(5, *SHAPE))
KEY = jax.random.key(3)
KEYS = image_keys(KEY, len(IMAGES))
REFERENCES = np.roll(IMAGES, 1, axis=0)


def bridges(steps=6, shape=SHAPE):
    rng = np.random.default_rng(1)
    means = [jnp.asarray(rng.normal(size=(3, *shape))) for _ in range(2)]
    return [
        Bridge.over(
            mixture_model(mean, jnp.full(3, 0.2), schedule=schedules.EDM(0.02, 40.0)), steps=steps
        )
        for mean in means
    ]


CHOSEN = {
    **{name: ([name], perturbation.sweep[-2:]) for name, perturbation in PERTURBATIONS.items()},
    "sequence": (
        ["blur-image=0.5", "partial-noise", "normalise=1", "slerp-other", "slerp-noise"],
        (0.25, 0.75),
    ),
}


@pytest.mark.parametrize(("words", "values"), CHOSEN.values(), ids=CHOSEN)
def test_every_road_is_one_translation(words, values):
    """By the call, the driver, both sweeps and an image alone, whatever a perturbation looks at."""
    perturb = parse_perturbation(words, values)
    ddib = DDIB(*bridges(), perturb=perturb, reference=jnp.asarray(REFERENCES))
    images, values = jnp.asarray(IMAGES), tuple(map(float, values))
    pure = jax.jit(sweep)(KEYS, ddib, images, jnp.asarray(values))
    batched = translate_sweep(ddib, IMAGES, values, key=KEY, batch_size=2)
    assert batched.images.shape == batched.latents.shape == (len(values), *IMAGES.shape)
    for row, value in enumerate(values):
        single = ddib.replace(coefficient=value)
        expected = np.asarray(jax.jit(DDIB.__call__)(single, KEYS, images))
        driven = translation.translate(single, IMAGES, key=KEY, batch_size=2)
        own = single.replace(reference=jnp.asarray(REFERENCES[3]))
        alone = translation.translate(own, IMAGES[3:4], key=KEY, indices=np.asarray([3]))
        for found in (pure[row], batched.images[row], driven):
            np.testing.assert_allclose(found, expected, atol=1e-9)
        np.testing.assert_allclose(alone[0], expected[3], atol=1e-9)


def test_any_field_of_any_method_is_swept():
    _, target = bridges()
    swept = translate_sweep(
        SDEdit(target, jnp.asarray(1.0)), IMAGES, (0.5, 2.0), over="sigma", key=KEY
    )
    assert swept.latents is None
    for row, sigma in enumerate((0.5, 2.0)):
        single = translation.translate(SDEdit(target, jnp.asarray(sigma)), IMAGES, key=KEY)
        np.testing.assert_allclose(swept.images[row], single, atol=1e-9)


def test_given_latents_are_not_encoded_again():
    source, target = bridges()
    ddib = DDIB(source, target, perturb=get_perturbation("add-noise"))
    latents = translation.encode(source, IMAGES).y
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
        return sweep(KEYS, ddib, jnp.asarray(IMAGES), coefficients)

    source, target = bridges()
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
    ddib = DDIB(*bridges(), perturb=get_perturbation("add-noise"))
    coefficients, images = jnp.asarray([0.0, 0.1, 0.2, 0.3, 0.4, 0.5]), jnp.asarray(IMAGES)
    expected = jax.jit(sweep)(KEYS, ddib, images, coefficients)
    np.testing.assert_allclose(
        sweep(KEYS, ddib, images, coefficients, at_once=at_once), expected, atol=1e-9
    )


def test_memory_does_not_grow_with_the_number_of_coefficients(unchecked):
    """The program's temporary memory is that of 4 coefficients for 64; a plain vmap's is not."""
    ddib = DDIB(*bridges(shape=(32, 32, 3)), perturb=get_perturbation("add-noise"))
    image = jnp.zeros((4, 32, 32, 3))

    def memory(count, at_once):
        run = jax.jit(lambda d, i, c: sweep(KEYS[:4], d, i, c, at_once=at_once))
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
    source, target = bridges()
    for words in (["blend-image"], ["blur-image"], ["partial-noise"]):
        ddib = DDIB(source, target, perturb=parse_perturbation(words, []))
        with pytest.raises(ValueError, match="looks at the source images"):
            translate_sweep(ddib, None, [0.5], latents=IMAGES)
    with pytest.raises(ValueError, match="takes latents of 8 x 8 x 3; these are of 4 x 4 x 3"):
        translate_sweep(DDIB(source, target), None, [0], latents=np.zeros((2, 4, 4, 3)))


def test_a_lower_meeting_level_is_reached_by_as_many_steps():
    source, target = bridges()
    ddib = DDIB(source, target, 2.0, perturb=get_perturbation("partial-noise"))
    for leg in ddib.bridges():
        assert len(leg.sigmas) == len(source.sigmas)
        np.testing.assert_allclose([leg.sigmas[0], leg.sigmas[-1]], [0.02, 2.0], rtol=1e-5)
    np.testing.assert_allclose(
        ddib.replace(coefficient=1e6).bridges()[0].sigmas, source.sigmas, rtol=1e-5
    )

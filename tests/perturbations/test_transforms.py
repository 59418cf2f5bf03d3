"""What single perturbations do, on latents small enough to follow by hand."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

from ddib_jax.perturbations import FRESH_NOISE, PERTURBATIONS, Fixed, at, parse_perturbation

RNG = np.random.default_rng(0)
LATENT = jnp.asarray(RNG.normal(size=(2, 8, 8, 3)), jnp.float32)
NOISE = jnp.asarray(RNG.normal(size=LATENT.shape), jnp.float32)
CONTEXT = {
    "data": jnp.full(LATENT.shape, -1.0),
    "noise": NOISE,
    "latent": LATENT,
    "reference": NOISE,
}


def perturbed(name, coefficient, latent=LATENT, context=CONTEXT):
    return np.asarray(PERTURBATIONS[name](latent, jnp.asarray(coefficient, latent.dtype), context))


def test_local_rotation_turns_each_block_clockwise():
    block = jnp.asarray([[1.0, 2.0], [3.0, 4.0]])
    grid = jnp.tile(block, (2, 3))[None, :, :, None]
    for turns, expected in enumerate(
        [[[1, 2], [3, 4]], [[3, 1], [4, 2]], [[4, 3], [2, 1]], [[2, 4], [1, 3]]]
    ):
        turned = perturbed("local-rotation", turns, grid)[0, :, :, 0]
        np.testing.assert_array_equal(turned, np.tile(expected, (2, 3)))
    with pytest.raises(ValueError, match="5 x 4 does not divide"):
        perturbed("local-rotation", 1, jnp.zeros((1, 5, 4, 1)))


def test_checkerboard_alternates_cells_of_the_given_width():
    for size in (1, 2, 3):
        board = perturbed("checkerboard-image", size)
        rows, columns = np.indices((8, 8)) // size
        is_image = (rows + columns) % 2 == 1
        np.testing.assert_array_equal((board == -1).all(axis=(0, 3)), is_image)
        np.testing.assert_array_equal(board[:, ~is_image], np.asarray(LATENT)[:, ~is_image])


def test_normalise():
    found = perturbed("normalise", 0.5, 3 * LATENT + 2)
    np.testing.assert_allclose(found.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(axis=(1, 2, 3)), 0.5, rtol=1e-4)


def test_blur_is_the_gaussian_filter_away_from_the_border():
    wide = jnp.asarray(RNG.normal(size=(1, 32, 32, 1)), jnp.float32)
    found = perturbed("blur", 1.2, wide)[0, :, :, 0]
    expected = scipy.ndimage.gaussian_filter(np.asarray(wide)[0, :, :, 0], 1.2, truncate=8)
    np.testing.assert_allclose(found[10:-10, 10:-10], expected[10:-10, 10:-10], atol=1e-5)
    np.testing.assert_allclose(perturbed("blur", 3.0, jnp.ones((1, 8, 8, 1))), 1, rtol=1e-5)


@pytest.mark.slow
def test_rotation_is_counter_clockwise_and_undone_by_its_opposite():
    np.testing.assert_allclose(perturbed("rotate", 90), np.rot90(LATENT, 1, axes=(1, 2)), atol=1e-5)
    np.testing.assert_allclose(
        perturbed("rotate", -180), np.rot90(LATENT, 2, axes=(1, 2)), atol=1e-5
    )
    rows, columns = np.indices((32, 32)) - 15.5
    bump = np.exp(-((rows + 6) ** 2 + columns**2) / 8)  # above the centre
    smooth = jnp.asarray(bump[None, :, :, None], jnp.float32)
    left = np.exp(
        -((rows + 6 * np.cos(np.pi / 6)) ** 2 + (columns + 6 * np.sin(np.pi / 6)) ** 2) / 8
    )
    turned = perturbed("rotate", 30, smooth)
    np.testing.assert_allclose(turned[0, :, :, 0], left, atol=1e-3)
    np.testing.assert_allclose(perturbed("rotate", -30, jnp.asarray(turned)), smooth, atol=1e-3)
    with pytest.raises(ValueError, match="needs square latents"):
        perturbed("rotate", 30, jnp.zeros((1, 8, 4, 1)))


def test_slerp_stays_on_the_sphere_and_ends_at_its_partner():
    half, end = perturbed("slerp-noise", 0.5), perturbed("slerp-noise", 1.0)
    lengths = [np.sqrt((np.asarray(a) ** 2).sum(axis=(1, 2, 3))) for a in (LATENT, half, end)]
    np.testing.assert_allclose(lengths[1:], [lengths[0]] * 2, rtol=1e-4)
    scale = lengths[0] / np.sqrt((np.asarray(NOISE) ** 2).sum(axis=(1, 2, 3)))
    np.testing.assert_allclose(end, np.asarray(NOISE) * scale[:, None, None, None], atol=1e-4)


@pytest.mark.parametrize("length", [0.2, 1.0, 3.0])
def test_fresh_noise_is_as_long_as_noise_whatever_the_latents_length(length):
    found = np.asarray(FRESH_NOISE(length * LATENT, jnp.asarray(0.0), CONTEXT))
    expected = NOISE - NOISE.mean(axis=(1, 2, 3), keepdims=True)
    expected /= NOISE.std(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_frequencies_kept_are_the_latents():
    spectrum = lambda a: np.fft.fft2(np.asarray(a), axes=(1, 2))
    radius = 2 * np.abs(np.fft.fftfreq(8))
    low = np.maximum(radius[:, None], radius[None]) <= 0.5
    found = spectrum(perturbed("keep-low", 0.5))
    np.testing.assert_allclose(found[:, low], spectrum(LATENT)[:, low], atol=1e-3)
    assert np.abs(found - spectrum(LATENT))[:, ~low].mean() > 1
    found = spectrum(perturbed("keep-high", 0.51))
    np.testing.assert_allclose(found[:, ~low], spectrum(LATENT)[:, ~low], atol=1e-3)
    assert np.abs(found - spectrum(LATENT))[:, low].mean() > 1


def test_phase_and_magnitude_change_places():
    ours, theirs = (np.fft.fft2(np.asarray(a), axes=(1, 2)) for a in (LATENT, NOISE))
    found = np.fft.fft2(perturbed("phase-of-noise", 1.0), axes=(1, 2))
    np.testing.assert_allclose(np.abs(found), np.abs(ours), atol=1e-3)
    np.testing.assert_allclose(found / np.abs(found), theirs / np.abs(theirs), atol=1e-2)
    found = np.fft.fft2(perturbed("magnitude-of-noise", 1.0), axes=(1, 2))
    np.testing.assert_allclose(found / np.abs(found), ours / np.abs(ours), atol=1e-2)


def test_channel_statistics_are_given_back():
    context = CONTEXT | {"latent": 2 * LATENT + jnp.asarray([1.0, 0.0, -1.0])}
    found = perturbed("match-channels", 1.0, context=context)
    for statistic in (np.mean, np.std):
        np.testing.assert_allclose(
            statistic(found, axis=(1, 2)),
            statistic(np.asarray(context["latent"]), axis=(1, 2)),
            atol=1e-4,
        )


def test_gaussianised_values_are_normal_and_keep_their_order():
    skewed = jnp.exp(LATENT)
    found = perturbed("gaussianise", 1.0, skewed).reshape(2, -1)
    assert scipy.stats.kstest(found[0], "norm").statistic < 0.01
    np.testing.assert_array_equal(
        np.argsort(found, axis=1), np.argsort(np.asarray(skewed).reshape(2, -1), axis=1)
    )


@pytest.mark.slow
def test_sequences_apply_in_order_and_keep_fixed_coefficients():
    both = parse_perturbation(["rotate", "blur=1"], [90.0])
    expected = perturbed("blur", 1.0, jnp.rot90(LATENT, 1, axes=(1, 2)))
    np.testing.assert_allclose(both(LATENT, jnp.asarray(90.0), CONTEXT), expected, atol=1e-5)
    assert both.steps[1] == Fixed(PERTURBATIONS["blur"], 1.0)
    assert both == parse_perturbation(["rotate", "blur=1"], [5.0])
    assert hash(both) == hash(parse_perturbation(["rotate", "blur=1"], []))


def test_a_sequence_is_applied_stage_by_stage():
    mixed = parse_perturbation(["blur-image", "normalise=1"], [2.0])
    image = at(mixed, "image", LATENT, jnp.asarray(2.0), CONTEXT)
    np.testing.assert_allclose(image, perturbed("blur", 2.0), atol=1e-6)
    np.testing.assert_allclose(
        mixed(LATENT, jnp.asarray(2.0), CONTEXT), perturbed("normalise", 1.0), atol=1e-6
    )


@pytest.mark.parametrize(
    ("words", "coefficients", "sentence"),
    [
        (["blurr"], [1], "Unknown perturbation 'blurr'; known are none, normalise"),
        (["blur=much"], [1], "'much' in 'blur=much' is not a number"),
        (["blur="], [1], "'' in 'blur=' is not a number"),
        (
            ["blur"],
            [-1],
            "The coefficient -1 does not suit 'blur', which takes a number from 0 to 100",
        ),
        (["rotate", "blur=nan"], [1], "The coefficient nan does not suit 'blur'"),
        (["local-rotation"], [1.5], "does not suit 'local-rotation', which takes whole numbers"),
        (["blur", "blur-image"], [1], "comes before the latent's own"),
    ],
)
def test_bad_input_is_one_sentence(words, coefficients, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        parse_perturbation(words, coefficients)

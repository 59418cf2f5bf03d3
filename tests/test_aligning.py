"""Latents aligned with the target's: nearer translations where the models meet too low."""

import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import schedules
from ddib_jax.analytic import mixture_model
from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.perturbations import PERTURBATIONS, parse_perturbation
from ddib_jax.translation import align, translate
from ddib_jax.transport import wasserstein

RNG = np.random.default_rng(0)
SCHEDULE = schedules.EDM(0.02, 20.0)


def domain(levels):
    """Images [300 2 2 3] of one brightness each, about the `levels`, and their bridge."""
    means = jnp.ones((len(levels), 2, 2, 3)) * jnp.array(levels).reshape(-1, 1, 1, 1)
    model = mixture_model(means, jnp.full(len(levels), 0.01), schedule=SCHEDULE)
    chosen = np.asarray(means)[RNG.integers(len(levels), size=300)]
    images = chosen + 0.1 * RNG.normal(size=chosen.shape)
    return images.astype(np.float32), Bridge.over(model, steps=20).up_to(jnp.float32(0.5))


def test_aligned_latents_bring_translations_nearer():
    pytest.importorskip("ott", reason="extra 'studies'")
    (images, source), (target_images, target) = domain([-0.8, 0.0]), domain([-0.2, 0.9])
    plain = DDIB(source, target)
    aligned = align(plain, images, target_images, directions=1)
    flat = lambda x: np.asarray(x).reshape(len(x), -1)
    others, _ = domain([-0.2, 0.9])
    far, near = (
        wasserstein(flat(translate(method, images)), flat(others)) for method in (plain, aligned)
    )
    assert near < 0.6 * far
    # colour is left as it was: what is moved is the same in all channels
    moved = np.asarray(aligned.perturb(jnp.asarray(images), 1.0, None)) - images
    np.testing.assert_allclose(moved, np.broadcast_to(moved[..., :1], moved.shape), atol=1e-5)


@pytest.mark.parametrize(("word", "coefficient"), [("blur-image=0.7", 0.0), ("blur-image", 0.7)])
def test_images_are_perturbed_before_latents_are_aligned(word, coefficient):
    pytest.importorskip("ott", reason="extra 'studies'")
    (images, source), (others, target) = domain([-0.8, 0.0]), domain([-0.2, 0.9])
    perturb = parse_perturbation((word,), ())
    plain = DDIB(source, target)
    both = align(DDIB(source, target, coefficient, perturb=perturb), images, others, directions=1)
    blurred = np.asarray(PERTURBATIONS["blur-image"](jnp.asarray(images), jnp.asarray(0.7), {}))
    aligned = align(plain, images, others, directions=1)
    expected = translate(aligned, blurred)
    np.testing.assert_allclose(translate(both, images), expected, atol=1e-5)
    assert np.abs(expected - translate(aligned, images)).max() > 0.01


def test_what_is_perturbed_or_unlike_is_refused():
    (images, source), (others, target) = domain([-0.8, 0.0]), domain([-0.2, 0.9])
    perturbed = DDIB(source, target, perturb=parse_perturbation(("blur=1",), ()))
    with pytest.raises(ValueError, match="perturbed already"):
        align(perturbed, images, others)

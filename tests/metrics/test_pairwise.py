"""Errors between images and their counterparts, against closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.metrics import pooled_relative_rmse, relative_rmse, rmse


def test_relative_rmse_of_a_scaled_image_is_the_scale():
    images = np.random.default_rng(0).normal(size=(5, 4, 4, 3))
    scales = np.array([0.0, 0.1, 0.5, 1.0, 2.0])
    np.testing.assert_allclose(
        relative_rmse(images * (1 + scales[:, None, None, None]), images), scales, atol=1e-12
    )


def test_rmse_of_a_constant_shift_is_the_shift():
    images = jnp.zeros((2, 3, 3, 1))
    np.testing.assert_allclose(rmse(images + 0.25, images), 0.25)


def test_pooled_error_weighs_images_by_their_size():
    reference = np.stack([np.ones((2, 2, 1)), 3 * np.ones((2, 2, 1))])
    images = reference + np.array([1.0, 0.0])[:, None, None, None]
    assert pooled_relative_rmse(images, reference) == pytest.approx(np.sqrt(1 / 10))


def test_a_reference_of_zeros_has_no_relative_error():
    zeros = np.zeros((1, 2, 2, 3))
    assert np.isnan(relative_rmse(zeros + 1, zeros)).all()
    assert np.isnan(pooled_relative_rmse(zeros + 1, zeros))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(1, 2, 2, 3), (0, 2, 2, 1)])
def test_unlike_or_empty_sets_are_refused(shape):
    with pytest.raises(ValueError, match="one and the same shape"):
        rmse(np.zeros(shape), np.zeros((0, 2, 2, 1)))

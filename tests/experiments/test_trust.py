"""The bound of the study of trust: what can be told of an error whose truth is unknown."""

import numpy as np

from trust import expected_error


def test_expected_error_is_over_the_photographs_of_others():
    rng = np.random.default_rng(0)
    digits = rng.integers(0, 2, (3, 4, 4, 3)).astype(float)
    photographs = rng.uniform(0, 1, digits.shape)
    signed = lambda values: 2 * values - 1
    pictures = signed(np.abs(photographs - digits))
    expected = expected_error(pictures, signed(digits), signed(digits), pictures)
    assert expected.shape == (3, 4, 4)
    errors = 2 * np.abs(photographs[:, None] - photographs)
    np.testing.assert_allclose(expected, errors.mean(axis=(1, -1)), atol=1e-12)
    # before one photograph alone nothing is left to tell
    alone = expected_error(pictures[:1], signed(digits[:1]), signed(digits[:1]), pictures[:1])
    np.testing.assert_allclose(alone, 0, atol=1e-12)

"""Metrics of pictures beside their references, against other libraries and closed forms."""

import importlib

import numpy as np
import pytest
from scipy.stats import wasserstein_distance
from skimage import metrics as skimage

from ddib_jax.metrics import dice, histogram_drift, mae, ms_ssim, ncc, psnr, ssim
from ddib_jax.metrics.distributional import within_manifold
from ddib_jax.metrics.fidelity_rows import distribution_drift, value_distributions

RANGE = 255.0


def pictures(size, seed=0, channels=3, count=2):
    """Smooth pictures and what is left of them under noise and another contrast."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size[0], 0 : size[1]] / max(size)
    waves = rng.uniform(2, 9, (count, 1, 1, channels)), rng.uniform(0, 6, (count, 1, 1, channels))
    reference = 127 + 90 * np.sin(waves[0] * (x + 0.4 * y)[None, ..., None] + waves[1])
    noisy = 0.8 * reference + 20 + rng.normal(0, 12, reference.shape)
    return np.clip(noisy, 0, RANGE), reference


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_and_ssim_agree_with_scikit_image(channels):
    results, references = pictures((37, 52), channels=channels)
    found = ssim(results, references, data_range=RANGE), psnr(results, references, data_range=RANGE)
    for index, (result, reference) in enumerate(zip(results, references, strict=True)):
        expected = skimage.structural_similarity(
            result,
            reference,
            data_range=RANGE,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert found[0][index] == pytest.approx(expected, abs=1e-4)
        expected = skimage.peak_signal_noise_ratio(reference, result, data_range=RANGE)
        assert found[1][index] == pytest.approx(expected, abs=1e-4)


def test_ms_ssim_agrees_with_pytorch_msssim():
    other = pytest.importorskip("pytorch_msssim")
    torch = importlib.import_module("torch")
    results, references = pictures((192, 208), channels=1)
    given = [torch.tensor(np.moveaxis(part, -1, 1)) for part in (results, references)]
    theirs = other.ms_ssim(*given, data_range=RANGE, size_average=False).numpy()
    np.testing.assert_allclose(
        ms_ssim(results, references, data_range=RANGE), theirs, rtol=0, atol=1e-4
    )


def test_what_changes_nothing_is_not_seen():
    results, references = pictures((20, 20))
    np.testing.assert_allclose(ncc(3 * references + 7, references), 1)
    turned = references[:, ::-1, ::-1]
    np.testing.assert_allclose(histogram_drift(turned, references), 0)
    np.testing.assert_allclose(histogram_drift(references + 5, references), 5)
    np.testing.assert_allclose(mae(references - 5, references), 5)
    np.testing.assert_allclose(ssim(references, references, data_range=RANGE), 1)
    assert np.isinf(psnr(references, references, data_range=RANGE)).all()
    assert (ssim(results, references, data_range=RANGE) < 0.9).all()


def test_ms_ssim_of_equal_pictures_is_one():
    _, references = pictures((176, 180), count=1)
    np.testing.assert_allclose(ms_ssim(references, references, data_range=RANGE), 1)


def test_histogram_drift_is_wassersteins_distance():
    results, references = pictures((9, 7), count=1, channels=1)
    expected = wasserstein_distance(results.ravel(), references.ravel())
    assert histogram_drift(results, references)[0] == pytest.approx(expected, abs=1e-9)


def test_drift_of_sets_is_that_of_all_their_bytes():
    results, references = (np.rint(part) for part in pictures((8, 8), count=3, channels=1))
    drift = distribution_drift(
        *(value_distributions(part, data_range=RANGE) for part in (results, references)),
        data_range=RANGE,
    )
    expected = wasserstein_distance(results.ravel(), references.ravel())
    assert drift == pytest.approx(expected, abs=1e-9)


def test_dice_is_of_what_exceeds_the_threshold():
    first, second = np.zeros((2, 2, 4, 4, 1))
    first[0, :2], second[0, 1:3] = 9, 9
    found = dice(first, second, threshold=5.0)
    assert found[0] == pytest.approx(0.5)
    assert np.isnan(found[1])  # nothing exceeds it in either


def test_the_manifold_holds_what_lies_among_its_rows():
    rng = np.random.default_rng(0)
    others = rng.normal(size=(200, 2))
    rows = np.concatenate([rng.normal(size=(50, 2)), rng.normal(size=(50, 2)) + 20])
    inside = within_manifold(rows, others)
    assert inside[:50].mean() > 0.8
    assert not inside[50:].any()
    with pytest.raises(ValueError, match="neighbours"):
        within_manifold(rows, others[:3])


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_compared_is_refused():
    results, references = pictures((12, 12))
    with pytest.raises(ValueError, match="one and the same shape"):
        ssim(results, references[:1], data_range=RANGE)
    with pytest.raises(ValueError, match="NaN"):
        mae(np.full_like(results, np.nan), references)
    with pytest.raises(ValueError, match="data range"):
        psnr(results, references, data_range=0.0)
    with pytest.raises(ValueError, match=r"\[n, h, w, c\]"):
        ssim(results[0], references[0], data_range=RANGE)
    small = results[:, :8]
    assert np.isnan(ssim(small, small, data_range=RANGE)).all()
    assert np.isnan(ms_ssim(results, references, data_range=RANGE)).all()

"""Large pictures in windows: one denoiser and one ODE, inverted as any other."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import ddib_jax
from ddib_jax import (
    DDIB,
    Bridge,
    DiffusionModel,
    get_solver,
    preconditioning,
    schedules,
    translation,
)
from ddib_jax.bridge.couplings import Cosines, Linear
from ddib_jax.diffusion import probability_flow
from ddib_jax.perturbations import get_perturbation
from ddib_jax.tiling import Tiling
from tests.nets.small import COMPILED_QUICKLY, SMALL, VARIABLES

quickly = partial(jax.jit, compiler_options=COMPILED_QUICKLY)


class OfPixels(nn.Module):
    """Every pixel by itself, with its label: what it answers does not depend on the window."""

    labelled: bool = False

    def condition_spec(self):
        return jax.ShapeDtypeStruct((), jnp.int32) if self.labelled else None

    @nn.compact
    def __call__(self, x, time, cond=None):
        h = jnp.tanh(nn.Dense(8)(x) + nn.Dense(8)(time[:, None])[:, None, None])
        if cond is not None:
            h += nn.Embed(3, 8)(cond)[:, None, None]
        return nn.Dense(x.shape[-1])(h)


def of_pixels(shape, *, labelled=False, cond=None):
    network = OfPixels(labelled)
    label = jnp.zeros(1, int) if labelled else None
    params = network.init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)), jnp.zeros(1), label)
    return DiffusionModel(
        params["params"],
        preconditioning.EDM(0.5),
        cond,
        network=network,
        schedule=schedules.EDM(),
        data_shape=shape,
    )


SEEING = DiffusionModel(
    VARIABLES["params"],
    preconditioning.EDM(0.5),
    network=SMALL,
    schedule=schedules.EDM(sigma_min=0.05, sigma_max=5.0),
    data_shape=(4, 4, 3),
)
"""A model whose every answer depends on its whole window."""


@pytest.mark.slow
@pytest.mark.parametrize(("overlap", "at_once"), [(0.0, 1), (0.25, 6), (0.8, 64)])
def test_what_sees_pixels_alone_is_not_changed(overlap, at_once):
    x = jax.random.normal(jax.random.key(1), (2, 11, 6, 3))
    tiled = of_pixels((4, 6, 3)).tiled(11, 6, overlap=overlap, at_once=at_once)
    assert tiled.image_shape == (11, 6, 3)
    found = quickly(lambda m, x: m.denoise(x, jnp.asarray(0.7)))(tiled, x)
    expected = of_pixels((11, 6, 3)).denoise(x, jnp.asarray(0.7))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_every_image_has_its_own_condition_and_noise_level():
    x, labels = jax.random.normal(jax.random.key(1), (2, 8, 8, 3)), jnp.asarray([0, 2])
    sigma = jnp.asarray([0.3, 2.0])
    tiled = of_pixels((4, 4, 3), labelled=True, cond=labels).tiled(8, 8, at_once=6)
    expected = of_pixels((8, 8, 3), labelled=True, cond=labels).denoise(x, sigma)
    np.testing.assert_allclose(tiled.denoise(x, sigma), expected, atol=1e-5)


@pytest.mark.slow
def test_neighbouring_windows_are_mixed_smoothly():
    """Between two windows the answer goes from one's own to the other's, by their weights."""
    x = jax.random.normal(jax.random.key(2), (1, 4, 6, 3))
    found = SEEING.tiled(4, 6).denoise(x, jnp.asarray(1.0))
    left, right = (SEEING.denoise(x[:, :, start : start + 4], jnp.asarray(1.0)) for start in (0, 2))
    np.testing.assert_allclose(found[:, :, :2], left[:, :, :2], atol=1e-5)
    np.testing.assert_allclose(found[:, :, 4:], right[:, :, 2:], atol=1e-5)
    weights = np.sin(np.pi * (np.arange(4) + 0.5) / 4) ** 2
    share = (weights[2:] / (weights[2:] + weights[:2]))[:, None]
    mixed = share * left[:, :, 2:] + (1 - share) * right[:, :, :2]
    np.testing.assert_allclose(found[:, :, 2:4], mixed, atol=1e-5)


@pytest.mark.slow
def test_a_large_picture_comes_back():
    tiled = SEEING.tiled(6, 5)
    images = 0.5 * np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype(np.float32)
    bridge = Bridge.over(tiled, steps=40, solver=get_solver("heun"))
    back = ddib_jax.decode(bridge, ddib_jax.encode(bridge, images).y)
    assert np.abs(back - images).max() < 0.05 * np.abs(images).max()


@pytest.mark.slow
def test_a_large_picture_comes_back_to_the_bit():
    tiled = SEEING.tiled(10, 7)
    images = 0.5 * np.random.default_rng(0).normal(size=(2, 10, 7, 3)).astype(np.float32)
    bridge = Bridge.over(tiled, steps=4, solver=get_solver("lattice-heun"))
    up = ddib_jax.encode(bridge, images)
    down = ddib_jax.translation.hand_on(bridge, up.aux, rising=False)
    assert np.asarray(bridge.solver.is_start(down.aux.value)).all()


def test_other_windows_are_the_same_program():
    x, sigma = jnp.ones((1, 16, 12, 3)), jnp.asarray(1.0)
    traces = []

    @quickly
    def slope(tiling, x):
        traces.append(None)
        return tiling(lambda window: SEEING.denoise(window, sigma), x)

    even, moved = (
        Tiling.over((16, 12), (4, 4), shift=shift) for shift in ((0.0, 0.0), (0.5, -0.5))
    )
    assert not np.array_equal(even.rows, moved.rows)
    assert (moved.rows[0], moved.rows[-1]) == (0, 12)
    assert not np.array_equal(slope(even, x), slope(moved, x))
    assert len(traces) == 1


def test_a_picture_of_the_models_size_is_not_tiled():
    assert SEEING.tiled(4, 4) is SEEING
    tiled = SEEING.tiled(10, 7)
    assert tiled.tiled(4, 4).tiling is None
    assert tiled.tiled(9, 9).tiling.window == (4, 4)


def test_what_has_no_windows_is_refused():
    with pytest.raises(ValueError, match="window of 4 x 4 pixels is larger than a picture of 3 x"):
        SEEING.tiled(3, 9)
    with pytest.raises(ValueError, match="from 0 to below 1"):
        SEEING.tiled(9, 9, overlap=1.0)
    with pytest.raises(ValueError, match="layers of a tiled model"):
        SEEING.tiled(9, 9).read(jnp.zeros((1, 9, 9, 3)), jnp.asarray(1.0), ["middle"])
    points = DiffusionModel(
        {}, preconditioning.EDM(0.5), network=SMALL, schedule=schedules.EDM(), data_shape=(2,)
    )
    with pytest.raises(ValueError, match="one of points has none"):
        points.tiled(4, 4)


def test_the_slope_is_differentiable():
    """As a likelihood needs it."""
    x = jax.random.normal(jax.random.key(3), (1, 6, 5, 3))
    slope = probability_flow(SEEING.tiled(6, 5))
    _, tangent = quickly(
        lambda x: jax.jvp(lambda x: slope(jnp.asarray(1.0), x), (x,), (jnp.ones_like(x),))
    )(x)
    assert np.isfinite(tangent).all()


def test_a_coupling_keeps_its_wavelengths():
    low = Cosines.band((4, 4), 0, 2).at_size(8, 6)
    np.testing.assert_array_equal(np.argwhere(low.weights), np.argwhere(np.ones((4, 3))))
    np.testing.assert_array_equal(low.at_size(8, 6).weights, low.weights)
    other = jax.tree.map(lambda leaf: 1.5 * leaf, SEEING.params)
    halves = [Bridge.over(model, steps=3) for model in (SEEING, SEEING.replace(params=other))]
    coupled = DDIB(*halves, coupling=Linear(Cosines.band((4, 4), 0, 2), 1.0))
    image = np.random.default_rng(0).normal(0, 0.4, (1, 8, 6, 3)).astype(np.float32)
    tiled = translation.tiled(coupled, 8, 6)
    found = ddib_jax.translate(tiled, image)
    # the source's own way down, which in three steps is not quite its way up
    back = ddib_jax.decode(tiled.source, ddib_jax.encode(tiled.source, image).y)
    kept, wanted = (low(jnp.asarray(images)) for images in (found, back))
    np.testing.assert_allclose(kept, wanted, atol=1e-4)
    assert np.abs(found - back).max() > 0.01


def test_a_reference_is_of_the_pictures_size():
    halves = [Bridge.over(SEEING, steps=2)] * 2
    small = np.zeros((4, 4, 3), np.float32)
    ddib = DDIB(*halves, 0.5, perturb=get_perturbation("slerp-other"), reference=small)
    with pytest.raises(ValueError, match="is of 4 x 4 x 3 and the source's images are of 8 x 6"):
        ddib_jax.translate(translation.tiled(ddib, 8, 6), np.zeros((1, 8, 6, 3), np.float32))

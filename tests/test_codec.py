"""Models of codes: a codec is crossed at the borders alone, and its own error is told apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from ddib_jax import diagnosis, translation
from ddib_jax.analytic import mixture_model
from ddib_jax.baselines import ILVR, SDEdit
from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.bridge.couplings import Cosines, Linear
from ddib_jax.perturbations import PERTURBATIONS, get_perturbation
from ddib_jax.pretrained import save_model
from ddib_jax.solvers import get_solver
from ddib_jax.translation.animation import write_path
from ddib_jax.types import Codec

pytestmark = pytest.mark.usefixtures("double")

IMAGE, CODE = (8, 8, 1), (4, 4, 3)
IMAGES = np.random.default_rng(0).normal(0, 0.4, size=(5, *IMAGE))
KEY = jax.random.key(2)


@struct.dataclass
class Blocks:
    """Every 2 x 2 block of pixels as three channels: a linear map that loses one dimension of four.

    matrix [4 3]: orthonormal columns.
    """

    matrix: jax.Array

    @property
    def image_shape(self):
        return IMAGE

    def encode(self, image):
        blocks = image.reshape(-1, 4, 2, 4, 2, 1).swapaxes(2, 3).reshape(-1, 4, 4, 4)
        return 2 * blocks @ self.matrix

    def decode(self, code):
        blocks = (code / 2 @ self.matrix.T).reshape(-1, 4, 4, 2, 2, 1)
        return blocks.swapaxes(2, 3).reshape(-1, *IMAGE)


def models():
    """Models of codes, source and target, with a codec each."""
    made = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        basis, _ = np.linalg.qr(rng.normal(size=(4, 3)))
        model = mixture_model(jnp.asarray(rng.normal(size=(3, *CODE))), jnp.full(3, 0.2))
        made.append(model.replace(codec=Blocks(jnp.asarray(basis))))
    return made


def bridges(*, codec=True, solver="dpmpp-2m"):
    """Bridges over these models, or over those of the codes themselves."""
    return [
        Bridge.over(
            model if codec else model.replace(codec=None), steps=6, solver=get_solver(solver)
        )
        for model in models()
    ]


def test_it_is_a_codec_and_the_shapes_are_told_apart():
    model = models()[0]
    assert isinstance(model.codec, Codec)
    assert (model.image_shape, model.data_shape) == (IMAGE, CODE)
    plain = model.replace(codec=None)
    assert plain.image_shape == plain.data_shape == CODE
    source = bridges()[0]
    with pytest.raises(ValueError, match="takes images of 8 x 8 x 1; these are of 4 x 4 x 3"):
        translation.encode(source, np.zeros((2, *CODE)))
    with pytest.raises(ValueError, match="takes latents of 4 x 4 x 3; these are of 8 x 8 x 1"):
        translation.decode(source, IMAGES)


METHODS = {
    "ddib": lambda source, target: DDIB(source, target),
    "noisy": lambda source, target: DDIB(
        source, target, 0.3, perturb=get_perturbation("add-noise")
    ),
    "blended": lambda source, target: DDIB(
        source, target, 0.3, perturb=get_perturbation("blend-image")
    ),
    "lowered": lambda source, target: DDIB(
        source, target, 5.0, perturb=get_perturbation("partial-noise")
    ),
    "coupled": lambda source, target: DDIB(
        source, target, coupling=Linear(Cosines.band(CODE, 0, 2)), until=0.5
    ),
    "sdedit": lambda source, target: SDEdit(target, jnp.asarray(1.0)),
    "ilvr": lambda source, target: ILVR(target),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_it_is_crossed_at_the_borders_alone(name):
    """A translation of images is that of their codes by the models of codes, decoded."""
    ends = bridges()
    first = ends[1] if name in ("sdedit", "ilvr") else ends[0]
    codes = translation.to_data(first.model, IMAGES)
    inner = translation.translate(METHODS[name](*bridges(codec=False)), codes, key=KEY)
    expected = translation.to_images(ends[1].model, inner)
    found = translation.translate(METHODS[name](*ends), IMAGES, key=KEY, batch_size=2)
    assert found.shape == IMAGES.shape
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["blend-image", "blur-image", "slerp-other", "partial-noise"])
def test_every_road_is_one_translation(name):
    """Of images and of references, through the call, the driver and both sweeps."""
    value = float(PERTURBATIONS[name].sweep[1])
    ddib = DDIB(*bridges(), value, perturb=get_perturbation(name), reference=jnp.asarray(IMAGES[0]))
    keys, images = translation.image_keys(KEY, 5), jnp.asarray(IMAGES)
    expected = jax.jit(DDIB.__call__)(ddib, keys, images)
    assert expected.shape == IMAGES.shape
    for found in (
        translation.translate(ddib, IMAGES, key=KEY, batch_size=2),
        translation.translate_sweep(ddib, IMAGES, [value], key=KEY, batch_size=2).images[0],
        jax.jit(translation.sweep)(keys, ddib, images, jnp.asarray([value]))[0],
    ):
        np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.slow
def test_the_ode_is_exact_and_the_codec_is_not():
    source = bridges(solver="rex-midpoint")[0]
    end = translation.encode(source, IMAGES)
    assert end.y.shape == end.aux.value.shape == (5, *CODE)
    back = translation.decode(source, end.y, aux=end.aux)
    through = translation.to_images(source.model, translation.to_data(source.model, IMAGES))
    np.testing.assert_allclose(back, through, atol=1e-9)
    assert 0.3 < diagnosis.codec_error(source.model, IMAGES) < 0.7
    assert diagnosis.codec_error(source.model, through) < 1e-12
    assert diagnosis.codec_error(source.model.replace(codec=None), IMAGES) == 0
    trips = diagnosis.round_trips(source.model, IMAGES, ["rex-midpoint"], [8])
    assert [trip.error < 1e-9 for trip in trips if trip.with_aux] == [True]


@pytest.mark.slow
def test_samples_and_latents_of_a_check():
    target = bridges()[1]
    noise = np.random.default_rng(3).normal(size=(6, *CODE))
    samples = translation.sample(target, noise)
    inner = translation.sample(bridges(codec=False)[1], noise)
    np.testing.assert_allclose(samples, translation.to_images(target.model, inner), atol=1e-9)
    assert diagnosis.noisy_latents(KEY, target, IMAGES).shape == (5, *CODE)


def test_new_codecs_do_not_retrace():
    traces = []

    @jax.jit
    def run(ddib, keys, images):
        traces.append(1)
        return ddib(keys, images)

    source, target = bridges()
    keys, images = translation.image_keys(KEY, 5), jnp.asarray(IMAGES)
    first = run(DDIB(source, target), keys, images)
    turned = target.model.replace(codec=Blocks(-target.model.codec.matrix))
    second = run(DDIB(source, target.replace(model=turned)), keys, images)
    assert len(traces) == 1
    np.testing.assert_allclose(second, -first, atol=1e-12)


def test_a_film_shows_images(tmp_path):
    path = write_path(tmp_path / "path.gif", *bridges(), IMAGES[:2].astype(np.float32))
    assert path.stat().st_size > 1000


def test_a_model_with_a_codec_is_not_saved_without_it(tmp_path):
    with pytest.raises(ValueError, match="holds no codec, and this model has a Blocks"):
        save_model(tmp_path / "model", models()[0], facts={})

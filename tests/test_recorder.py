"""What a run keeps of a translation: bounded, and the same in any batches."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import diagnosis, translation
from ddib_jax.analytic import mixture_model
from ddib_jax.baselines import Identity
from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.data.png import to_bytes
from ddib_jax.diagnosis.recorder import FEWEST, MEASURED, ROOM, SHOWN
from ddib_jax.guidance import ClassifierFreeGuidance
from ddib_jax.solvers import LatticeHeun, get_solver

RNG = np.random.default_rng(0)


def bridges(size=4, *, solver="dpmpp-2m", steps=6):
    return [
        Bridge.over(
            mixture_model(jnp.asarray(RNG.normal(size=(2, size, size, 3))), jnp.full(2, 0.2)),
            steps=steps,
            solver=get_solver(solver),
        )
        for _ in range(2)
    ]


def images(n, size=4):
    return RNG.uniform(-1, 1, size=(n, size, size, 3)).astype(np.float32)


def test_the_first_images_are_kept_whatever_the_batches():
    taken = images(SHOWN + 20)
    for batches in ([taken], np.split(taken, 4), np.split(taken, len(taken))):
        recorder = diagnosis.Recorder()
        for batch in batches:
            recorder.add(source=batch, translation=-batch, latents=2 * batch)
        assert len(recorder) == SHOWN
        kept = recorder.images()
        assert np.array_equal(kept["source"], to_bytes(taken[:SHOWN]))
        assert np.array_equal(kept["translation"], to_bytes(-taken[:SHOWN]))
        assert np.array_equal(recorder.latents(), 2 * taken)
        assert np.abs(recorder.floats("source") - taken[:SHOWN]).max() <= 1 / 127


@pytest.mark.parametrize(("size", "expected"), [(256, ROOM // (256 * 256 * 3)), (1500, FEWEST)])
def test_fewer_large_images_are_kept(size, expected):
    recorder = diagnosis.Recorder()
    batch = np.broadcast_to(np.zeros((1, size, size, 3), np.float32), (expected + 3, size, size, 3))
    for _ in range(2):
        recorder.add(sample=batch, latents=batch[:, :8, :8])
    assert len(recorder) == expected
    assert len(recorder.latents()) == 2 * len(batch)


def test_latents_are_kept_up_to_a_bound():
    recorder = diagnosis.Recorder()
    batch = np.zeros((700, 32, 32, 3), np.float32)
    for _ in range(3):
        recorder.add(sample=batch, latents=batch)
    assert recorder.latents().nbytes == MEASURED // batch[0].nbytes * batch[0].nbytes


@pytest.mark.usefixtures("double")
def test_translations_come_with_the_latents_of_their_encoding():
    source, target = bridges(steps=2)
    taken = images(4)
    halved = DDIB(source, target, 0.5, lambda z, c, _: z * c)
    found, latents = translation.translate_with_latents(halved, taken, batch_size=2)
    expected = translation.encode(source, taken).y  # as they were, not as they are decoded
    np.testing.assert_allclose(latents, expected, atol=1e-9)
    np.testing.assert_allclose(found, translation.decode(target, expected / 2), atol=1e-9)
    assert translation.translate_with_latents(Identity(), taken).latents is None


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_a_film_leads_from_image_to_latent_to_translation_and_back():
    source, target = bridges(steps=40)
    taken = images(6)
    passage = diagnosis.passage(source, target, taken)
    latents = translation.encode(source, taken).y[:4]
    assert passage.film.shape == (4, 11, 4, 4, 3)
    assert passage.levels[0] == passage.levels[-1] == 0
    assert passage.levels[5] == pytest.approx(float(source.sigmas[-1]))
    assert np.all(np.diff(passage.levels[:6]) > 0)
    np.testing.assert_allclose(passage.levels[1:5], passage.levels[9:5:-1])
    assert np.array_equal(passage.film[:, 0], to_bytes(taken[:4]))
    assert np.array_equal(passage.film[:, 5], to_bytes(latents))
    expected = translation.decode(target, latents)
    assert np.abs(passage.film[:, -1].astype(int) - to_bytes(expected)).max() <= 1
    np.testing.assert_allclose(passage.back, translation.decode(source, latents), atol=1e-9)
    half = diagnosis.passage(source, None, taken)
    assert np.array_equal(half.film, passage.film[:, :6])


def test_a_film_of_large_images_is_small_and_of_samples_ends_with_one():
    source, _ = bridges(200, steps=3)
    passage = diagnosis.sampling(source, RNG.normal(size=(2, 200, 200, 3)).astype(np.float32))
    assert passage.film.shape == (2, 4, 66, 66, 3)
    assert passage.back is None
    assert passage.levels[-1] == 0
    assert passage.levels.argmax() == 0


def test_a_solver_without_states_between_has_no_film():
    source, target = bridges(solver="exact-dpmpp-2m")
    assert diagnosis.passage(source, target, images(2)) is None
    assert diagnosis.sampling(target, images(2)) is None


def test_a_film_leaves_a_lost_way_out():
    """Here on a lattice that holds states up to 2 alone."""
    (source, target), taken = bridges(), images(2)
    narrow = LatticeHeun(bits=28)
    with pytest.warns(UserWarning, match="leaves out the way down from the latents"):
        half = diagnosis.passage(source, replace(target, solver=narrow), taken)
    assert np.array_equal(half.film, diagnosis.passage(source, None, taken).film)
    lost = replace(source, solver=narrow)
    with pytest.warns(UserWarning, match="leaves out the way up to the latents"):
        assert diagnosis.passage(lost, target, taken) is None
    with pytest.warns(UserWarning, match="leaves out the way down from the latents"):
        assert diagnosis.sampling(lost, taken) is None


def test_guidance_costs_evaluations():
    source, _ = bridges(solver="heun", steps=10)
    assert diagnosis.evaluations(source) == 20
    guided = source.replace(
        model=source.model.guided(ClassifierFreeGuidance(None, jnp.asarray(2.0)))
    )
    assert diagnosis.evaluations(guided) == 20 * ClassifierFreeGuidance(None, 2.0).evaluations


class Some:
    """Images as a data set."""

    labels, classes = None, ()

    def __init__(self, taken):
        self.taken, self.image_shape = taken, taken.shape[1:]

    def __len__(self):
        return len(self.taken)

    def take(self, indices, rng=None, part=slice(None)):
        return self.taken[np.asarray(indices)]


def test_the_nearest_training_image_is_found():
    seen = images(3000)
    asked = seen[[7, 2500, 1024]] + np.float32(0.01)
    found = diagnosis.nearest(asked, Some(seen))
    assert np.array_equal(found.images, to_bytes(seen[[7, 2500, 1024]]))
    np.testing.assert_allclose(found.distance, 0.01, rtol=1e-3)
    assert (found.searched, found.total) == (3000, 3000)

"""Students: the closed-form map, the training and its resumption, the command."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.distillation import Distillation, Student, distill, gaussian_map, load_student
from ddib_jax.nets import Student as Network
from ddib_jax.preconditioning import EDM
from ddib_jax.solvers import get_solver
from tests.test_switch import SHAPE, gaussian

TOY = {
    "batch_size": 4,
    "warmup": 1,
    "log_every": 2,
    "model_channels": 8,
    "channel_mult": (1,),
    "attention_resolutions": (),
    "learning_rate": 3e-3,
    "ema_decay": 0.5,
}
IMAGES = np.random.default_rng(0).uniform(-1, 1, (8, *SHAPE)).astype(np.float32)


@pytest.fixture
def teacher():
    return DDIB(
        *(
            Bridge.over(gaussian(seed, shift), steps=40, solver=get_solver("unipc-3"))
            for seed, shift in ((0, 0.3), (1, -0.4))
        )
    )


@pytest.mark.slow
def test_untrained_it_is_the_translation_of_gaussians(teacher):
    network = Network(out_channels=2, rank=6, **{name: TOY[name] for name in NAMES})
    params = jax.jit(network.init)(jax.random.key(0), jnp.asarray(IMAGES))["params"]
    student = Student(params | gaussian_map(teacher.source, teacher.target), network=network)
    keys = jax.random.split(jax.random.key(0), len(IMAGES))
    truth = teacher(keys, jnp.asarray(IMAGES))
    assert jnp.abs(student(keys, jnp.asarray(IMAGES)) - truth).max() < 5e-3
    assert jnp.abs(truth - IMAGES).max() > 0.3


NAMES = ("model_channels", "channel_mult", "attention_resolutions")


@pytest.mark.slow
def test_a_student_learns_is_kept_and_is_loaded(teacher, tmp_path):
    """Of a teacher whose translations are brighter than any Gaussian's, by a fifth."""
    brighter = teacher.replace(perturb=lambda latent, coefficient, context: latent + 0.2)
    keys = jax.random.split(jax.random.key(0), len(IMAGES))
    truth = brighter(keys, jnp.asarray(IMAGES))
    options = Distillation(steps=60, **TOY)
    student = distill(brighter, IMAGES, options, tmp_path / "out", data={"teacher": "brighter"})
    off = float(jnp.abs(student(keys, jnp.asarray(IMAGES)) - truth).mean())
    start = float(jnp.abs(teacher(keys, jnp.asarray(IMAGES)) - truth).mean())
    assert off < 0.5 * start
    flows = gaussian_map(teacher.source, teacher.target)
    for name in ("up", "down"):  # which are set and not learnt
        same = jax.tree.map(jnp.array_equal, student.params[name], flows[name])
        assert all(map(bool, jax.tree.leaves(same)))
    loaded = load_student(tmp_path / "out")
    np.testing.assert_allclose(
        loaded(keys, jnp.asarray(IMAGES)), student(keys, jnp.asarray(IMAGES)), atol=1e-6
    )
    told = json.loads((tmp_path / "out" / "model.json").read_text())
    assert told["kind"] == "generator"
    assert told["training"]["pairs"] == 8
    with pytest.raises(ValueError, match="started with another configuration"):
        distill(brighter, IMAGES, options, tmp_path / "out", data={"teacher": "other"})


def test_a_model_without_statistics_has_no_student(teacher, tmp_path):
    plain = teacher.source.model.replace(precondition=EDM(0.5))
    with pytest.raises(ValueError, match="does not hold the mean and covariance"):
        distill(
            teacher.replace(source=Bridge.over(plain, steps=3)),
            IMAGES,
            Distillation(steps=1, **TOY),
            tmp_path / "out",
        )

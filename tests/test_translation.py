"""The driver: one key an image, references and conditions of their own, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import translation
from ddib_jax.analytic import mixture_model
from ddib_jax.baselines import ILVR, Identity, SDEdit
from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.perturbations import get_perturbation
from ddib_jax.solvers import get_solver

SHAPE = (4, 4, 2)
IMAGES = np.random.default_rng(0).normal(0, 0.4, size=(6, *SHAPE))
KEY = jax.random.key(5)


def ends():
    means = [np.random.default_rng(seed).normal(size=(2, *SHAPE)) for seed in (0, 1)]
    return [
        Bridge.over(mixture_model(jnp.asarray(mean), jnp.full(2, 0.2)), steps=6) for mean in means
    ]


def methods():
    source, target = ends()
    noisy = DDIB(source, target, 0.5, perturb=get_perturbation("add-noise"))
    return {
        "ddib": noisy,
        "sdedit": SDEdit(target, jnp.asarray(1.0)),
        "ilvr": ILVR(target),
        "identity": Identity(),
    }


@pytest.mark.slow
@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", ["ddib", "sdedit", "ilvr", "identity"])
def test_an_image_is_translated_as_if_it_were_alone(name):
    """Called, in batches, in the shards of two hosts, and by itself: the same, for any method."""
    method = methods()[name]
    keys = translation.image_keys(KEY, 6)
    called = jax.jit(lambda method, *args: method(*args))(method, keys, jnp.asarray(IMAGES))
    for size in (1, 4, 64):
        found = translation.translate(method, IMAGES, key=KEY, batch_size=size)
        np.testing.assert_allclose(found, called, atol=1e-9)
    for shard in (0, 1):
        indices = np.arange(shard, 6, 2)
        found = translation.translate(method, IMAGES[indices], key=KEY, indices=indices)
        np.testing.assert_allclose(found, called[indices], atol=1e-9)
    if name != "identity":
        other = translation.translate(method, IMAGES, key=jax.random.key(6))
        assert np.abs(other - called).max() > 1e-3


@pytest.mark.usefixtures("double")
def test_a_reference_is_one_for_all_or_one_for_each():
    ddib = DDIB(*ends(), 0.5, perturb=get_perturbation("slerp-other"))
    each = ddib.replace(reference=jnp.asarray(IMAGES[::-1]))
    by_each = translation.translate(each, IMAGES, batch_size=4)
    for index in (0, 4):
        one = ddib.replace(reference=jnp.asarray(IMAGES[5 - index]))
        for_all = translation.translate(one, IMAGES, batch_size=4)
        np.testing.assert_allclose(for_all[index], by_each[index], atol=1e-9)
    with pytest.raises(ValueError, match="Found 5 references for 6 images"):
        translation.translate(ddib.replace(reference=jnp.asarray(IMAGES[:5])), IMAGES)
    with pytest.raises(ValueError, match="give the DDIB a `reference`"):
        translation.translate(ddib, IMAGES)


def test_an_image_without_a_key_of_its_own_is_refused(unchecked):
    for method in (methods()["ddib"], methods()["sdedit"], methods()["ilvr"]):
        with pytest.raises(ValueError, match=r"found keys of shape \(5,\) for 6 images"):
            method(translation.image_keys(KEY, 5), jnp.asarray(IMAGES, jnp.float32))
        with pytest.raises(ValueError, match=r"found keys of shape \(\) for 6 images"):
            method(KEY, jnp.asarray(IMAGES, jnp.float32))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dpmpp-2m", "rex-midpoint", "implicit-midpoint"])
def test_a_solution_says_what_it_took(name):
    source = ends()[0].replace(solver=get_solver(name))
    solution = translation.encode(source, IMAGES.astype(np.float32), batch_size=4)
    assert solution.y.shape == IMAGES.shape
    assert solution.residual.shape == solution.evaluations.shape == (6,)
    if name == "implicit-midpoint":
        assert solution.residual.min() > 0
    else:
        assert (solution.evaluations == source.solver.evaluations(6)).all()
    assert (solution.aux is not None) == (source.solver.inverse is not None)

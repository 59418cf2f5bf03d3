"""Every registered perturbation: eager, jitted and vmapped alike, and true to its claims."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.perturbations import PERTURBATIONS, check_coefficient, needs

SHAPE = (4, 16, 16, 3)
LATENT = {name: p for name, p in PERTURBATIONS.items() if p.stage != "level"}
CLAIMING = sorted(name for name, p in LATENT.items() if p.keeps_variance)


def context_of(seed=0, shape=SHAPE):
    """White Gaussian latents and noise, and images with structure."""
    rng = np.random.default_rng(seed)
    latent, noise, reference = (jnp.asarray(rng.normal(size=shape)) for _ in range(3))
    image = jnp.broadcast_to(jnp.linspace(-1, 1, shape[2])[None, None, :, None], shape)
    return {"latent": latent, "noise": noise, "reference": reference, "data": image}


@pytest.mark.slow
@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("name", LATENT)
def test_eager_jitted_and_vmapped_agree(name):
    perturb, context = PERTURBATIONS[name], context_of()
    coefficients = jnp.asarray(perturb.sweep, jnp.float64)
    perturbed = jax.vmap(perturb, (None, 0, None))(context["latent"], coefficients, context)
    for coefficient, vmapped in zip(coefficients, perturbed, strict=True):
        eager = perturb(context["latent"], coefficient, context)
        assert eager.shape == SHAPE
        assert eager.dtype == jnp.float64
        assert bool(jnp.isfinite(eager).all())
        np.testing.assert_allclose(
            jax.jit(perturb)(context["latent"], coefficient, context), eager, atol=1e-12
        )
        np.testing.assert_allclose(vmapped, eager, atol=1e-12)


@pytest.mark.slow
@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize(
    "name", sorted(name for name, p in LATENT.items() if p.neutral is not None)
)
def test_identity_at_the_neutral_coefficient(name):
    perturb, context = PERTURBATIONS[name], context_of()
    result = perturb(context["latent"], jnp.asarray(float(perturb.neutral)), context)
    np.testing.assert_allclose(result, context["latent"], atol=1e-9)


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("name", sorted(set(LATENT) - {"none", "match-channels"}))
def test_it_does_something_elsewhere(name):
    perturb, context = PERTURBATIONS[name], context_of()
    changes = [
        perturb(context["latent"], jnp.asarray(float(c)), context) - context["latent"]
        for c in perturb.sweep
    ]
    assert max(float(jnp.abs(change).max()) for change in changes) > 0.1


@pytest.mark.slow
@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("name", CLAIMING)
def test_variance_is_kept_where_that_is_claimed(name):
    """Over many white latents the mean square stays 1, at the sweep's coefficients and between."""
    perturb, context = PERTURBATIONS[name], context_of(1, (64, 16, 16, 3))
    low, high = min(perturb.sweep), max(perturb.sweep)
    extra = () if perturb.whole else (low + 0.37 * (high - low),)
    for coefficient in (*perturb.sweep, *extra):
        result = perturb(context["latent"], jnp.asarray(float(coefficient)), context)
        assert float(jnp.mean(result**2)) == pytest.approx(1, abs=0.02), coefficient


@pytest.mark.slow
@pytest.mark.parametrize("name", PERTURBATIONS)
def test_looks_at_no_more_than_it_says(name):
    perturb, context = PERTURBATIONS[name], context_of()
    parts = {part: context[part] for part in needs(perturb)}
    value = jnp.asarray(80.0) if perturb.stage == "level" else context["latent"]
    perturb(value, jnp.asarray(float(perturb.sweep[0])), parts)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_range_of_coefficients(name):
    perturb = PERTURBATIONS[name]
    for coefficient in perturb.sweep:
        check_coefficient(name, perturb, coefficient)
    for wrong in (perturb.low - 1, perturb.high + 1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"does not suit '{name}'"):
            check_coefficient(name, perturb, wrong)
    assert perturb.neutral is None or perturb.low <= perturb.neutral <= perturb.high


@pytest.mark.slow
def test_partial_noise_lowers_the_level_and_never_raises_it():
    perturb = PERTURBATIONS["partial-noise"]
    assert [float(perturb(jnp.asarray(80.0), jnp.asarray(c), {})) for c in (2.0, 80.0, 1e6)] == [
        2.0,
        80.0,
        80.0,
    ]

"""Every registered coupling, and linear ones on models whose answers are known."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

from ddib_jax import bridge, preconditioning, translation
from ddib_jax.analytic import mixture_model
from ddib_jax.bridge import COUPLINGS, DDIB, Bridge, decode_coupled, parse_coupling
from ddib_jax.bridge.couplings import Cosines, Coupling, InjectFusion, Linear, Pixels, StraightPath
from ddib_jax.diffusion import DiffusionModel, probability_flow
from ddib_jax.perturbations import get_perturbation, parse_perturbation
from ddib_jax.schedules import EDM
from ddib_jax.solvers import FixedPoint, ImplicitMidpoint, get_solver, solve

pytestmark = pytest.mark.usefixtures("double")

SHAPE = (8, 8, 3)


@pytest.fixture
def means():
    """The means of two mixtures of three Gaussians."""
    return [0.5 * np.random.default_rng(seed).normal(size=(3, *SHAPE)) for seed in (0, 1)]


@pytest.fixture
def ends(means):
    """Bridges between the mixtures: source and target."""
    return [
        Bridge.over(
            mixture_model(jnp.asarray(mean), jnp.full(3, 0.1)), steps=60, solver=get_solver("rk4")
        )
        for mean in means
    ]


class Network(nn.Module):
    """A network with a layer to read, smooth and in the precision of its input."""

    bottleneck = "inner"

    def condition_spec(self):
        return None

    @nn.compact
    def __call__(self, x, time, cond=None):
        dense = lambda width, name: nn.Dense(width, name=name, dtype=x.dtype, param_dtype=x.dtype)
        h = dense(16, "inner")(x.reshape(len(x), -1)) + time[:, None]
        return dense(x[0].size, "outer")(jnp.tanh(h)).reshape(x.shape)


@pytest.fixture
def networks():
    """Two models with layers, of random weights: no good, and as smooth as any."""
    models = []
    for seed in (0, 1):
        params = Network().init(jax.random.key(seed), jnp.zeros((1, *SHAPE)), jnp.zeros(1))
        options = {"network": Network(), "schedule": EDM(), "data_shape": SHAPE}
        model = DiffusionModel(params["params"], preconditioning.EDM(), **options)
        models.append(model)
    return models


@pytest.fixture
def models(means, networks):
    """name of a coupling -> source and target that it can couple."""
    exact = [mixture_model(jnp.asarray(mean), jnp.full(3, 0.1)) for mean in means]
    return lambda name: networks if name == "inject" else exact


@pytest.fixture
def images(means):
    """Images of the source."""
    noise = np.random.default_rng(2).normal(size=(5, *SHAPE))
    return means[0][[0, 1, 2, 0, 1]] + np.sqrt(0.1) * noise


@pytest.fixture
def made(tmp_path):
    """word -> the coupling of the registry's own example."""
    rows = np.tile(np.linspace(0, 255, 8).astype(np.uint8)[:, None], (1, 8))
    Image.fromarray(rows).save(tmp_path / "mask.png")
    rng = np.random.default_rng(4)
    folders = [tmp_path / name for name in ("source", "target")]
    for folder, smooth in zip(folders, (1, 4), strict=True):
        small = rng.integers(0, 256, (20, 8 // smooth, 8 // smooth, SHAPE[2]), np.uint8)
        folder.mkdir()
        np.savez(folder / "train.npz", images=small.repeat(smooth, 1).repeat(smooth, 2))
    agreeing = ",".join(f"npz:{folder}" for folder in folders)
    arguments = {"mask": str(tmp_path / "mask.png"), "agreement": agreeing}

    def make(name, strength=1.0):
        argument = arguments.get(name, COUPLINGS[name].example)
        return parse_coupling(f"{name}:{argument}", SHAPE, strength=strength)

    return make


def low(count):
    """The projection on the lowest frequencies, as a low-pass coupling has it."""
    return Cosines.band(SHAPE, 0, count)


def lowest(images, count):
    return np.asarray(low(count)(jnp.asarray(images)))


@pytest.mark.slow
@pytest.mark.parametrize("name", COUPLINGS)
def test_it_keeps_the_contract(models, images, made, name):
    """Nothing at strength 0; something at 1; each image for itself; and it is a `Coupling`."""
    ends = [Bridge.over(model, steps=8) for model in models(name)]
    coupling = made(name)
    assert isinstance(coupling, Coupling)
    free = translation.translate(DDIB(*ends), images)
    none = translation.translate(DDIB(*ends, coupling=made(name, 0.0)), images)
    np.testing.assert_allclose(none, free, atol=1e-9)
    ddib = DDIB(*ends, coupling=coupling)
    whole = translation.translate(ddib, images)
    assert np.abs(whole - free).max() > 0.02
    np.testing.assert_allclose(
        translation.translate(ddib, images[3:], batch_size=2), whole[3:], atol=1e-9
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", COUPLINGS)
def test_new_strengths_and_ends_do_not_retrace(models, images, made, name):
    ends, traces = [Bridge.over(model, steps=8) for model in models(name)], []

    @jax.jit
    def run(ddib, keys, images):
        traces.append(1)
        return ddib(keys, images)

    keys, results = translation.image_keys(jax.random.key(0), 5), []
    for strength, until in ((1.0, 0.5), (0.5, 0.5), (0.5, 5.0)):
        ddib = DDIB(*ends, coupling=made(name, strength), until=until)
        results.append(run(ddib, keys, jnp.asarray(images)))
    other = jax.tree.map(lambda leaf: 0.7 * leaf, ddib.coupling)
    results.append(run(ddib.replace(coupling=other), keys, jnp.asarray(images)))
    assert len(traces) == 1
    for one, two in itertools.pairwise(results):
        assert float(jnp.abs(one - two).max()) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", COUPLINGS)
@pytest.mark.parametrize("solver", ["heun", "dpmpp-2m"])
def test_a_solver_keeps_its_order(models, made, name, solver):
    """The solver starts afresh where the coupling ends: no step spans the jump of the slope."""
    sigmas = np.geomspace(0.002, 80, 25)
    coupling, until = made(name), sigmas[9] * 0.999

    def end(solver, refined):
        positions = np.linspace(0, 24, 24 * refined + 1)
        levels = jnp.asarray(np.exp(np.interp(positions, np.arange(25), np.log(sigmas))))
        source, target = (Bridge(model, levels, get_solver(solver)) for model in models(name))
        latent = jnp.asarray(np.random.default_rng(3).normal(size=(2, *SHAPE)))
        return decode_coupled(coupling, source.model, target, latent, until=until).y

    exact = end("rk4", 16)
    errors = [float(jnp.abs(end(solver, refined) - exact).max()) for refined in (4, 8)]
    assert np.log2(errors[0] / errors[1]) > 1.6, errors


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3])
def test_what_is_kept_is_the_sources_and_the_rest_is_not(ends, images, count):
    free, coupled = (
        translation.translate(DDIB(*ends, coupling=coupling), images)
        for coupling in (None, Linear(low(count)))
    )
    np.testing.assert_allclose(lowest(coupled, count), lowest(images, count), atol=1e-4)
    assert np.abs(lowest(free, count) - lowest(images, count)).max() > 0.05
    assert np.abs(coupled - images).max() > 0.3


@pytest.mark.slow
def test_a_kick_replaces_after_every_step(ends, images):
    """To the kept part of the image again, for another translation than the drift's."""
    drift, kick = (
        translation.translate(DDIB(*ends, coupling=Linear(low(2), kick=form)), images)
        for form in (False, True)
    )
    np.testing.assert_allclose(lowest(kick, 2), lowest(images, 2), atol=1e-4)
    assert 1e-4 < np.abs(kick - drift).max() < 0.5
    whole = [end.replace(solver=get_solver("exact-dpmpp-2m")) for end in ends]
    with pytest.raises(ValueError, match="has no steps after which a state could be corrected"):
        translation.translate(DDIB(*whole, coupling=Linear(low(2), kick=True)), images)


def test_a_mask_keeps_the_source_where_it_is_white(ends, images):
    mask = np.zeros((8, 8, 1))
    mask[2:5, 3:6] = 1
    coupled = translation.translate(DDIB(*ends, coupling=Linear(Pixels(mask))), images)
    np.testing.assert_allclose(coupled * mask, images * mask, atol=1e-4)
    assert np.abs((coupled - images) * (1 - mask)).max() > 0.3


@pytest.mark.slow
def test_ended_it_is_the_targets_again(ends, images):
    """Ended at once it is the plain DDIB; ended late it is near the source's frequencies."""
    coupling = Linear(low(2))
    at_once, early, late = (
        translation.translate(DDIB(*ends, coupling=coupling, until=until), images)
        for until in (79.9, 0.5, None)
    )
    np.testing.assert_allclose(at_once, translation.translate(DDIB(*ends), images), atol=1e-9)
    distances = [
        float(np.abs(lowest(x, 2) - lowest(images, 2)).mean()) for x in (at_once, early, late)
    ]
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 1e-4


@pytest.mark.slow
def test_one_ended_at_the_start_changes_nothing_of_a_perturbed_latent(ends, images):
    noisy = DDIB(*ends, 1.0, perturb=get_perturbation("add-noise"))
    level = DDIB(*ends, 1.0, perturb=get_perturbation("partial-noise"))
    for plain, until in ((noisy, 79.9), (level, 0.999)):
        coupled = plain.replace(coupling=Linear(low(2)), until=until)
        np.testing.assert_allclose(
            translation.translate(coupled, images), translation.translate(plain, images), atol=1e-9
        )


def test_a_domain_coupled_to_itself_gives_the_image_back(ends, images):
    ddib = DDIB(ends[0], ends[0], coupling=Linear(low(2)))
    np.testing.assert_allclose(translation.translate(ddib, images), images, atol=1e-4)


@pytest.mark.slow
def test_gaussians_part_into_the_sources_low_and_the_targets_high_frequencies():
    """Isotropic Gaussians never mix frequencies: the low ones are exchanged and no others."""
    ends = [
        Bridge.over(
            mixture_model(jnp.full((1, *SHAPE), mean), jnp.asarray([variance])),
            steps=60,
            solver=get_solver("rk4"),
        )
        for mean, variance in ((0.5, 0.04), (-0.5, 0.3))
    ]
    images = np.random.default_rng(2).normal(0.5, 0.2, size=(4, *SHAPE))
    free, coupled = (
        translation.translate(DDIB(*ends, coupling=coupling), images)
        for coupling in (None, Linear(low(2)))
    )
    np.testing.assert_allclose(coupled, lowest(images, 2) + free - lowest(free, 2), atol=1e-4)


@pytest.mark.slow
def test_the_pair_is_led_back_to_the_latents(ends, images):
    source, target = ends
    coupling, latent = Linear(low(2)), source.encode(jnp.asarray(images))
    field = coupling.field(source.model, target.model)
    rows = coupling.start(latent, latent) * target.scale
    down = solve(target.solver, field, rows, target.sigmas[::-1])
    back = solve(target.solver, field, down.y, target.sigmas)
    np.testing.assert_allclose(back.y, rows, atol=1e-3)


@pytest.mark.slow
def test_an_implicit_solver_solves_for_each_pair(ends, images):
    """A pair is one member of the batch: its residual is its own, and the cycle closes exactly."""
    source, target = (end.replace(solver=get_solver("implicit-midpoint")) for end in ends)
    coupling, latent = Linear(low(2)), jnp.asarray(images)
    solution = decode_coupled(coupling, source.model, target, latent)
    assert solution.residual.shape == (5,)
    assert 0 < float(solution.residual.max()) < 1e-12
    field = coupling.field(source.model, target.model)
    rows = coupling.start(latent, latent) * target.scale
    down = solve(target.solver, field, rows, target.sigmas[::-1])
    back = solve(target.solver, field, down.y, target.sigmas)
    np.testing.assert_allclose(back.y, rows, atol=1e-9)


def test_a_straight_path_stays_straight(images):
    noise = jnp.asarray(np.random.default_rng(5).normal(size=images.shape))
    slope = probability_flow(StraightPath(noise))(jnp.asarray(2.0), images + 2.0 * noise)
    np.testing.assert_allclose(slope, noise, atol=1e-12)


def test_agreement_is_high_where_both_have_as_much():
    rng = np.random.default_rng(0)
    white = rng.normal(size=(200, *SHAPE))
    same = Cosines.agreement(white, rng.normal(size=(200, *SHAPE)))
    assert same.weights.min() > 0.8
    smooth = lowest(white, 3) + 0.1 * white
    weights = Cosines.agreement(white, smooth).weights
    assert weights[:3, :3].min() > 0.6 > 0.1 > weights[3:, 3:].max()


@pytest.mark.parametrize(("low_end", "high_end"), [(0, 1), (1, 3), (3, 8)])
def test_bands_are_projections_that_add_up(images, low_end, high_end):
    band = Cosines.band(SHAPE, low_end, high_end)
    np.testing.assert_allclose(
        band(band(jnp.asarray(images))), band(jnp.asarray(images)), atol=1e-12
    )
    parts = [Cosines.band(SHAPE, *ends)(jnp.asarray(images)) for ends in ((0, 1), (1, 3), (3, 8))]
    np.testing.assert_allclose(sum(parts), images, atol=1e-12)


def test_a_layer_that_is_not_there_is_refused_with_the_nearest(networks, images):
    ends = [Bridge.over(model, steps=2) for model in networks]
    with pytest.raises(ValueError, match="no site 'iner'; the nearest are inner"):
        translation.translate(DDIB(*ends, coupling=InjectFusion("iner")), images)


@pytest.mark.slow
def test_sweeps_are_coupled_too(ends, images):
    ddib = DDIB(*ends, perturb=get_perturbation("blur"), coupling=Linear(low(1)))
    swept = translation.translate_sweep(ddib, images, (0.0, 1.0), batch_size=2).images
    keys = translation.image_keys(jax.random.key(0), 5)
    whole = translation.sweep(keys, ddib, jnp.asarray(images), jnp.asarray([0.0, 1.0]))
    np.testing.assert_allclose(swept, whole, atol=1e-9)
    assert np.abs(swept[1] - swept[0]).max() > 0.05
    for part in swept:
        np.testing.assert_allclose(lowest(part, 1), lowest(images, 1), atol=1e-4)


def test_what_cannot_be_coupled_is_said(ends, images):
    check = lambda **options: translation.translate(DDIB(*ends, **options), images)
    with pytest.raises(ValueError, match="no frequency from 0 up to below 0 in images of 8 x 8"):
        parse_coupling("low-pass:0", SHAPE)
    with pytest.raises(ValueError, match="of 4 x 4 images cannot hold data of 8 x 8 x 3"):
        check(coupling=Linear(Cosines.band((4, 4), 0, 1)))
    with pytest.raises(ValueError, match="mask of 4 x 4 does not fit data of 8 x 8 x 3"):
        check(coupling=Linear(Pixels(np.zeros((4, 4, 1)))))
    with pytest.raises(ValueError, match="are of images; points have no frequencies"):
        parse_coupling("low-pass:1", (2,))
    for until in (0.0, -1.0, 80.0):
        with pytest.raises(ValueError, match="between 0 and the end of its bridges at 80"):
            check(coupling=Linear(low(1)), until=until)
    with pytest.raises(ValueError, match="no coupling to end"):
        check(until=1.0)
    lowered = DDIB(ends[0], ends[1].up_to(jnp.asarray(40.0)), coupling=Linear(low(1)))
    with pytest.raises(ValueError, match="the source's ends at 80, the target's at 40"):
        translation.translate(lowered, images)
    small = Bridge.over(mixture_model(jnp.zeros((1, 4, 4, 3)), jnp.asarray([0.2])), steps=3)
    with pytest.raises(ValueError, match="the target decodes 4 x 4 x 3"):
        translation.translate(DDIB(ends[0], small, coupling=Linear(low(1))), images)
    assert bridge.COUPLINGS is COUPLINGS


@pytest.mark.slow
def test_what_the_solver_does_not_solve_is_no_result(ends, images):
    """NaN from the DDIB itself, and one sentence from the driver, whichever side iterates."""
    hopeless = ImplicitMidpoint(FixedPoint(passes=1, newton=0))
    source, target = ends[0], replace(ends[1], solver=hopeless)
    for until in (None, 1.0):
        ddib = DDIB(source, target, coupling=Linear(low(1)), until=until)
        keys = translation.image_keys(jax.random.key(0), len(images))
        assert np.isnan(ddib(keys, jnp.asarray(images))).all()
        with pytest.raises(FloatingPointError, match="did not converge on 5 of 5"):
            translation.translate(ddib, images)


def test_a_kick_is_not_for_pairs(ends, images):
    kicked = DDIB(
        ends[0],
        replace(ends[1], solver=get_solver("rex-midpoint")),
        coupling=Linear(low(1), kick=True),
    )
    with pytest.raises(ValueError, match="second state that would not be"):
        translation.translate(kicked, images)


def test_ends_are_those_that_a_perturbation_leaves(ends, images):
    """A coupling that would end above the lowered ends is refused, and not silently dropped."""
    lowered = DDIB(
        *ends,
        perturb=parse_perturbation(["partial-noise=1"], ()),
        coupling=Linear(low(1)),
        until=2.0,
    )
    with pytest.raises(ValueError, match="end of its bridges at 1, not at 2"):
        translation.translate(lowered, images)


@pytest.mark.slow
def test_a_last_denoising(ends, images):
    """A target that starts from noise keeps that of the lowest level, unless it is taken away."""
    keys, fresh = jax.random.split(jax.random.key(0), len(images)), get_perturbation("slerp-noise")
    noisy = DDIB(*ends, coefficient=1.0, perturb=fresh)
    images = jnp.asarray(images)
    kept, clean = noisy(keys, images), replace(noisy, denoised=True)(keys, images)
    expected = ends[1].model.denoise(kept, ends[1].sigmas[0])
    np.testing.assert_allclose(clean, expected, rtol=1e-9, atol=1e-9)
    assert float(jnp.abs(kept - clean).max()) > 1e-6

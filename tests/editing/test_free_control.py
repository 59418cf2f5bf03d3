"""FreeControl: what it does to a small model whose answers are known."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import preconditioning
from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.editing import (
    Bases,
    FreeControl,
    Further,
    attention_layers,
    constant,
    false_colours,
    kick,
    load_bases,
    save_bases,
    semantic_bases,
    structure_layers,
    warmed_up,
)
from ddib_jax.editing.free_control import structure_energy
from ddib_jax.guidance import ClassifierFreeGuidance
from ddib_jax.schedules import EDM
from ddib_jax.solvers import EULER
from tests.editing.told import PLACES, told_model
from tests.nets.small import COMPILED_QUICKLY, TIME, Small, X, filled

SIGMA = jnp.asarray(1.3)
SITES = ("middle.key",)
NOISE = jax.random.normal(jax.random.key(9), (3, 4, 4, 3))


quickly = partial(jax.jit, compiler_options=COMPILED_QUICKLY)


@pytest.fixture(scope="module")
def model():
    """A model of labels with one layer that attends, whose keys are looked at."""
    network = Small(labelled=True)
    params = filled(network, X, TIME, jnp.zeros(2, int))["params"]
    options = {"network": network, "schedule": EDM(), "data_shape": (4, 4, 3)}
    return DiffusionModel(params, preconditioning.EDM(0.5), jnp.asarray(0), **options)


@pytest.fixture(scope="module")
def bases(model):
    return based(model, NOISE)


def based(model, noise, **options):
    bridge = Bridge.over(model, steps=4, solver=EULER)
    return semantic_bases(bridge, noise, sites=SITES, components=5, knots=3, **options)


def guided(model, label=1, scale=2.0):
    free = ClassifierFreeGuidance(jnp.asarray(2), scale)
    return model.given(jnp.asarray(label)).guided(free)


def states(seed, *shape):
    """Noisy data."""
    return 2 * jax.random.normal(jax.random.key(seed), (*shape, 4, 4, 3))


@pytest.mark.slow
def test_layers_are_told_apart():
    """Those to the text and to the image, of the decoder and before it, in their order."""
    model = told_model(**PLACES)
    layers = attention_layers(model)
    assert [layer.cross for layer in layers] == [False, True] * 7
    assert [layer.decoder for layer in layers] == [False] * 6 + [True] * 8
    assert {layer.block for layer in structure_layers(model)} == {"up_blocks.1"}
    assert all(layer.side == 8 and not layer.cross for layer in structure_layers(model))
    assert all(layer.cross for layer in structure_layers(model, cross=True))


def test_bases_are_principal_directions(model, bases):
    """Against the singular vectors of all features at once, and whatever the batches."""
    (mean, *_), (directions, *_) = bases.means, bases.directions
    assert directions.shape == (3, 32, 5)
    products = jnp.einsum("lck,lcm->lkm", directions, directions)
    np.testing.assert_allclose(products, np.tile(np.eye(5), (3, 1, 1)), atol=1e-5)
    bridge = Bridge.over(model, steps=4, solver=EULER)
    start = NOISE * bridge.scale
    values = jax.jit(lambda x: model.read(x, bridge.sigmas[-1], bases.sites)[1])(start)
    flat = np.asarray(values[bases.sites[0]], np.float64).reshape(-1, 32)
    np.testing.assert_allclose(mean[-1], flat.mean(axis=0), rtol=1e-4, atol=1e-5)
    _, singular, vectors = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    alike = np.abs(np.sum(vectors[:3] * np.asarray(directions[-1, :, :3]).T, axis=1))
    np.testing.assert_allclose(alike, 1, atol=1e-3)
    shares = singular**2 / (singular**2).sum()
    np.testing.assert_allclose(bases.explained[0][-1], shares[:5], rtol=1e-3, atol=1e-5)
    few = based(model, NOISE, batch_size=1)
    np.testing.assert_allclose(few.means[0], bases.means[0], rtol=1e-5, atol=1e-6)
    other = based(model, NOISE[:1]).directions[0]
    assert not np.allclose(other, bases.directions[0], atol=1e-2)


@pytest.mark.slow
def test_bases_have_a_picture(model, bases):
    """Seeds above, then their first directions from the highest level down, each of full range."""
    bridge = Bridge.over(model, steps=4, solver=EULER)
    found = false_colours(bridge, NOISE[:2], bases, rows=2)
    assert found.shape == (3, 2, 4, 4, 3)
    np.testing.assert_allclose(found[0], bridge.decode(NOISE[:2]), atol=1e-4)
    np.testing.assert_allclose(found[1:].min(axis=(2, 3)), -1, atol=1e-3)
    np.testing.assert_allclose(found[1:].max(axis=(2, 3)), 1, atol=1e-3)
    values = model.read(NOISE[:2] * bridge.scale, bridge.sigmas[-1], bases.sites)[1]
    first = bases.coordinates(values, bridge.sigmas[-1])[0][..., 0]
    scaled = (first - first.min(1, keepdims=True)) / np.ptp(first, axis=1, keepdims=True)
    np.testing.assert_allclose(found[1, ..., 0].reshape(2, -1), 2 * scaled - 1, atol=1e-3)
    few = false_colours(bridge, NOISE[:2], bases.leading(1), rows=2)
    np.testing.assert_allclose(few[..., 0], found[..., 0], atol=1e-4)
    np.testing.assert_array_equal(few[1:, ..., 1:], 0)


def test_bases_belong_to_their_model(model, bases, tmp_path):
    path = save_bases(tmp_path / "bases.npz", bases, model="abc", prompt="a cat")
    pairs = zip(jax.tree.leaves(load_bases(path, model="abc")), jax.tree.leaves(bases), strict=True)
    assert all(np.array_equal(*pair) for pair in pairs)
    with pytest.raises(ValueError, match="of another model"):
        load_bases(path, model="abd")
    with pytest.raises(FileNotFoundError, match="ddib bases"):
        load_bases(tmp_path / "none.npz")
    (tmp_path / "cut.npz").write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="holds no bases"):
        load_bases(tmp_path / "cut.npz")
    bases.check(model)
    with pytest.raises(ValueError, match="has not; make bases"):
        bases.check(told_model())
    with pytest.raises(ValueError, match=r"of 32 channels of out, which has 3 "):
        replace(bases, sites=("out",), means=(jnp.zeros((3, 32)),)).check(model)


@pytest.mark.slow
def test_energy_is_none_where_both_are_alike(model, bases):
    """Zero with a zero gradient at the example itself, and more elsewhere, image by image."""
    control = FreeControl.of(model, bases, appearance=0.3)

    @quickly
    def energies(x, example):
        seen = model.read(example, SIGMA, bases.sites)[1]

        def of(x):
            own = model.read(x, SIGMA, bases.sites)[1]
            return control.energy(own, [seen], seen, SIGMA)

        return of(x), jax.grad(lambda x: of(x).sum())(x)

    example = states(1, 2)
    energy, gradient = energies(example, example)
    # Two readings of one program may round apart: squares of 1e-7, and twice that as a slope.
    np.testing.assert_allclose(energy, 0, atol=1e-12)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)
    moved = example.at[1].add(0.5 * states(2, 1)[0])
    energy, gradient = energies(moved, example)
    assert energy[0] < 1e-12 < 1e-5 < energy[1]
    assert np.abs(gradient[0]).max() < 1e-6 < 1e-4 < np.abs(gradient[1]).max()


def test_structure_outside_of_a_mask():
    """Inside all that differs counts; outside only what is above the example's largest there."""
    example = jnp.asarray([[[0.0], [1.0], [0.5], [0.2]]])
    mask = jnp.asarray([[True, True, False, False]])
    energy = lambda own: float(structure_energy(jnp.asarray(own), example, mask, 10.0)[0])
    assert energy([[[0.0], [1.0], [0.1], [0.5]]]) == 0
    assert energy([[[0.2], [1.0], [0.5], [0.2]]]) == pytest.approx(0.04 / 2)
    assert energy([[[0.0], [1.0], [0.9], [0.2]]]) == pytest.approx(10 * 0.16 / 2)
    whole = structure_energy(example + 0.1, example, None, 10.0)
    np.testing.assert_allclose(whole, 0.01, rtol=1e-5)


def test_no_weight_leaves_the_target_alone(model, bases):
    """All rows are then what they are by themselves, to the bit of one program's answers."""
    target = guided(model)
    control = FreeControl.of(model, bases, structure=0.0)
    rows = jnp.stack([states(seed, 2) for seed in (4, 5, 5)], axis=1)
    slopes, free = quickly(
        lambda rows: (
            control.field(model, target)(SIGMA, rows),
            [
                (rows[:, row] - each.denoise(rows[:, row], SIGMA)) / SIGMA
                for row, each in enumerate((model, target, target))
            ],
        )
    )(rows)
    for row, slope in enumerate(free):
        np.testing.assert_allclose(slopes[:, row], slope, rtol=2e-5, atol=2e-6)


def test_a_kick_is_a_drift_under_euler(model, bases):
    """x' - size sigma sigma' grad E after the step is the drift of the weights of `kick`."""
    high, low, size = jnp.asarray(1.3), jnp.asarray(0.8), 4.0
    weights = kick(size, jnp.asarray([0.5, low, high]))
    options = {"appearance": None, "longest": jnp.inf}
    drift = FreeControl.of(model, bases, structure=weights, **options)
    target = model.given(jnp.asarray(1))

    @quickly
    def ends(rows):
        seen = model.read(rows[:, 0], high, bases.sites)[1]
        of = lambda x: drift.energy(target.read(x, high, bases.sites)[1], [seen], None, high)
        push = size * high * low * jax.grad(lambda x: of(x).sum())(rows[:, 1])
        plain = replace(drift, structure=constant(0.0))
        stepped = [
            rows + (low - high) * coupling.field(model, target)(high, rows)
            for coupling in (drift, plain)
        ]
        return stepped[0], stepped[1].at[:, 1].add(-push), stepped[1]

    by_drift, kicked, free = ends(jnp.stack([states(seed, 2) for seed in (4, 5)], axis=1))
    np.testing.assert_allclose(by_drift, kicked, rtol=1e-5, atol=1e-5)
    assert float(jnp.abs(kicked - free).max()) > 1e-3


def looked_at(seed):
    """What could be read of two images in a decoder: keys, and attention to a prompt of 6."""
    numbers = np.random.default_rng(seed)
    shapes = {"own.key": (2, 16, 2, 4), "cross.query": (2, 16, 2, 4), "cross.key": (2, 6, 2, 4)}
    return {site: jnp.asarray(numbers.normal(size=shape)) for site, shape in shapes.items()}


@pytest.mark.slow
def test_energies_of_several_conditions_are_summed():
    """Each with its own mask and weight, above the noise level at which it ends."""
    directions = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (8, 8)))[0][None, :, :3]
    bases = Bases(
        ("own.key",), jnp.ones(1), (jnp.zeros((1, 8)),), (directions,), (jnp.ones((1, 3)),)
    )
    words = jnp.eye(6)
    alone = FreeControl(bases, constant(1.0), None, cross=("cross",))
    latent, cond = jnp.zeros((4, 4, 3)), None
    both = replace(
        alone,
        concept=words[1],
        ends=1.0,
        further=(Further(latent, cond, words[2], 0.5, 2.0), Further(latent, cond, weight=3.0)),
    )
    own, *examples = map(looked_at, range(4))
    energy = lambda control, *examples, at: control.energy(own, examples, None, jnp.asarray(at))
    concepts = (words[1], words[2], None)
    parts = [
        energy(replace(alone, concept=concept), example, at=9.0)
        for concept, example in zip(concepts, examples, strict=True)
    ]
    assert np.unique(np.stack(parts).round(3)).size == 6
    for at, weights in ((2.0, (1, 0.5, 3)), (1.5, (1, 0, 3)), (0.5, (0, 0, 3))):
        expected = sum(weight * part for weight, part in zip(weights, parts, strict=True))
        np.testing.assert_allclose(energy(both, *examples, at=at), expected, rtol=1e-5)


def test_a_further_condition_is_a_row(model, bases):
    """The same image twice is twice the energy, and its row comes down as the first does."""
    bridge = Bridge.over(model, steps=2, solver=EULER)
    image = jnp.tanh(states(7))
    twice = FreeControl.of(model, bases, structure=3.0, further=[Further.of(bridge, image)])
    twice.check((4, 4, 3))
    with pytest.raises(ValueError, match=r"is of \(4, 4, 3\), and the model's data are of \(8, 8"):
        twice.check((8, 8, 3))
    np.testing.assert_allclose(twice.further[0].latent, bridge.encode(image[None])[0], atol=1e-6)
    latents = jnp.repeat(twice.further[0].latent[None], 2, axis=0)
    start = twice.start(latents, states(8, 2))
    assert start.shape == (2, 4, 4, 4, 3)
    once = FreeControl.of(model, bases, structure=6.0)
    target = guided(model)

    @quickly
    def slopes(rows):
        fewer = jnp.delete(rows, 1, axis=1)
        # the appearance's weight is in units of that of structure
        halved = replace(once, appearance=twice.appearance / 2)
        return twice.field(model, target)(SIGMA, rows), halved.field(model, target)(SIGMA, fewer)

    found, expected = slopes(start)
    np.testing.assert_allclose(found[:, 1], found[:, 0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[:, 2:], expected[:, 1:], rtol=1e-4, atol=1e-5)


def test_weights_by_level():
    sigmas = jnp.asarray([0.1, 1.0, 10.0, 80.0])
    warm = warmed_up(constant(3.0), sigmas, 2)
    np.testing.assert_allclose([warm(sigma) for sigma in sigmas], [3, 3, 1.5, 0])
    np.testing.assert_allclose(warm(jnp.asarray(7.0)), 1.5)


def test_one_image_and_its_company(model, bases):
    """An image's translation is the same in any batch, and new labels and weights do not trace."""
    calls = 0

    @quickly
    def translate(ddib, keys, images):
        nonlocal calls
        calls += 1
        return ddib(keys, images)

    def ddib(label, weight):
        ends = [Bridge.over(each, steps=3, solver=EULER) for each in (model, guided(model, label))]
        coupling = FreeControl.of(model, bases, structure=weight)
        return DDIB(*ends, coupling=coupling, until=0.1)

    images, keys = jnp.tanh(states(6, 3)), jax.random.split(jax.random.key(0), 3)
    found = translate(ddib(1, 5.0), keys, images)
    other = translate(ddib(1, 5.0), keys, images.at[1:].multiply(-1))
    np.testing.assert_array_equal(found[0], other[0])
    assert float(jnp.abs(found[1] - other[1]).max()) > 1e-3
    assert float(jnp.abs(found - translate(ddib(0, 5.0), keys, images)).max()) > 1e-4
    assert float(jnp.abs(found - translate(ddib(1, 0.5), keys, images)).max()) > 1e-6
    assert calls == 1

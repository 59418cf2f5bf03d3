"""Bridges on a lattice of integers: no bit is lost, and what cannot be held is refused."""

import dataclasses
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax import preconditioning, translation
from ddib_jax.analytic import mixture_model
from ddib_jax.bridge import Bridge
from ddib_jax.data.png import to_bytes
from ddib_jax.diagnosis import PaddedGrid
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.guidance import ClassifierFreeGuidance
from ddib_jax.nets import UNet
from ddib_jax.schedules import EDM
from ddib_jax.solvers import LatticeHeun, ReversibleHeun, get_solver, solve

ROOT = Path(__file__).resolve().parents[1]
PICTURES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3)).astype(np.uint8)
IMAGES = PICTURES.astype(np.float32) / 127.5 - 1


def learnt(seed, **options):
    """A tiny model whose answers depend on its input, as those of an untrained one do not."""
    network = UNet(
        out_channels=3,
        model_channels=32,
        channel_mult=(1,),
        attention_resolutions=(),
        patch_size=2,
        **options,
    )
    label = jnp.zeros(1, jnp.int32) if network.num_classes else None
    inputs = (jax.random.key(0), jnp.zeros((1, 8, 8, 3)), jnp.zeros(1), label)
    rng = np.random.default_rng(seed)

    def drawn(path, leaf):
        return jnp.asarray(0.1 * rng.normal(size=leaf.shape) + (path[-1].key == "scale"), "f4")

    params = jax.tree.map_with_path(drawn, jax.eval_shape(network.init, *inputs)["params"])
    return DiffusionModel(
        params,
        preconditioning.EDM(),
        network=network,
        schedule=EDM(0.1, 80.0),
        data_shape=(8, 8, 3),
    )


@pytest.fixture(scope="module")
def models():
    return learnt(1), learnt(2)


def over(model, name="lattice-heun", steps=7, precision=None):
    exponential = LatticeHeun(exponential=True)
    solver = exponential if name == "exponential" else get_solver(name)
    return Bridge.over(model.at_precision(precision), steps=steps, solver=solver)


def lattice(half) -> LatticeHeun:
    assert isinstance(half.solver, LatticeHeun)
    return half.solver


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "precision"),
    [("lattice-heun", "float32"), ("lattice-heun", "bfloat16"), ("exponential", "bfloat16")],
)
def test_an_image_comes_back_to_the_bit(models, name, precision):
    """Through one model and, the pairs handed on, through two; in batches and numbers of others."""
    here, there = (over(model, name, precision=precision) for model in models)
    up = translation.encode(here, IMAGES, batch_size=4)
    assert up.aux.value.dtype == np.int32
    assert up.aux.value.shape == (5, 2, 8, 8, 3)
    back = translation.decode(here, up.y, aux=up.aux, batch_size=2)
    assert np.array_equal(to_bytes(back), PICTURES)
    two = replace(up.aux, value=up.aux.value[3:0:-2])
    assert np.array_equal(translation.decode(here, up.y[3:0:-2], aux=two), back[3:0:-2])
    down = translation.hand_on(there, up.aux, rising=False)
    assert np.abs(down.y - IMAGES).max() > 0.1
    again = translation.hand_on(there, down.aux, rising=True)
    assert np.array_equal(again.aux.value, up.aux.value)
    assert np.array_equal(again.y, up.y)
    home = translation.hand_on(here, again.aux, rising=False)
    assert np.array_equal(home.y, back)
    assert lattice(here).is_start(home.aux.value).all()
    assert not lattice(here).is_start(down.aux.value).any()


@pytest.mark.slow
def test_without_the_lattice_bfloat16_loses_the_image(models):
    """What the lattice is for: undone in floating point, rounding meets another step of the net."""
    half = over(models[0], "reversible-heun", precision="bfloat16")
    up = translation.encode(half, IMAGES)
    back = translation.decode(half, up.y, aux=up.aux)
    assert np.abs(back - IMAGES).max() > 1e-4


def test_values_of_16_bits_come_back_and_so_does_every_image_on_the_lattice(models):
    half, rng = over(models[0]), np.random.default_rng(1)
    words = rng.integers(0, 2**16, IMAGES.shape)
    on_lattice = rng.integers(-(2**18), 2**18, IMAGES.shape) * np.float32(2**-18)
    back = []
    for images in ((words / 32767.5 - 1).astype(np.float32), on_lattice):
        up = translation.encode(half, images)
        back.append(translation.decode(half, up.y, aux=up.aux))
    assert np.array_equal(np.rint((back[0] + 1) * 32767.5), words)
    assert np.array_equal(back[1], on_lattice)


def test_conditions_and_guidance_come_back_too():
    labels = np.asarray([0, 1, 2, 0, 1], np.int32)
    model = learnt(3, num_classes=4)
    guidance = ClassifierFreeGuidance(jnp.asarray(3), jnp.asarray(2.0))
    half = over(model.guided(guidance))
    up = translation.encode(half, IMAGES, cond=labels)
    back = translation.decode(half, up.y, aux=up.aux, cond=labels)
    assert np.array_equal(to_bytes(back), PICTURES)
    other = translation.hand_on(half, up.aux, rising=False, cond=labels[::-1].copy())
    assert not lattice(half).is_start(other.aux.value).all()


def test_the_vector_field_stands_in_one_place_of_the_program():
    """Whatever the step: two places could be compiled to two answers."""
    slope = lambda t, y: jnp.tanh(y) * t
    for solver, places in ((LatticeHeun(), 1), (ReversibleHeun(), 2)):
        run = jax.jit(lambda y, ts, solver=solver: solve(solver, slope, y, ts).y)
        text = run.lower(jnp.ones((1, 2)), jnp.linspace(0.0, 1.0, 4)).as_text()
        assert text.count("stablehlo.tanh") == places


def test_both_directions_are_one_program(models):
    """The network is traced once for the ways up and down, of two models, with pairs or without."""
    traces = []

    class Counted(UNet):
        def __call__(self, *args, **kwargs):
            traces.append(1)
            return super().__call__(*args, **kwargs)

    fields = {
        f.name: getattr(models[0].network, f.name) for f in dataclasses.fields(UNet) if f.init
    }
    network = Counted(**{n: v for n, v in fields.items() if n not in ("parent", "name")})
    here, there = (over(model.replace(network=network)) for model in models)
    up = translation.encode(here, IMAGES)
    once = len(traces)
    translation.decode(here, up.y, aux=up.aux)
    translation.hand_on(there, up.aux, rising=False)
    assert once > 0
    assert len(traces) == once


def gaussian(sigma_min=0.1, sigma_max=80.0):
    schedule = EDM(sigma_min, sigma_max)
    return mixture_model(jnp.zeros((1, 4, 4, 1)), jnp.asarray([0.25]), schedule=schedule)


@pytest.mark.parametrize(
    ("name", "ends", "bits"),
    [
        ("lattice-heun", (0.1, 80.0), 18),
        ("lattice-heun", (0.01, 2e4), 10),
        ("exponential", (0.1, 80.0), 24),
        ("exponential", (0.001, 2e4), 18),
    ],
)
def test_the_lattice_is_as_fine_as_the_noise_levels_allow(name, ends, bits):
    half = over(gaussian(*ends), name)
    assert lattice(half).bits == bits
    largest = max(2 / ends[0], 16) if lattice(half).exponential else 16 * ends[1]
    assert lattice(half).limit / 2 < largest * 1.01 < lattice(half).limit * 1.01
    chosen = replace(lattice(half), bits=3)
    assert Bridge.over(gaussian(*ends), solver=chosen).solver == chosen


@pytest.mark.slow
def test_what_the_lattice_cannot_hold_is_refused_and_never_wraps():
    with pytest.raises(ValueError, match="lattice of 29 bits: expected 0 to 28"):
        LatticeHeun(29)
    with pytest.raises(ValueError, match=r"No lattice of 32 bits holds states up to 1\.6e"):
        over(gaussian(0.1, 1e9))
    narrow = Bridge.over(gaussian(), steps=6, solver=LatticeHeun(26))
    images = np.random.default_rng(0).normal(0, 0.4, (3, 4, 4, 1)).astype(np.float32)
    images[1] = 0
    match = "The states of 2 of 3 images left the lattice, which holds x up to 8"
    with pytest.raises(FloatingPointError, match=match):
        translation.encode(narrow, images)
    field = lambda t, y: jnp.ones_like(y)
    for stop in (7.0, 9.0, 1e3, 1e12, jnp.nan):
        end = solve(LatticeHeun(26), field, jnp.zeros((1, 2)), jnp.asarray([0.0, stop]))
        held = stop < 8
        assert bool(jnp.isfinite(end.y).all()) == held
        assert bool((end.aux == jnp.iinfo(jnp.int32).min).all()) == (not held)
        if held:
            assert float(end.y[0, 0]) == stop
    # one that is lost stays lost
    back = solve(LatticeHeun(26), field, end.y, jnp.asarray([9.0, 0.0]), aux=end.aux)
    assert not bool(jnp.isfinite(back.y).any())


def test_an_auxiliary_state_of_another_kind_is_refused(models, unchecked):
    half = over(models[0])
    up = translation.encode(half, IMAGES)
    refused = {
        "that of LatticeHeun.bits=18": (over(models[0], "exponential"), up.aux),
        "bits=17": (half, replace(up.aux, solver=LatticeHeun(17))),
        "another grid, of 7 steps to 80; this bridge's has 9": (over(models[0], steps=9), up.aux),
        "precision the device's own, and this bridge computes at bfloat16; take the same": (
            over(models[0], precision="bfloat16"),
            up.aux,
        ),
        "integers of 2 x 8 x 8 x 3 for each image, and this is float32 of 2 x 8 x 8 x 3": (
            half,
            replace(up.aux, value=up.aux.value.astype(np.float32)),
        ),
        "and this is int32 of 8 x 8 x 3": (half, replace(up.aux, value=up.aux.value[:, 0])),
        "that of 4 other latents than these 5": (half, replace(up.aux, value=up.aux.value[:4])),
    }
    for match, (bridge, aux) in refused.items():
        with pytest.raises(ValueError, match=match):
            translation.decode(bridge, up.y, aux=aux)
    with pytest.raises(ValueError, match="not the latents that the auxiliary state came with"):
        translation.decode(half, up.y + 0.1, aux=up.aux)
    with pytest.raises(TypeError, match="is no lattice"):
        translation.hand_on(over(models[0], "heun"), up.aux, rising=False)
    with pytest.raises(ValueError, match="no steps after which a state could be corrected"):
        solve(LatticeHeun(), lambda t, y: y, jnp.asarray(IMAGES), jnp.ones(2), after=lambda y: y)


@pytest.mark.slow
def test_a_precision_reaches_network_and_products(models):
    x, sigma = jnp.asarray(IMAGES), jnp.asarray(1.0)
    text = lambda precision: str(
        jax.make_jaxpr(lambda x: models[0].at_precision(precision).denoise(x, sigma))(x)
    )
    plain, exact, tf32, half = map(text, (None, "float32", "tf32", "bfloat16"))
    assert "bf16" not in plain + exact + tf32
    assert "bf16" in half
    assert "Precision.HIGHEST" in exact
    assert "TF32" in tf32.upper() or "Precision.HIGH," in tf32
    assert len({plain, exact, tf32, half}) == 4
    trained_so = models[0].replace(network=models[0].network.clone(dtype="bfloat16"))
    denoised = trained_so.at_precision("float32").denoise(x, sigma)
    assert jnp.array_equal(denoised, models[0].at_precision("float32").denoise(x, sigma))


@pytest.mark.slow
def test_a_padded_grid_gives_the_image_back(models):
    padded = PaddedGrid.of(over(models[0]).sigmas, 10)
    solver, model = LatticeHeun(), models[0].at_precision("bfloat16")
    up = padded.solve(solver, model, jnp.asarray(IMAGES), rising=True).solution
    back = padded.solve(solver, model, up.y, rising=False, aux=up.aux).solution
    assert np.array_equal(to_bytes(np.asarray(back.y)), PICTURES)
    assert solver.is_start(back.aux).all()


@pytest.mark.slow
def test_other_processes_and_numbers_of_devices_lose_no_bit(tmp_path):
    """Encoded by one process on one device, decoded by others on one and on two."""
    run = lambda *words, devices: subprocess.run(
        [sys.executable, "-m", "tests.on_lattice", *words],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"},
        check=True,
    )
    run("up", tmp_path / "up.npz", devices=1)
    for devices in (1, 2):
        run("down", tmp_path / "up.npz", tmp_path / "down.npz", devices=devices)
        down = np.load(tmp_path / "down.npz")
        assert np.array_equal(down["pictures"], PICTURES)
        # Pictures of 8 bits would hide a bit that was lost.
        assert down["closed"].all()

"""Images and latents of any type of number: taken for what they are, or refused in one sentence."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddib_jax.analytic import mixture_model
from ddib_jax.baselines import ILVR, Nearest, SDEdit
from ddib_jax.bridge import DDIB, Bridge, log_likelihood
from ddib_jax.bridge.couplings import Linear, Resized
from ddib_jax.perturbations import PERTURBATIONS
from ddib_jax.solvers import get_solver, solve, solve_path
from ddib_jax.translation import decode, encode, image_keys, sample, sweep, translate
from ddib_jax.translation import translate_sweep as swept

ROOT = Path(__file__).resolve().parents[1]
BYTES = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 1), np.uint8)
IMAGES = BYTES.astype(np.float32) / 127.5 - 1
BRIDGE = Bridge.over(mixture_model(jnp.full((1, 4, 4, 1), 0.5), jnp.asarray([0.1])), steps=4)
WAY = DDIB(BRIDGE, BRIDGE, perturb=PERTURBATIONS["blend-image"], coefficient=0.5)
KEYS = image_keys(jax.random.key(0), 3)
OF_IMAGES = {
    "encode": lambda x: encode(BRIDGE, x).y,
    "translate": lambda x: translate(WAY, x),
    "translate_sweep": lambda x: swept(WAY, x, [0.0, 0.5]).images,
    "Bridge.encode": BRIDGE.encode,
    "DDIB": lambda x: WAY(KEYS, x),
    "reference": lambda x: DDIB(
        BRIDGE,
        BRIDGE,
        perturb=PERTURBATIONS["slerp-other"],
        coefficient=0.5,
        reference=np.asarray(x)[0],
    )(KEYS, IMAGES),
    "sweep": lambda x: sweep(KEYS, WAY, x, jnp.asarray([0.0, 0.5])),
    "SDEdit": lambda x: SDEdit(BRIDGE, jnp.asarray(1.0))(KEYS, x),
    "ILVR": lambda x: ILVR(BRIDGE, Linear(Resized(2), kick=True))(KEYS, x),
    "Nearest": lambda x: Nearest(IMAGES[:2])(KEYS, x),
}
LATENTS = np.random.default_rng(1).normal(size=(3, 4, 4, 1)).astype(np.float32)
OF_LATENTS = {
    "decode": lambda x: decode(BRIDGE, x),
    "sample": lambda x: sample(BRIDGE, x),
    "Bridge.decode": BRIDGE.decode,
    "Bridge.sample": BRIDGE.sample,
    "Bridge.solve": lambda x: BRIDGE.solve(x, rising=False).y,
    "Bridge.path": lambda x: BRIDGE.path(x, rising=False),
    "log_likelihood": lambda x: log_likelihood(BRIDGE, x),
}
ROUNDING = 0.08
"""What the rounding of inputs to bfloat16 may make of results."""

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unchecked")]


@functools.cache
def expected(name):
    """The result of a function for floats of the host, as most people give them."""
    found = OF_IMAGES[name](IMAGES) if name in OF_IMAGES else OF_LATENTS[name](LATENTS)
    assert found.dtype == np.float32
    return np.asarray(found)


@pytest.mark.parametrize("name", OF_IMAGES)
def test_bytes_are_images(name):
    given = jnp.asarray(BYTES) if name == "reference" else list(BYTES)
    np.testing.assert_allclose(OF_IMAGES[name](given), expected(name), atol=1e-5)


@pytest.mark.parametrize("name", [*OF_IMAGES, *OF_LATENTS])
def test_floats_of_any_width(name):
    function, given = (
        (OF_IMAGES[name], IMAGES) if name in OF_IMAGES else (OF_LATENTS[name], LATENTS)
    )
    size = max(1, np.abs(expected(name)).max())
    wide = function(list(given.astype(np.float64)))
    np.testing.assert_allclose(wide, expected(name), atol=1e-5 * size)
    if name != "Nearest":  # it chooses, which rounding may change
        half = np.asarray(function(jnp.asarray(given, jnp.bfloat16)))
        assert half.dtype == np.float32
        np.testing.assert_allclose(half, expected(name), atol=ROUNDING * size)


@pytest.mark.parametrize("name", [*OF_IMAGES, *OF_LATENTS])
def test_other_numbers_are_refused(name):
    function = OF_IMAGES.get(name) or OF_LATENTS[name]
    kinds = [np.int64, np.uint16, np.bool_, np.complex64, *[np.uint8] * (name in OF_LATENTS)]
    for given in (*(np.ones((3, 4, 4, 1), kind) for kind in kinds), jnp.ones((3, 4, 4, 1), int)):
        with pytest.raises(ValueError, match=r"are of \w+; give floats .* bytes \(uint8\)"):
            function(given)
    if name != "reference":
        with pytest.raises(ValueError, match="are not of one shape"):
            function([np.zeros((4, 4, 1)), np.zeros((3, 4, 1))])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_before_any_work(bad):
    images, latents = IMAGES.copy(), LATENTS.copy()
    images[1, 0, 0, 0], latents[1, 0, 0, 0] = bad, bad
    for name in ("encode", "translate", "translate_sweep"):
        with pytest.raises(ValueError, match="The images hold values that are not finite"):
            OF_IMAGES[name](images)
    for name in ("decode", "sample"):
        with pytest.raises(ValueError, match="The latents hold values that are not finite"):
            OF_LATENTS[name](latents)


@pytest.mark.parametrize("name", ["encode", "DDIB"])
def test_doubles_where_jax_has_them(name, double):
    found = OF_IMAGES[name](BYTES)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected(name), atol=1e-4)


GRIDS = {
    "float64": np.linspace(0.0, 1.0, 5),
    "float16": jnp.linspace(0.0, 1.0, 5, dtype=jnp.float16),
    "whole": np.arange(2),
}


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("kind", [np.float64, np.float16, jnp.bfloat16, np.int32])
def test_solve_takes_mixed_types(grid, kind):
    solver, decay = get_solver("rk4"), lambda t, y: -y
    start, ts = np.ones((2, 3), np.float32).astype(kind), GRIDS[grid]
    for end in (solve(solver, decay, start, ts).y, solve_path(solver, decay, start, ts)[-1]):
        if "float16" in (grid, np.dtype(kind).name) or (kind, grid) == (jnp.bfloat16, "whole"):
            assert jnp.issubdtype(end.dtype, jnp.floating)
        else:
            assert end.dtype == np.float32
        np.testing.assert_allclose(np.asarray(end, np.float32), np.exp(-1), atol=0.02)


def command(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "ddib_jax.cli", *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
    )


def test_a_device_that_is_missing_is_told(tmp_path):
    words = ("translate five --limit 1 --source five --target seven --out", tmp_path / "out")
    for platform in ("tpu", "rocm", "gpus"):
        done = command(*words[0].split(), words[1], JAX_PLATFORMS=platform)
        assert done.returncode == 1
        assert done.stderr.startswith(f"ddib: The device that JAX_PLATFORMS={platform} asks for")
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_double_precision_changes_no_picture(tmp_path):
    made = []
    for enabled in ("0", "1"):
        out = tmp_path / enabled
        words = f"translate five --limit 1 --source five --target seven --steps 2 --out {out}"
        done = command(*words.split(), JAX_ENABLE_X64=enabled)
        assert done.returncode == 0, done.stderr
        assert ("JAX_ENABLE_X64 is of no use here" in done.stderr) == (enabled == "1")
        made.append({path.name: path.read_bytes() for path in out.glob("*.png")})
    assert made[0] == made[1]
    assert len(made[0]) == 2

"""Shared by all tests: annotations checked at run time, and numerics under strict rules."""

import os
import shutil
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from jaxtyping import config, install_import_hook

install_import_hook("ddib_jax", "beartype.beartype")

import jax
import pytest

MAPS = Path("/proc/self/maps")
MANY = 20_000
"""Of the 65,530 regions of memory that Linux gives a process; every program that XLA compiles for a
CPU takes some, and one too many ends the process.
"""


@pytest.fixture(scope="module", autouse=True)
def programs_forgotten():
    """After a module, compiled programs are let go where they have become many."""
    yield
    if MAPS.exists() and MAPS.read_text().count("\n") > MANY:
        jax.clear_caches()


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window; without it, or without playwright, tests of pages are skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium on the path")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def strict():
    """float64, no silent broadcasting of ranks, no silent promotion of dtypes: the rules of the
    numerical core.
    """
    with (
        jax.enable_x64(True),
        jax.numpy_rank_promotion("raise"),
        jax.numpy_dtype_promotion("strict"),
    ):
        yield


@pytest.fixture
def double():
    """float64 where nothing else is said.

    For equalities of two ways to compute one thing: in float32 they differ by the rounding of
    states of some hundred (sigma 40 to 80), passed on through all steps, and by how much depends on
    the processor's instructions. In float64 a real difference cannot hide behind that.
    """
    with jax.enable_x64(True):
        yield


@pytest.fixture
def unchecked():
    """The package's own checks alone: jaxtyping's, with which the suite runs, would
    speak before.
    """
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", before)

"""Shared by all tests: annotations checked at run time, and numerics under strict rules."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from jaxtyping import config, install_import_hook

install_import_hook("ddib_jax", "beartype.beartype")

import jax
import pytest


@pytest.fixture
def strict():
    """float64, no silent broadcasting of ranks, no silent promotion of dtypes: the rules of the numerical core."""
    with jax.enable_x64(True), jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def unchecked():
    """The package's own checks alone: jaxtyping's, with which the suite runs, would speak before."""
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", before)

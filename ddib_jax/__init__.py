"""Unpaired image-to-image translation with dual diffusion implicit bridges, in JAX."""

from ddib_jax.xla_flags import prefer_fast_cpu

prefer_fast_cpu()  # before anything below imports jax

from ddib_jax.bridge import DDIB, Bridge, decode, encode, translate
from ddib_jax.data import load_dataset
from ddib_jax.diffusion import DiffusionModel, denoising_loss, probability_flow
from ddib_jax.grids import make_grid
from ddib_jax.perturbations import get_perturbation
from ddib_jax.pretrained import load
from ddib_jax.report import write_report
from ddib_jax.solvers import get_solver, odeint
from ddib_jax.sweep import sweep, translate_sweep

__version__ = "0.1.0"

__all__ = [
    "DDIB",
    "Bridge",
    "DiffusionModel",
    "decode",
    "denoising_loss",
    "encode",
    "get_perturbation",
    "get_solver",
    "load",
    "load_dataset",
    "make_grid",
    "odeint",
    "probability_flow",
    "sweep",
    "translate",
    "translate_sweep",
    "write_report",
]

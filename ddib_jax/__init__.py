"""Unpaired image-to-image translation with dual diffusion implicit bridges, in JAX.

Nothing is imported before it is used, so that `ddib_jax.runs`, `ddib_jax.report` and
`ddib_jax.data` work where JAX is not installed.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ddib_jax.xla_flags import prefer_fast_cpu

if TYPE_CHECKING:
    from ddib_jax.bridge import DDIB, Bridge
    from ddib_jax.data import load_dataset
    from ddib_jax.diffusion import DiffusionModel, denoising_loss, probability_flow
    from ddib_jax.grids import make_grid
    from ddib_jax.perturbations import get_perturbation
    from ddib_jax.pretrained import load
    from ddib_jax.report import write_report
    from ddib_jax.solvers import get_solver, solve
    from ddib_jax.trainer import Training, train
    from ddib_jax.translation import (
        decode,
        encode,
        image_keys,
        sample,
        sweep,
        translate,
        translate_sweep,
    )

prefer_fast_cpu()  # XLA reads its flags once: before anybody imports jax

__version__ = "0.1.0"

__all__ = [
    "DDIB",
    "Bridge",
    "DiffusionModel",
    "Training",
    "decode",
    "denoising_loss",
    "encode",
    "get_perturbation",
    "get_solver",
    "image_keys",
    "load",
    "load_dataset",
    "make_grid",
    "probability_flow",
    "sample",
    "solve",
    "sweep",
    "train",
    "translate",
    "translate_sweep",
    "write_report",
]

_ROOMS = {
    "bridge": ("DDIB", "Bridge"),
    "data": ("load_dataset",),
    "diffusion": ("DiffusionModel", "denoising_loss", "probability_flow"),
    "grids": ("make_grid",),
    "perturbations": ("get_perturbation",),
    "pretrained": ("load",),
    "report": ("write_report",),
    "solvers": ("get_solver", "solve"),
    "trainer": ("Training", "train"),
    "translation": (
        "decode",
        "encode",
        "image_keys",
        "sample",
        "sweep",
        "translate",
        "translate_sweep",
    ),
}
_ROOM = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first asked for (PEP 562)."""
    if name not in _ROOM:
        raise AttributeError(f"module 'ddib_jax' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"ddib_jax.{_ROOM[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""The methods of compare_methods.py that edit with one model of both domains, told by its class."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import ddib_jax
from ddib_jax import pretrained
from ddib_jax.editing import FreeControl, MasaCtrl, PlugAndPlay, semantic_bases
from ddib_jax.solvers import get_solver

SITES = ("output_blocks.4.0",)
"""Where FreeControl reads the structure of the shipped model `digits`: 16 x 16 positions."""
STRUCTURE, UNTIL = 3000.0, 0.5
"""FreeControl's weight, and the noise level at which it ends."""
SEEDS = 64
"""Images that its bases are made from."""


def edits(name: str, source: int, target: int, *, steps: int, solver: str) -> dict[str, Callable]:
    """Row's name -> what makes (method, way back, evaluations of a translation).

    name: of a model of classes; source, target: their numbers. A gradient of FreeControl's energy
    counts as nothing. It has no way back: its picture keeps the structure of the source alone.
    """
    model = pretrained.load(name)
    here, there = (
        ddib_jax.Bridge.over(
            model.given(jnp.asarray(label)),
            steps=steps,
            grid="log-uniform",
            solver=get_solver(solver),
        )
        for label in (source, target)
    )
    each = here.solver.evaluations(steps)

    def plain() -> tuple[Any, Any, int]:
        return ddib_jax.DDIB(here, there), ddib_jax.DDIB(there, here), 2 * each

    def coupled(coupling: Any, until: float | None = None) -> tuple[Any, Any, int]:
        ways = ((here, there), (there, here))
        there_and_back = (ddib_jax.DDIB(*way, coupling=coupling, until=until) for way in ways)
        return *there_and_back, 3 * each

    def control() -> tuple[Any, Any, int]:
        noise = jax.random.normal(jax.random.key(77), (SEEDS, *model.data_shape))
        bases = semantic_bases(there, noise, sites=SITES, components=8)
        coupling = FreeControl.of(there.model, bases, structure=STRUCTURE, appearance=None)
        method, _, evaluations = coupled(coupling, UNTIL)
        return method, None, evaluations

    return {
        f"DDIB, one model ({name})": plain,
        "Plug-and-Play, one model": lambda: coupled(PlugAndPlay.of(there.model), 0.574),
        "MasaCtrl, one model": lambda: coupled(MasaCtrl.of(there.model)),
        "FreeControl, one model": control,
    }

"""How a bridge is crossed: the options of the ODE's solution, and batches of images."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from ddib_jax.bridge import GRID, SOLVER, STEPS, Bridge, TunedGrid
from ddib_jax.cli.arguments import GridName, SolverName
from ddib_jax.data.inputs import open_inputs
from ddib_jax.data.scale import Scale
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.nets.precision import Precision
from ddib_jax.options import Count, OptionalPositive, Within
from ddib_jax.solvers import SOLVERS, LatticeHeun, get_solver
from ddib_jax.translation.batching import measured_batch

_BATCH = 64


@dataclass(frozen=True)
class Crossing:
    """How the probability-flow ODE is solved."""

    steps: Count = STEPS
    """Steps of the grid, each way."""
    solver: SolverName = SOLVER
    """Solver: dpmpp-2m, dpmpp-3m, rk4, ddim, implicit-midpoint, lattice-heun ...; an unknown name
    gives the list. The default's translations of test fives by the first pair are .0018 (relative
    RMSE) from an adaptive reference.
    """
    grid: GridName = GRID
    """Noise levels: log-uniform, karras, log-normal, uniform in the model's time; of a model with a
    table of them also those of DDIM's leading or trailing times (ddim, ddim-trailing). A FILE.json
    of `ddib tune` brings its own solver, steps and switch.
    """
    switch: OptionalPositive = None
    """The noise level at which the grid ends, and above which both models are taken for Gaussians,
    whose ODE needs no network: nearer at few steps, and below 8 a translation that is nearer to its
    source and less of the target. For DDIB, with models of Wiener preconditioning.
    """
    precision: Precision | None = None
    """How the network computes: float32 (exact products), tf32 (products of a GPU's tensor cores)
    or bfloat16 (activations too); unless given, as the model says and the device prefers, which for
    products is bfloat16 on a TPU and tf32 on a GPU.
    """
    batch_size: Annotated[int | Literal["auto"], Within(1)] = _BATCH
    """Images at once, over all devices, and fewer where memory is short; auto measures how many are
    worth it.
    """

    def bridge(self, model: DiffusionModel) -> Bridge:
        """The bridge of `model` under these options; raises ValueError for a model of points."""
        check_images(model)
        model = model.at_precision(self.precision)
        if self.grid.endswith(".json"):
            return self._tuned().bridge(model)
        return Bridge.over(
            model,
            steps=self.steps,
            grid=self.grid,
            solver=get_solver(self.solver),
            switch=self.switch,
        )

    def _tuned(self) -> TunedGrid:
        """The grid of a file; ValueError where its options are given besides."""
        for option in ("steps", "solver", "switch"):
            if getattr(self, option) != getattr(Crossing, option):
                raise ValueError(
                    f"{self.grid} brings its own solver, steps and switch; leave --{option} out."
                )
        return TunedGrid.read(Path(self.grid))

    @property
    def needs_equal_bits(self) -> bool:
        """Whether the solver needs the same answer to the same input, in another process too."""
        return isinstance(SOLVERS.get(self.solver), LatticeHeun)

    def batch(self, bridge: Bridge | None, count: int) -> int:
        """How many of `count` images to take at once, over all devices.

        Without a bridge to measure with, "auto" is the default.
        """
        if self.batch_size != "auto":
            return self.batch_size
        return measured_batch(bridge, count) if bridge else _BATCH


Flat = Annotated[Crossing, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="ODE")]
"""A `Crossing` as a group of options on the command line."""


def check_images(model: DiffusionModel) -> None:
    """Raise ValueError for a model of points."""
    if len(model.image_shape) != 3:
        raise ValueError(
            "This model knows points, not images; `ddib colours` and experiments/synthetic_2d.py"
            " translate points."
        )


@contextmanager
def told_once(told: set[str]) -> Iterator[None]:
    """Within the block, a warning that begins as one in `told` is not repeated.

    For the batches of one translation, whose warnings differ in their figures.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        opening = str(warning.message)[:20]
        if opening not in told:
            told.add(opening)
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )


def filled(array: np.ndarray, size: int) -> np.ndarray:
    """The array [n ...], repeated up to `size` where it is shorter: batches of one shape."""
    return np.resize(array, (size, *array.shape[1:])) if len(array) < size else array


def read_inputs(
    inputs: Sequence[str],
    shape: tuple[int, ...],
    *,
    split: str,
    limit: int | None,
    background: str = "white",
    scale: Scale | None = None,
) -> tuple[list[str], np.ndarray]:
    """Names and images [n h w c] of files, folders and data sets, fitted to a model's shape.

    As by `open_inputs`, whose errors it raises, but all at once, in an array of floats.
    """
    images = open_inputs(
        inputs, shape, split=split, limit=limit, background=background, scale=scale
    )
    return images.names, images.take(0, len(images))

"""A grid of noise levels found for a pair of models, with its solver, as a small JSON file."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from ddib_jax.bridge.bridge import Bridge
from ddib_jax.bridge.switch import Switch, known_gaussian
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.files import drafted_file, read_json
from ddib_jax.preconditioning import Wiener
from ddib_jax.solvers import SOLVERS, Fitted, get_solver

FORMAT = "ddib_jax grid, version 1"
FITTED = "fitted"
"""The solver of a grid that brings its own weights."""
_DIRECTIONS = ("rising", "falling")
_ROUNDING = 1e-4
"""By which the ends of a grid may differ from those of a model's noise levels, relative."""


@dataclass(frozen=True)
class TunedGrid:
    """Noise levels for both legs of a translation, and the solver that they were found for.

    sigmas: ascending. switch: whether the levels between the last one and the models' highest are
    crossed by the Gaussian switch. found: what is told of the search, JSON values. weights: the
    solver itself where its name is "fitted": its weights are of the way up by the source's model
    and of the way down by the target's.
    """

    sigmas: tuple[float, ...]
    solver: str
    switch: bool
    found: dict[str, Any]
    weights: Fitted | None = None

    @property
    def steps(self) -> int:
        """Steps each way."""
        return len(self.sigmas) - 1

    def bridge(self, model: DiffusionModel, *, gaussian: Wiener | None = None) -> Bridge:
        """The bridge of a model on this grid; gaussian: as of `Bridge.over`.

        Raises ValueError for a model of other noise levels, and as `known_gaussian`.
        """
        low, high = model.schedule.sigma_range
        first, last = self.sigmas[0], self.sigmas[-1]
        near = lambda a, b: abs(a / b - 1) < _ROUNDING
        if not near(first, low) or not (last < high if self.switch else near(last, high)):
            raise ValueError(
                f"The grid goes from {first:g} to {last:g}, and the model's noise levels from"
                f" {low:g} to {high:g}; tune a grid for this model."
            )
        above = Switch.of(gaussian or known_gaussian(model), high) if self.switch else None
        solver = self.weights or get_solver(self.solver)
        return Bridge(model, jnp.asarray(self.sigmas), solver, above)

    def write(self, path: Path) -> None:
        """Write the grid as JSON."""
        told = asdict(self)
        if self.weights is None:
            del told["weights"]
        else:
            told["weights"] = {name: told["weights"][name] for name in _DIRECTIONS}
        with drafted_file(path) as draft:
            draft.write_text(json.dumps({"format": FORMAT, **told}, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "TunedGrid":
        """The grid of a file; raises FileNotFoundError, and ValueError for anything else in it."""
        what = "a grid as `ddib tune` writes it"
        told: Any = read_json(path, what)
        if not isinstance(told, dict) or told.pop("format", None) != FORMAT:
            raise ValueError(f"{path} is not {what}: it is not of the format '{FORMAT}'.")
        sigmas: Any = told.get("sigmas")
        rising = (
            _are_numbers(sigmas)
            and len(sigmas) > 1
            and sigmas == sorted(set(sigmas))
            and sigmas[0] > 0
        )
        sound = (
            set(told) - {"weights"} == {"sigmas", "solver", "switch", "found"}
            and rising
            and told["solver"] in {*SOLVERS, FITTED}
            and isinstance(told["switch"], bool)
            and ("weights" in told) == (told["solver"] == FITTED)
        )
        weights = None
        if sound and "weights" in told:
            weights = _weights(told["weights"], len(sigmas) - 1)
            sound = weights is not None
        if not sound:
            raise ValueError(
                f"{path} is not {what}: it needs rising noise levels, a known solver or weights for"
                " every step, whether there is a switch, and what was found."
            )
        return cls(tuple(sigmas), told["solver"], told["switch"], told["found"], weights)


def _weights(told: Any, steps: int) -> Fitted | None:
    """The solver of a file's weights for so many steps; None where they are none."""
    if not isinstance(told, dict) or set(told) != set(_DIRECTIONS):
        return None
    tables = [told[name] for name in _DIRECTIONS]
    for table in tables:
        if not isinstance(table, list) or not all(map(_are_numbers, table)):
            return None
        if [len(row) for row in table] != list(range(1, steps + 1)):
            return None
    rising, falling = (tuple(map(tuple, table)) for table in tables)
    return Fitted(rising, falling)


def _are_numbers(told: Any) -> bool:
    """Whether something of a file is a list of finite floats."""
    return isinstance(told, list) and all(
        type(number) is float and math.isfinite(number) for number in told
    )

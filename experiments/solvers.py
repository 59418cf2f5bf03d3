"""Which solver, which grid, how many steps: round trip and translation against a fine reference.

    python experiments/solvers.py

Translates test fives into sevens with each solver on each grid at a few numbers of network evaluations a leg, and prints for each the relative
RMSE of encode -> decode, and the RMSE of the translation from the one that RK4 makes in many steps.
"""

from dataclasses import dataclass

import numpy as np
import tyro

import ddib_jax
from ddib_jax import bridge, parallel
from ddib_jax.metrics import pooled_relative_rmse


@dataclass(frozen=True)
class Config:
    """Compare solvers on the shipped models."""

    source: str = "five"
    target: str = "seven"
    count: int = 16
    evaluations: tuple[int, ...] = (20, 40, 80)
    solvers: tuple[str, ...] = ("ddim", "dpmpp-2m", "heun", "rk4")
    grids: tuple[str, ...] = ("karras", "log-uniform")
    reference_steps: int = 100
    """Steps of the reference, RK4 on a log-uniform grid."""


def main(config: Config) -> str:
    """Run the comparison; returns the table in Markdown, which it also prints."""
    source, target = ddib_jax.load(config.source), ddib_jax.load(config.target)
    images = ddib_jax.load_dataset("five", "test").take(range(config.count))

    def legs(name, grid, steps):
        options = {"steps": steps, "grid": grid, "solver": ddib_jax.get_solver(name)}
        here, there = (ddib_jax.Bridge.over(model, **options) for model in (source, target))
        latent = bridge.encode(here, images)
        return bridge.decode(here, latent), bridge.decode(there, latent)

    _, truth = legs("rk4", "log-uniform", config.reference_steps)
    lines = ["| Solver | Grid | Evaluations a leg | Round trip, relative RMSE | Translation, RMSE from the reference |", "| --- | --- | --- | --- | --- |"]
    for name in config.solvers:
        for grid in config.grids:
            for evaluations in config.evaluations:
                steps = evaluations // ddib_jax.get_solver(name).evaluations
                back, translated = legs(name, grid, steps)
                off = float(np.sqrt(np.mean((translated - truth) ** 2)))
                lines.append(f"| {name} | {grid} | {evaluations} | {pooled_relative_rmse(back, images):.2g} | {off:.3f} |")
                print(lines[-1], flush=True)
    return "\n".join(lines)


if __name__ == "__main__":
    parallel.keep_compiled()
    main(tyro.cli(Config))

"""What a sweep saves beside separate translations, and its memory by number of coefficients.

    python experiments/sweep_cost.py

Times `jax.jit(sweep)` against as many calls of the jitted `DDIB`, both compiled beforehand and on
the same images in turn, and prints the temporary memory that XLA plans for the sweep's program.
"""

import functools
import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import ddib_jax
from ddib_jax.options import cli
from ddib_jax.solvers import HEUN


@dataclass(frozen=True)
class Config:
    """Time sweeps of the shipped models."""

    counts: tuple[int, ...] = (4, 8)
    """Numbers of coefficients."""
    images: int = 16
    steps: int = 10
    """Steps of Heun's method."""
    at_once: int = 64
    repeats: int = 3
    """The median of so many runs counts."""


def main(config: Config) -> str:
    """Run the benchmark; returns the table in Markdown, which it also prints."""
    here, there = (
        ddib_jax.Bridge.over(ddib_jax.load(name), steps=config.steps, solver=HEUN)
        for name in ("five", "seven")
    )
    ddib = ddib_jax.DDIB(
        here, there, jnp.asarray(0.0), perturb=ddib_jax.get_perturbation("add-noise")
    )
    images = jnp.asarray(ddib_jax.load_dataset("five", split="test").take(range(config.images)))
    keys = ddib_jax.image_keys(jax.random.key(0), config.images)
    one = jax.jit(lambda ddib, batch: ddib(keys, batch)).lower(ddib, images).compile()
    lines = [
        (
            "| Coefficients | Separate calls, s | Sweep, s | Ratio | Temporary memory of the sweep,"
            " MB |"
        ),
        "| --- | --- | --- | --- | --- |",
    ]
    for count in config.counts:
        coefficients = jnp.linspace(0.0, 1.0, count)
        program = jax.jit(
            lambda ddib, batch, many: ddib_jax.sweep(
                keys, ddib, batch, many, at_once=config.at_once
            )
        )
        swept = program.lower(ddib, images, coefficients).compile()

        def separately(coefficients=coefficients):
            return [
                one(ddib.replace(coefficient=coefficient), images) for coefficient in coefficients
            ]

        apart, joint = [], []
        for _ in range(config.repeats):
            apart.append(seconds(separately))
            joint.append(seconds(functools.partial(swept, ddib, images, coefficients)))
        ratio = np.median(joint) / np.median(apart)
        memory = swept.memory_analysis().temp_size_in_bytes / 1e6
        lines.append(
            f"| {count} | {np.median(apart):.2f} | {np.median(joint):.2f} | {ratio:.2f} |"
            f" {memory:.0f} |"
        )
        print(lines[-1], flush=True)
    print("\n".join(lines))
    return "\n".join(lines)


def seconds(run) -> float:
    """Wall time of one call, until its results are there."""
    clock = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - clock


if __name__ == "__main__":
    main(cli(Config))

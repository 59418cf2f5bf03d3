"""What the scripts of the gallery share: images, bridges and latents made once, and the figure."""

import functools
import warnings
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import ddib_jax
from ddib_jax.perturbations import parse_perturbation

COUNT = 4
STEPS = 12


@functools.cache
def fives() -> np.ndarray:
    """The first fives of the test set, [4 32 32 3] in [-1, 1]."""
    return ddib_jax.load_dataset("five", split="test").take(range(COUNT))


@functools.cache
def bridge(name: str) -> ddib_jax.Bridge:
    """The bridge over a shipped model, in the steps of the gallery."""
    solver = ddib_jax.get_solver("dpmpp-2m")
    return ddib_jax.Bridge.over(ddib_jax.load(name), steps=STEPS, grid="log-uniform", solver=solver)


@functools.cache
def latents(name: str) -> np.ndarray:
    """The latents of the fives under a shipped model."""
    return ddib_jax.encode(bridge(name), fives(), batch_size=COUNT).y


def translations(source: str, words: Sequence[str], coefficients: Sequence[float]) -> np.ndarray:
    """The fives decoded by the model of sevens, [k 4 32 32 3]; `words` as `--perturb` has them.

    A perturbation that looks at another image sees, for each five, the one before it.
    """
    perturb, before = parse_perturbation(words, coefficients), np.roll(fives(), 1, axis=0)
    ddib = ddib_jax.DDIB(bridge(source), bridge("seven"), perturb=perturb, reference=before)
    with warnings.catch_warnings():
        # Bridges that meet at a low noise level have latents that are not N(0, I), as is intended.
        warnings.filterwarnings("ignore", message="The latents have mean")
        return ddib_jax.translate_sweep(
            ddib, fives(), coefficients, latents=latents(source), batch_size=COUNT
        ).images


def show(words: str | Sequence[str], coefficients: Sequence[float]) -> Figure:
    """Draw the fives, and below them a row of translations for every coefficient, in both ways."""
    words = [words] if isinstance(words, str) else list(words)
    ways = {"DDIB: five → seven": "five", "the model of sevens alone": "seven"}
    rows = len(coefficients) + 1
    size = (8.6, 0.98 * rows + 0.35)
    figure, axes = plt.subplots(
        rows,
        2 * COUNT + 1,
        figsize=size,
        layout="constrained",
        width_ratios=[1] * COUNT + [0.25] + [1] * COUNT,
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.01, wspace=0.01, hspace=0.01)
    for axis in axes.flat:
        axis.set_axis_off()
    for start, (title, source) in zip((0, COUNT + 1), ways.items(), strict=True):
        pictures = [fives(), *translations(source, words, coefficients)]
        for row, images in zip(axes, pictures, strict=True):
            for axis, image in zip(row[start:], images, strict=False):
                axis.imshow(np.clip(image / 2 + 0.5, 0, 1), interpolation="nearest")
        axes[0, start].set_title(title, loc="left", fontsize=10)
    for row, label in zip(axes, ["source", *(f"{value:g}" for value in coefficients)], strict=True):
        row[0].text(
            -0.15, 0.5, label, transform=row[0].transAxes, ha="right", va="center", fontsize=10
        )
    return figure

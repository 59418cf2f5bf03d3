"""The figure of latents beside N(0, 1)."""

from pathlib import Path
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from ddib_jax.report.style import LIGHT, Theme, canvas


def latent_figure(
    latent: Float[np.ndarray, "n h w c"], path: Path, *, theme: Theme = LIGHT
) -> None:
    """Histogram and quantiles of all values of unit-variance latents beside those of N(0, 1)."""
    values = latent.astype(np.float64).ravel()
    normal = NormalDist()
    with canvas(path, theme, 2, (11.6, 4.6)) as (density, quantiles):
        grid = np.linspace(-4.5, 4.5, 361)
        density.hist(
            np.clip(values, -4.5, 4.5),
            np.linspace(-4.5, 4.5, 91).tolist(),
            density=True,
            color=theme.accent,
            alpha=0.75,
        )
        gaussian = np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi)
        density.plot(grid, gaussian, color=theme.ink, linewidth=1.8)
        pointer = {"arrowstyle": "-", "color": theme.muted}
        density.annotate(
            "N(0, 1)", (1.15, 0.206), (16, 14), textcoords="offset points", arrowprops=pointer
        )
        density.set(title="Latent values", xlabel="value", ylabel="density", xlim=(-4.5, 4.5))
        density.text(
            0.03,
            0.95,
            f"mean {values.mean():.3f}\nstd {values.std():.3f}",
            transform=density.transAxes,
            va="top",
            color=theme.muted,
            linespacing=1.5,
        )
        levels = np.linspace(0.0005, 0.9995, 400)
        expected = np.asarray([normal.inv_cdf(level) for level in levels])
        quantiles.axline((0, 0), slope=1, color=theme.muted, linewidth=1)
        quantiles.plot(
            expected,
            np.quantile(values, levels),
            color=theme.accent,
            linewidth=2.6,
            solid_capstyle="round",
        )
        quantiles.set(
            title="Quantiles",
            xlabel="quantile of N(0, 1)",
            ylabel="quantile of the latents",
            xlim=(-3.5, 3.5),
        )

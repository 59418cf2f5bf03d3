"""A small study made of random coloured blobs, as a run on disk."""

import numpy as np
import pytest

from ddib_jax.runs import MetricRow, Run, Table, write_run


def blobs(hues, thickness, *, seed, size=32):
    """Rings in the given hues [degrees] and thicknesses [pixels], [n size size 3] in [-1, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    images = []
    for hue, width in zip(hues, thickness, strict=True):
        stretch, turn = rng.uniform(0.6, 1.0), rng.uniform(0, np.pi)
        u, v = x * np.cos(turn) + y * np.sin(turn), (y * np.cos(turn) - x * np.sin(turn)) / stretch
        value = np.clip(width / 2 + 0.5 - np.abs(np.hypot(u, v) - 8), 0, 1)
        corner = np.radians(hue) - np.radians([0, 120, 240])
        colour = np.clip(0.5 + np.cos(corner), 0, 1)
        images.append(value[..., None] * colour / colour.max())
    return np.asarray(images) * 2 - 1


def uint8(images):
    return np.rint((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)


def synthetic_run(n=300, name="coloured_mnist"):
    """A run with every array and figure that the founding study writes."""
    rng = np.random.default_rng(0)
    hue = rng.uniform(0, 360, n)
    spread = np.where(rng.uniform(size=n) < 0.1, 60, 11)
    hue_out = (hue + spread * rng.normal(size=n)) % 360
    width = rng.uniform(1.5, 5, n)
    width_out = 0.6 * width + 1.2 + 0.35 * rng.normal(size=n)
    error = np.abs((hue_out - hue + 180) % 360 - 180)
    error[:3] = hue_out[:3] = np.nan
    called = np.where(rng.uniform(size=n) < 0.97, 7, rng.integers(0, 10, n))
    source = uint8(blobs(hue, width, seed=1))
    arrays = {
        "source": source,
        "latent": (0.93 * rng.normal(size=source.shape)).astype(np.float32),
        "translation": uint8(blobs(np.nan_to_num(hue_out), width_out, seed=2)),
        "reconstruction": source,
        "cycle": uint8(blobs(hue, width, seed=1) + 0.1 * rng.normal(size=source.shape)),
        "hue_source": hue,
        "hue_translation": hue_out,
        "hue_error": error,
        "thickness_source": width,
        "thickness_translation": width_out,
        "called": called,
        "called_target": called == 7,
    }
    metrics = (
        MetricRow(
            "called_target",
            "Translations called 7",
            0.9776,
            0.957,
            0.987,
            "proportion",
            "higher",
            0.97,
            "",
            n,
        ),
        MetricRow(
            "hue_error",
            "Hue error, median",
            8.31,
            7.4,
            9.2,
            "°",
            "lower",
            15.0,
            "of those with a hue",
            n - 3,
        ),
        MetricRow(
            "reconstruction_error",
            "Encode → decode, relative RMSE",
            6.21e-4,
            6.02e-4,
            6.4e-4,
            "",
            "lower",
            1e-3,
        ),
        MetricRow(
            "hue_error_p90", "Hue error, 90th percentile", 33.1, 24.6, 51.9, "°", "lower", 20.0
        ),
        MetricRow(
            "frechet",
            "Fréchet distance to real sevens",
            7.4321,
            None,
            None,
            "",
            "lower",
            "beside its floor",
        ),
        MetricRow(
            "frechet_real",
            "Fréchet distance, real against real",
            3.2,
            2.91,
            3.6,
            note="median and range",
        ),
        MetricRow("latent_variance", "Latent variance", 0.8649, 0.862, 0.868, note="1 for N(0, I)"),
        MetricRow("kernel_distance", "Kernel distance", None),
    )
    sweep = Table(
        ("solver", "steps", "relative RMSE"),
        (("heun", 18, 0.00213), ("euler", 36, None)),
        "Same evaluations.",
    )
    return Run(
        name=name,
        title="Fives into sevens",
        command="./launch.sh",
        started="2026-01-02T03:04:05+00:00",
        finished="2026-01-02T03:07:17+00:00",
        seconds=192.3,
        machine={"system": "Linux x86_64", "cpus": 2, "accelerator": "none"},
        versions={"jax": "0.10.2", "numpy": "2.4.6"},
        config={"steps": 18, "solver": "heun", "seed": 0},
        metrics=metrics,
        tables={"Solvers": sweep},
        texts={
            "summary": "Two models, trained apart, meet only in their latents.",
            "What limits it": "A tail of hues.\n\nAnd time.",
        },
        arrays=arrays,
    )


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """A directory that holds the synthetic study."""
    return write_run(tmp_path_factory.mktemp("runs") / "coloured mnist", synthetic_run())

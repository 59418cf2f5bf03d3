"""Which layers of the captioned model know a digit's shape and not its look?

    python experiments/text_sites.py           # a minute on a CPU core

FreeControl compares pictures in the principal directions of some layers, and is right to where a
shape has the same coordinates in any ink and on any background. Training digits are dressed in two
looks each, and once in white on black, as a condition image is; at three noise levels the distance
of the coordinates of one shape in two looks is divided by that of two shapes: 0 is a layer that
sees shapes alone, 1 one to which a shape is no more than any other thing. Writes
`runs/text_sites/`: a table of the best layers, and of the keys that published methods take.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax import parallel, runs
from ddib_jax.data import load_dataset
from ddib_jax.data.captioned_digits import BACKGROUNDS, INKS, Looks, caption, dressed
from ddib_jax.editing.layers import as_positions
from ddib_jax.options import cli
from study import RUNS, Study
from text_tasks import Bench


@dataclass(frozen=True)
class Config:
    """Compare the coordinates of shapes in several looks."""

    model: str = "captioned"
    """A shipped model or a model directory that is told captions."""
    count: int = 64
    """Training digits."""
    levels: tuple[float, ...] = (0.7, 2.0, 6.0)
    """Noise levels at which features are read."""
    components: int = 8
    """Principal directions of each layer."""
    positions: int = 64
    """Positions of an image at least."""
    best: int = 12
    """Layers that the table shows, besides the keys."""
    seed: int = 0
    out: Path = RUNS / "text_sites"


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    study = Study("text_sites", "Which layers know the shape and not the look?", config)
    bench = Bench(config.model, guidance=1.0, steps=1, solver="ddim", grid="log-uniform")
    sites = _sites(bench, config.positions)
    read = jax.jit(
        lambda cond, x, sigma: {
            site: as_positions(site, value).astype(jnp.float32)
            for site, value in replace(bench.model, cond=cond).read(x, sigma, sites)[1].items()
        }
    )
    ratios: dict[str, list[float]] = {site: [] for site in sites}
    for level in config.levels:
        found = {}
        for number, (name, (images, cond)) in enumerate(_looks(bench, config).items()):
            key = jax.random.fold_in(jax.random.key(config.seed), number)
            noisy = images + level * jax.random.normal(key, images.shape)
            found[name] = jax.tree.map(np.asarray, read(cond, noisy, jnp.asarray(level)))
        for site in sites:
            features = [found[name][site] for name in ("one", "other", "white")]
            one, other, white = _coordinates(features, config.components)
            ratios[site] += [_ratio(one, other), _ratio(white, other)]
    ranked = sorted(sites, key=lambda site: np.mean(ratios[site][1::2]))
    keys = [site for site in sites if site.endswith("attn1.key")]
    rows = [(site, *ratios[site]) for site in dict.fromkeys([*ranked[: config.best], *keys])]
    columns = ["layer"]
    for level in config.levels:
        columns += [f"two looks, sigma {level:g}", f"white on black, sigma {level:g}"]
    caption_ = (
        "Mean square of the difference of one shape's coordinates in two looks, over that of two"
        " shapes; the best layers, by white on black, then the keys of self-attention"
    )
    return study.publish(tables={"layers": runs.Table(tuple(columns), tuple(rows), caption_)})


def _sites(bench: Bench, positions: int) -> list[str]:
    """The sites of a layout [b h w c], [b n c] or [b n heads d] with enough positions."""
    found = []
    for site, value in bench.model.sites().items():
        if value.ndim in (3, 4):
            shape = jax.eval_shape(lambda x, site=site: as_positions(site, x), value).shape
            if len(shape) == 3 and shape[1] >= positions and shape[2] >= 2 * 8:
                found.append(site)
    return found


def _looks(bench: Bench, config: Config) -> dict[str, tuple[jax.Array, Any]]:
    """Training digits in two looks of their own, and in white on black; and their captions."""
    source = load_dataset("captioned", split="train", seed=config.seed)
    rng = np.random.default_rng(config.seed)
    chosen = rng.permutation(len(source))[: config.count]
    pixels, digits = source.digits.pixels[chosen], source.labels[chosen]
    # a step on, the ink and the background are those of another image
    one, count = source.looks.of(chosen), len(chosen)
    rolled = Looks(*(np.roll(part, 1, axis=0) for part in one))
    other = rolled._replace(weight=one.weight)
    white = Looks(one.ink, np.zeros(count, int), one.weight, np.ones((count, 3), np.float32))

    def told(looks: Looks | None) -> Any:
        return bench.told(
            [
                caption(
                    digit=digit,
                    ink=None if looks is None else list(INKS)[looks.ink[place]],
                    background=list(BACKGROUNDS)[0 if looks is None else looks.background[place]],
                )
                for place, digit in enumerate(digits.tolist())
            ]
        )

    return {
        name: (jnp.asarray(dressed(pixels, looks)), told(None if name == "white" else looks))
        for name, looks in (("one", one), ("other", other), ("white", white))
    }


def _coordinates(features: list[np.ndarray], components: int) -> list[np.ndarray]:
    """Each in the principal directions of the first two, scaled to [0, 1] over its positions."""
    flat = np.concatenate(features[:2]).reshape(-1, features[0].shape[-1]).astype(np.float64)
    mean = flat.mean(axis=0)
    directions = np.linalg.eigh(np.cov((flat - mean).T))[1][:, ::-1][:, :components]
    found = []
    for part in features:
        along = (part - mean) @ directions
        low, high = along.min(axis=1, keepdims=True), along.max(axis=1, keepdims=True)
        found.append((along - low) / (high - low + 1e-6))
    return found


def _ratio(here: np.ndarray, there: np.ndarray) -> float:
    """Of the distance of one shape in two looks, that of two shapes being 1."""
    another = np.roll(here, 1, axis=0)
    return float(np.square(here - there).mean() / np.square(another - there).mean())


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

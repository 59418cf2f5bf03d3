"""Which layers of the captioned model know a digit's shape and not its look?

    python experiments/text_sites.py           # a minute on a CPU core

FreeControl compares pictures in the principal directions of some layers, and is right to where a
shape has the same coordinates in any ink and on any background. Training digits are dressed in two
looks each, and once in white on black, as a condition image is; at three noise levels the distance
of the coordinates of one shape in two looks is divided by that of two shapes: 0 is a layer that
sees shapes alone, 1 one to which a shape is no more than any other thing. Writes
`runs/text_sites/`: a table of the best layers, and of the keys that published methods take; how
much of a stroke few positions can hold; and how well the attention to a digit's word marks its
strokes.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax import parallel, runs
from ddib_jax.data import load_dataset
from ddib_jax.data.captioned_digits import BACKGROUNDS, INKS, WORDS, Looks, caption, dressed
from ddib_jax.editing import structure_layers, tokens_of
from ddib_jax.editing.free_control import MASK
from ddib_jax.editing.layers import as_positions
from ddib_jax.editing.masks import at_positions, places_of_words
from ddib_jax.options import cli
from ddib_jax.report import markdown_table
from looks import overlap, taken_apart
from study import RUNS, Study
from text_tasks import Bench

POSITIONS = (4, 8, 16)
"""Positions a side of layers whose resolution is judged."""
CUTS = np.arange(0.1, 0.8, 0.05)
"""Shares of ink from which on an enlarged picture counts as drawn; the best is taken."""


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
    tables = {
        "layers": runs.Table(tuple(columns), tuple(rows), caption_),
        "positions": positions(config),
        "masks": masks(bench, config),
    }
    return study.publish(
        shown=lambda run: "\n".join(map(markdown_table, run.tables.values())), tables=tables
    )


def positions(config: Config) -> runs.Table:
    """How well strokes are known from a picture of few positions: what its layer can hold of them.

    The strokes' means over squares, enlarged again, and cut where that is best for all.
    """
    strokes = np.asarray(_strokes(config), np.float32)
    rows = []
    for side in POSITIONS:
        step = strokes.shape[1] // side
        means = strokes.reshape(len(strokes), side, step, side, step).mean(axis=(2, 4))
        shape = strokes.shape
        enlarged = np.asarray(jax.image.resize(jnp.asarray(means), shape, "cubic"))
        found = [overlap(enlarged > cut, strokes > 0.5).mean() for cut in CUTS]
        rows.append((f"{side} x {side}", float(max(found))))
    return runs.Table(("positions", "stroke IoU at most"), tuple(rows), "by bicubic enlargement")


def masks(bench: Bench, config: Config) -> runs.Table:
    """Where attention to the digit's word lies: the overlap of FreeControl's mask with the strokes.

    Beside it a mask that is everywhere.
    """
    pixels, digits, looks = _chosen(config)
    images, strokes = dressed(pixels, looks), _strokes(config) > 0.5
    prompts = _captions(digits, looks)
    words = [
        tokens_of(WORDS[digit], bench.checkpoint.conditioner.tokens(prompt))
        for digit, prompt in zip(digits.tolist(), prompts, strict=True)
    ]
    layers = [layer.name for layer in structure_layers(bench.model, cross=True)]

    @jax.jit
    def mask(cond: Any, x: jax.Array, sigma: jax.Array) -> jax.Array:
        sites = [f"{layer}.{part}" for layer in layers for part in ("query", "key")]
        values = replace(bench.model, cond=cond).read(x, sigma, sites)[1]
        one = lambda values, tokens: places_of_words(
            {site: value[None] for site, value in values.items()}, layers, tokens
        )[0]
        places = jax.vmap(one)(values, jnp.asarray(np.stack(words)))
        return at_positions(places, strokes[0].size, bench.model.data_shape)

    rows, told = [], bench.told(prompts)
    noise = jax.random.normal(jax.random.key(config.seed), images.shape)
    for level in config.levels:
        found = np.asarray(mask(told, images + level * noise, jnp.asarray(level)))
        share = overlap(found.reshape(strokes.shape) > MASK, strokes)
        everywhere = strokes.mean(axis=(1, 2))
        rows.append((f"{level:g}", float(share.mean()), float(everywhere.mean())))
    header = ("sigma", "mask of the digit's word", "everywhere")
    return runs.Table(header, tuple(rows), "overlap with the strokes")


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
    pixels, digits, one = _chosen(config)
    # a step on, the ink and the background are those of another image
    rolled = Looks(*(np.roll(part, 1, axis=0) for part in one))
    other = rolled._replace(weight=one.weight)
    white = Looks(
        one.ink, np.zeros_like(one.ink), one.weight, np.ones((len(one.ink), 3), np.float32)
    )

    told = lambda looks: bench.told(_captions(digits, looks))
    return {
        name: (jnp.asarray(dressed(pixels, looks)), told(None if name == "white" else looks))
        for name, looks in (("one", one), ("other", other), ("white", white))
    }


def _chosen(config: Config) -> tuple[np.ndarray, np.ndarray, Looks]:
    """Training digits, grey, their classes, and a look for each."""
    source = load_dataset("captioned", split="train", seed=config.seed)
    rng = np.random.default_rng(config.seed)
    chosen = rng.permutation(len(source))[: config.count]
    return source.digits.pixels[chosen], source.labels[chosen], source.looks.of(chosen)


def _captions(digits: np.ndarray, looks: Looks | None) -> list[str]:
    """Of digits in their looks; None: on black, in no ink that is named."""
    return [
        caption(
            digit=digit,
            ink=None if looks is None else list(INKS)[looks.ink[place]],
            background=list(BACKGROUNDS)[0 if looks is None else looks.background[place]],
        )
        for place, digit in enumerate(digits.tolist())
    ]


def _strokes(config: Config) -> np.ndarray:
    """The strokes of the digits in their looks, [n h w] in [0, 1]."""
    pixels, _, looks = _chosen(config)
    return taken_apart(dressed(pixels, looks)).stroke


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

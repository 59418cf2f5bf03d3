"""What keeps a digit's label between MNIST and MNIST-M, with nothing trained for the pair.

    python experiments/labels.py --mnist-m DIR --mnist DIR --only-data
    python experiments/labels.py --mnist-m DIR --mnist DIR --digits MODEL --photographs MODEL \
        --child MODEL --both MODEL

The first writes what the models are trained on, `mnist`, `mnist_m` and `domains` in
`runs/labels-data/`, whose classes are the domains in the last (`tasks.mnist_pairs` says what is
read). The models are a model of each domain, another one of MNIST-M that began as the model of
MNIST (`ddib train --init`), and one of both, told which domain by its class. The classifier that
judges is trained the first time, and kept in `runs/labels-models/`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np

import ddib_jax
from ddib_jax import parallel, runs
from ddib_jax.bridge import DDIB, Bridge, EitherContrast, parse_coupling
from ddib_jax.data.png import write_grid
from ddib_jax.editing import MasaCtrl, PlugAndPlay
from ddib_jax.evaluation import Classifier, classify
from ddib_jax.options import cli
from ddib_jax.report import markdown_table
from ddib_jax.types import Translator
from study import RUNS, Study, cell, load_classifier, measured, places
from tasks import mnist_pairs
from trained import classifier

DOMAINS = {"MNIST": "mnist", "MNIST-M": "mnist_m"}
"""Title -> data; the place is the domain's class in the model of both."""
FIGURES = ("label_kept", "partner_error", "frechet")
COUPLED = (
    ("low-pass:3", None),
    ("high-pass:6", None),
    ("high-pass:6", 2.0),
    ("inject:bottleneck", None),
)
"""Couplings, and the noise levels at which they end; chosen on training images."""
CONTRAST_AT = 2.0
"""The noise level at which an image is compared with its negative; chosen on training images."""


@dataclass(frozen=True)
class Config:
    """Translate MNIST into MNIST-M and back in several ways."""

    mnist_m: Path
    """The folder of MNIST-M's files."""
    mnist: Path
    """The folder of MNIST's IDX files."""
    digits: Path | None = None
    """A model of MNIST."""
    photographs: Path | None = None
    """A model of MNIST-M."""
    child: Path | None = None
    """A model of MNIST-M that began as that of MNIST."""
    both: Path | None = None
    """A model of the classes MNIST and MNIST-M."""
    only_data: bool = False
    """Write the data sets, and no more."""
    split: str = "test"
    count: int = 256
    """Images each way."""
    steps: int = 20
    """Steps of the solver, each way."""
    out: Path = RUNS / "labels"


def main(config: Config) -> Path | None:
    """Run the study; returns the path of its page."""
    pair = config.photographs or config.child
    if bool(config.digits) != bool(pair) or not (config.only_data or config.both or pair):
        raise ValueError(
            "Name a model of each domain (--digits, and --photographs or --child), or one of both"
            " domains (--both), or write the data alone (--only-data)."
        )
    study = Study("labels", "Labels kept between MNIST and MNIST-M", config)
    folder = data(config)
    if config.only_data:
        print(f"The data sets lie in {folder}.")
        return None
    home = config.out.with_name(f"{config.out.name}-models")
    judge = load_classifier(classifier(home / "classifier", f"npz:{folder / 'both'}"))
    tables, rows, figures = {}, [], []
    for source, target in (tuple(DOMAINS), tuple(reversed(DOMAINS))):
        way = Way(config, folder, source, target, judge)
        found, shown = [], [way.images]
        for name, ddib in ways(config, source, target):
            made = ddib_jax.translate(ddib, way.images)
            figures = measured(judge, made, way.given, FIGURES)
            found.append((name, *map(cell, figures), *way.by_shade(judge, made)))
            print(f"{source} into {target}:", *found[-1], flush=True)
            shown.append(made)
        caption = (
            f"{len(way.images)} images of the {config.split} split; errors in units of [-1, 1]"
        )
        heads = ("way", *(row.label for row in figures), *way.shades)
        tables[f"{source} into {target}"] = runs.Table(heads, tuple(found), caption)
        rows += [images[:16] for images in (*shown, way.partners)]
    page = study.publish(
        shown=lambda run: "\n".join(
            f"{name}\n\n{markdown_table(table, digits=3)}" for name, table in run.tables.items()
        ),
        leave_out=("out", "mnist", "mnist_m"),
        tables=tables,
    )
    write_grid(page.parent / "pictures.png", np.concatenate(rows), columns=len(rows[0]))
    return page


def data(config: Config) -> Path:
    """The folder of the data sets, which are written unless they are there."""
    folder = config.out.with_name(f"{config.out.name}-data")
    if (folder / "domains" / "test.npz").is_file():
        return folder
    mnist_pairs(config.mnist_m, config.mnist, folder)
    (folder / "domains").mkdir(exist_ok=True)
    for split in ("train", "test"):
        images = np.load(folder / "both" / f"{split}.npz")["images"]
        domain = np.repeat(range(len(DOMAINS)), len(images) // len(DOMAINS))
        np.savez(folder / "domains" / f"{split}.npz", images=images, labels=domain)
    return folder


class Way:
    """Images of one domain, their true partners, and what translations are measured by."""

    def __init__(self, config: Config, folder: Path, source: str, target: str, judge: Classifier):
        load = lambda title: ddib_jax.load_dataset(
            f"npz:{folder / DOMAINS[title]}", split=config.split
        )
        here, there = load(source), load(target)
        first, rest = places(config.count, there)
        self.images, self.partners = (one.take(first) for one in (here, there))
        _, features = classify(judge, there.take(rest))
        self.given = {
            "source": self.images,
            "partner": self.partners,
            "labels": here.labels[: config.count],
            "target_features": features,
        }
        self.shades: dict[str, np.ndarray] = {}
        if source == "MNIST-M":
            digit = self.partners > 0  # which are light in MNIST
            inside, outside = (
                np.mean(self.images, axis=(1, 2, 3), where=where) for where in (digit, ~digit)
            )
            shades = {"lighter": inside > outside, "darker": inside <= outside}
            self.shades = {
                f"the first of the {which.sum()} digits {name} than their ground": which
                for name, which in shades.items()
            }

    def by_shade(self, judge: Classifier, made: np.ndarray) -> list[str]:
        """The share of labels kept of each of the `shades`, which only digits of MNIST-M have."""
        kept = classify(judge, made)[0].argmax(axis=-1) == self.given["labels"]
        return [f"{kept[which].mean():.0%}" for which in self.shades.values()]


def ways(config: Config, source: str, target: str) -> Iterator[tuple[str, Translator]]:
    """What is tried, by the models that are given."""
    titles, over = list(DOMAINS), lambda model: Bridge.over(model, steps=config.steps)
    pairs = {"two models": config.photographs, "parent and child": config.child}
    for name, photographs in pairs.items():
        if photographs is not None:
            places = dict(zip(titles, (config.digits, photographs), strict=True))
            apart = DDIB(*(over(ddib_jax.load(places[title])) for title in (source, target)))
            yield from coupled(name, apart, source)
    if config.both:
        model = ddib_jax.load(config.both)
        told = (model.given(jnp.asarray(titles.index(title))) for title in (source, target))
        together = DDIB(*map(over, told))
        yield from coupled("one model", together, source)
        plugged = together.replace(coupling=PlugAndPlay.of(model), until=0.574)
        yield "one model, Plug-and-Play", plugged
        yield "one model, MasaCtrl", together.replace(coupling=MasaCtrl.of(model))


def coupled(name: str, ddib: DDIB, source: str) -> Iterator[tuple[str, Translator]]:
    """A DDIB as it is and under every one of `COUPLED`.

    Where the source has dark digits as well as light ones, also of images or their negatives.
    """
    either = source == "MNIST-M"
    yield name, ddib
    if either:
        yield f"{name}, either contrast", EitherContrast(ddib, CONTRAST_AT)
    for word, until in COUPLED:
        ends = f" until {until:g}" if until else ""
        coupling = parse_coupling(word, ddib.source.model.data_shape)
        tied = ddib.replace(coupling=coupling, until=until)
        yield f"{name}, {word}{ends}", tied
        if either and word.startswith("high-pass"):
            yield f"{name}, {word}{ends}, either contrast", EitherContrast(tied, CONTRAST_AT)


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

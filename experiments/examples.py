"""Three worked examples on small images whose true translations are known.

    python experiments/examples.py --subject stains
    python experiments/examples.py --subject phantoms
    python experiments/examples.py --subject lands

A stain into another stain, MR-like into CT-like heads, SAR-like into optical lands (`subjects.py`).
The images are written as folders of files, as anybody has them; a diffusion model of each domain
and a CycleGAN of both are trained on the files, unpaired, and the held-out files are translated by
them and by classical maps and compared with their true partners. Models that are there already are
not trained again. `--only-files` writes the folders and stops. Needs the extra `studies`.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

import ddib_jax
from classical import colour_table, histograms, mean_picture, reinhard
from ddib_jax import DDIB, Bridge, diagnosis, parallel, pretrained, runs
from ddib_jax.bridge import meet, parse_coupling
from ddib_jax.data import ImageSource
from ddib_jax.data.png import alike, to_bytes, write_grid
from ddib_jax.data.sources import to_float
from ddib_jax.evaluation import compare, metric_row
from ddib_jax.gan import CycleGAN, CycleGANTraining, train_cyclegan
from ddib_jax.metrics.fidelity_rows import dice_above
from ddib_jax.options import cli
from ddib_jax.perturbations import parse_perturbation
from ddib_jax.report import markdown_table
from ddib_jax.runs import MetricRow
from ddib_jax.types import HostImages
from study import RUNS, Study, cell
from subjects import SUBJECTS, Subject, write_files

NETWORK = {"channel_mult": (1, 2), "attention_resolutions": (), "groups": 4}
"""Options of the diffusion models' U-Net."""


@dataclass(frozen=True)
class Config:
    """Write the files, train what is not yet trained, translate, compare with the truth."""

    subject: Literal["stains", "phantoms", "lands"] = "stains"
    """Which example (stains, phantoms, lands)."""
    only_files: bool = False
    """Write the folders of files and stop."""
    images: int = 2048
    """Images of each domain's training."""
    pairs: int = 128
    """Pairs of the test; of the stains there are 64."""
    steps: int = 900
    """Training steps of each diffusion model."""
    batch_size: int = 32
    rank: int = 512
    """Directions of the Wiener preconditioning."""
    gan_steps: int = 2000
    gan_width: int = 16
    gan_blocks: int = 4
    ode_steps: int = 30
    columns: int = 8
    """Pairs that the picture shows."""
    files: Path = RUNS / "examples-files"
    out: Path = RUNS / "examples"
    """Of each subject its run; models lie beside it, in OUT-models."""


def sources(subject: Subject, config: Config, split: str) -> dict[str, ImageSource]:
    """The files of every domain, by its name."""
    home = config.files / config.subject
    return {
        name: ddib_jax.load_dataset(home / name, split=split, declared=domain.words)
        for name, domain in subject.domains.items()
    }


def models(subject: Subject, config: Config) -> Path:
    """Train a model of every domain and a CycleGAN, unless they are there; returns their folder."""
    home = config.out.with_name(f"{config.out.name}-models") / config.subject
    shown = sources(subject, config, "train")
    for name, source in shown.items():
        if (home / name / "model.json").is_file():
            continue
        training = ddib_jax.Training(
            steps=config.steps,
            batch_size=config.batch_size,
            rank=config.rank,
            ema_decay=0.99,
            warmup=50,
            **NETWORK,
        )
        ddib_jax.train(source, training, home / name, name=name)
    if not (home / "cyclegan" / "ab" / "model.json").is_file():
        training = CycleGANTraining(
            steps=config.gan_steps, width=config.gan_width, blocks=config.gan_blocks, layers=2
        )
        train_cyclegan(*(shown[name] for name in subject.ends), training, home / "cyclegan")
    return home


@dataclass(frozen=True)
class Way:
    """One of several ways to use the two models: from which domain, and what is done between."""

    source: str
    perturb: tuple[str, ...] = ()
    couple: str | None = None
    drawn: bool = True
    """Whether the values of the target's latent that the source's has not are drawn, or zero."""

    def translate(self, bridges: dict[str, Bridge], target: str, images: HostImages) -> HostImages:
        """Images of the source domain, translated."""
        here, there = bridges[self.source], bridges[target]
        if not self.drawn:
            latents = jnp.asarray(ddib_jax.encode(here, images).y)
            shared = meet(latents, jnp.zeros((len(images), *there.model.data_shape)))
            return ddib_jax.decode(there, np.asarray(shared))
        ddib = DDIB(here, there)
        if self.perturb:
            ddib = ddib.replace(perturb=parse_perturbation(self.perturb, ()))
        if self.couple:
            ddib = ddib.replace(coupling=parse_coupling(self.couple, here.model.data_shape))
        return ddib_jax.translate(ddib, images)


WAYS = {
    "stains": {"DDIB": Way("ihc"), "DDIB, details coupled": Way("ihc", couple="high-pass:3")},
    "phantoms": {"DDIB": Way("inverted"), "DDIB, of MR not inverted": Way("mr")},
    "lands": {"DDIB": Way("sar"), "DDIB, colours not drawn": Way("sar", drawn=False)},
}
"""Subject -> method -> way. They were chosen on images of the trainings."""


def translations(
    subject: Subject, config: Config, bridges: dict[str, Bridge], home: Path
) -> dict[str, HostImages]:
    """The test's images by every method, in [-1, 1]."""
    shown, tested = (
        {name: source.take(range(len(source))) for name, source in found.items()}
        for found in (sources(subject, config, split) for split in ("train", "test"))
    )
    start, end = subject.ends
    a, b, images = shown[start], shown[end], tested[start]
    colours = b.shape[-1]
    grey = colours != a.shape[-1]
    as_colours = np.repeat(images, colours, axis=-1) if grey else images
    found = {"as it is": as_colours, "mean of the training images": mean_picture(a, b)(images)}
    if grey:
        found["colour table"] = colour_table(a, b)(images)
    else:
        found["histograms"] = histograms(a, b)(images)
    if colours == a.shape[-1] == 3:
        found["mean and deviation, CIELAB"] = reinhard(a, b)(images)
    if subject.unlike is not None:
        apart = [to_float(subject.unlike(config.images, side)[side]) for side in (0, 1)]
        found["histograms, of unlike halves"] = histograms(*apart)(images)
    for label, way in WAYS[config.subject].items():
        found[label] = way.translate(bridges, end, tested[way.source])
    network = pretrained.load_network(home / "cyclegan" / "ab", "generator")
    gan = CycleGAN(network[0], network=network[1])
    found["CycleGAN"] = ddib_jax.translate(gan, as_colours)
    return {name: np.clip(result, -1, 1) for name, result in found.items()}


FIGURES = ("mae", "psnr", "ssim", "set_histogram_drift")


def measured(subject: Subject, images: HostImages, truth: HostImages) -> dict[str, MetricRow]:
    """Every figure of translations beside their true partners, in the unit of the target."""
    domain = subject.domains[subject.ends[1]]
    width = float(domain.high - domain.low)
    rows = {row.name: row for row in compare(images, truth, data_range=width).rows}
    rows = {name: rows[name] for name in FIGURES}
    if subject.threshold is not None:
        sign = -1 if subject.below else 1
        dice = dice_above(float(sign * subject.threshold))
        pair = {"result": sign * domain.values(images), "reference": sign * domain.values(truth)}
        label = f"Dice of {subject.thresholded}"
        rows["dice"] = dataclasses.replace(metric_row("dice", dice, dice(pair)), label=label)
    return rows


def checks(subject: Subject, config: Config, bridges: dict[str, Bridge]) -> runs.Table:
    """Whether each model is good enough to bridge, by the checks of `ddib diagnose`."""
    columns = {}
    for name, source in sources(subject, config, "test").items():
        images = source.take(range(len(source)))
        noisy = diagnosis.noisy_latents(jax.random.key(0), bridges[name], images)
        noise = np.asarray(jax.random.normal(jax.random.key(1), noisy.shape))
        samples = ddib_jax.sample(bridges[name], noise)
        columns[name] = (
            *diagnosis.latent_checks(noisy),
            *diagnosis.sample_checks(samples, images),
        )
    words = lambda check: f"{check.value:.2f}{'' if check.passed else ' BAD'}"
    rows = zip(*columns.values(), strict=True)
    return runs.Table(("check", *columns), tuple((row[0].label, *map(words, row)) for row in rows))


def main(config: Config) -> Path | None:
    """Run one example; returns the path of its page."""
    study = Study(
        "examples",
        f"A worked example: {config.subject}",
        dataclasses.replace(config, out=config.out / config.subject),
    )
    subject = SUBJECTS[config.subject]
    write_files(subject, config.files / config.subject, images=config.images, pairs=config.pairs)
    if config.only_files:
        return None
    home = models(subject, config)
    bridges = {
        name: Bridge.over(ddib_jax.load(home / name), steps=config.ode_steps)
        for name in subject.domains
    }
    start, end = (sources(subject, config, "test")[name] for name in subject.ends)
    given, truth = (source.take(range(len(source))) for source in (start, end))
    results = translations(subject, config, bridges, home)
    figures = {name: measured(subject, images, truth) for name, images in results.items()}
    heads = [row.label for row in figures["DDIB"].values()]
    seconds = {
        name: pretrained.describe(home / place)["training"]["seconds"]
        for name, place in {
            **dict(zip(bridges, bridges, strict=True)),
            "CycleGAN": "cyclegan/ab",
        }.items()
    }
    pictures = {subject.ends[0]: given, "truth": truth, **results}
    del pictures["as it is"]
    chosen = np.linspace(0, len(truth) - 1, min(config.columns, len(truth))).round().astype(int)
    rows = alike(*(images[chosen] for images in pictures.values()))
    unit = f", in {subject.unit}" if subject.unit else ""
    page = study.publish(
        shown=lambda run: "\n".join(
            f"{name}\n\n{markdown_table(table, digits=3)}" for name, table in run.tables.items()
        ),
        leave_out=("out", "files"),
        tables={
            "Against the truth": runs.Table(
                ("method", *heads),
                tuple((name, *map(cell, rows.values())) for name, rows in figures.items()),
                f"{len(truth)} held-out pairs; errors in the files' values{unit}",
            ),
            "Models": checks(subject, config, bridges),
            "Training": runs.Table(("", "seconds"), tuple(seconds.items())),
        },
        arrays={name: to_bytes(images[chosen]) for name, images in pictures.items()},
    )
    write_grid(page.parent / "pictures.png", np.concatenate(rows), columns=len(chosen))
    return page


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

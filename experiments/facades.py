"""Facades: label maps into photographs and photographs into label maps, where the truth is known.

    python experiments/facades.py --data folder/of/facades

The paired data of pix2pix (photo left, labels right; `train/`, `test/`), whose pairs only the
evaluation sees: two models are trained apart, one on the photographs, one on the label maps, and
every test image is translated both ways and compared with its true partner. Trained models are kept
in `runs/facades-models/` and taken up again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

import ddib_jax
from ddib_jax import parallel, pretrained, runs
from ddib_jax.data.png import to_bytes
from ddib_jax.options import cli
from ddib_jax.progress import progress
from ddib_jax.report import markdown_table
from ddib_jax.runs import MetricRow
from ddib_jax.solvers import get_solver
from ddib_jax.training import read_log
from study import RUNS, Study

SIDES = {"photo": "left", "labels": "right"}


@dataclass(frozen=True)
class Config:
    """Train what is not yet trained, translate the test set both ways, compare with the truth."""

    data: Path
    """The folder that holds `train/` and `test/`."""
    only: Literal["photo", "labels"] | None = None
    """Train the model of one side (photo, labels) and stop: one a core, or a machine."""
    image_size: int = 64
    steps: int = 2500
    """Training steps of each model."""
    training_batch: int = 32
    patch_size: int = 4
    bf16: bool = False
    ode_steps: int = 20
    solver: str = "heun"
    grid: str = "log-uniform"
    out: Path = RUNS / "facades"


def main(config: Config) -> Path | None:
    """Run the study; returns the path of its page."""
    study = Study("facades", "Facades, there and back", config)
    folders = {side: config.out.with_name(config.out.name + "-models") / side for side in SIDES}
    for side in [config.only] if config.only else SIDES:
        if (folders[side] / "model.json").exists():
            continue
        name = f"{SIDES[side]}:{config.data}"
        training = ddib_jax.Training(
            steps=config.steps,
            batch_size=config.training_batch,
            patch_size=config.patch_size,
            bf16=config.bf16,
            flip=True,
            attention_resolutions=(8, 4),
            noise_mean=0.0,
            reference=0,
        )
        source = ddib_jax.load_dataset(name, split="train", image_size=config.image_size)
        ddib_jax.train(source, training, folders[side], name=name)
    if config.only:
        return None
    truth = {side: _images(config, side, "test") for side in SIDES}
    bridges = {
        side: ddib_jax.Bridge.over(
            pretrained.load(folder),
            steps=config.ode_steps,
            grid=config.grid,
            solver=get_solver(config.solver),
        )
        for side, folder in folders.items()
    }
    rows, examples = [], {}
    for source, target in (("labels", "photo"), ("photo", "labels")):
        way = f"{source} → {target}"
        latents = ddib_jax.encode(
            bridges[source], truth[source], progress=progress(f"encoding {source}")
        ).y
        translation = ddib_jax.decode(
            bridges[target], latents, progress=progress(f"decoding {target}")
        )
        mean = _images(config, target, "train").mean(axis=0, keepdims=True)
        candidates = {
            "DDIB": translation,
            "the source as it is": truth[source],
            "the mean of the training set": np.broadcast_to(mean, translation.shape),
            "another test image": np.roll(truth[target], 1, axis=0),
        }
        for name, images in candidates.items():
            error = float(np.mean((images - truth[target]) ** 2))
            rows.append((way, name, error, float(latents.var())))
        examples |= {source: truth[source], way: translation}
    logs = {side: read_log(folder / "training" / "log.jsonl") for side, folder in folders.items()}
    steps = [line["step"] for line in logs["photo"]]
    curves = [[round(line["loss"], 4) for line in lines] for lines in logs.values()]
    losses = tuple(zip(steps, *curves, strict=True))
    ours = {row[0]: row[2] for row in rows if row[1] == "DDIB"}
    return study.publish(
        shown=lambda run: markdown_table(run.tables["Against the truth"], digits=3),
        leave_out=("data",),
        metrics=tuple(
            MetricRow(
                name,
                f"{name}, mean squared error to the truth",
                value,
                better="lower",
                n=len(truth["photo"]),
            )
            for name, value in ours.items()
        ),
        tables={
            "Against the truth": runs.Table(
                ("direction", "what", "MSE", "latent variance"),
                tuple(rows),
                "Test split, images in [-1, 1]",
            ),
            "Training": runs.Table(
                ("step", *(f"loss, {side}" for side in logs)), losses[:: max(1, len(losses) // 25)]
            ),
        },
        texts={"summary": SUMMARY},
        arrays={name: to_bytes(images[:16]) for name, images in examples.items()},
    )


SUMMARY = (
    "Two models trained apart on photographs and on label maps of facades; the pairs are used to"
    " measure alone."
)


def _images(config: Config, side: str, split: str) -> np.ndarray:
    source = ddib_jax.load_dataset(
        f"{SIDES[side]}:{config.data}", split=split, image_size=config.image_size
    )
    return source.take(range(len(source)))


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

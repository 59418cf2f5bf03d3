"""What the Wiener preconditioning is worth: models that are trained alike but for it.

    python experiments/preconditioning.py --steps 900

For every preconditioning it trains a five-model and a seven-model from scratch (`ddib train` with
its defaults), translates test fives, and prints one table: the loss, the proportion called seven,
the hue error, the round trip and the latents. Trained models are kept in `runs/preconditioning/`
and taken up again, so that an interrupted study goes on where it was.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import ddib_jax
from ddib_jax import parallel
from ddib_jax.evaluation import classify, evaluate
from ddib_jax.options import cli
from ddib_jax.report import markdown_table
from ddib_jax.runs import Table
from ddib_jax.solvers import HEUN
from ddib_jax.training import read_log
from study import RUNS, load_classifier

METRICS = (
    "called_target",
    "hue_error",
    "hue_error_p90",
    "reconstruction_error",
    "latent_variance",
    "latent_channel_std",
)


@dataclass(frozen=True)
class Config:
    """Train with each preconditioning, translate, compare."""

    preconditionings: tuple[str, ...] = ("wiener", "edm", "velocity")
    steps: int = 900
    """Training steps of each model."""
    count: int = 128
    """How many test fives to translate."""
    ode_steps: int = 40
    """Steps of Heun's method on Karras' grid, each way."""
    out: Path = RUNS / "preconditioning"


def main(config: Config) -> str:
    """Run the study; returns the table in Markdown, also printed and written to `table.md`."""
    fives = ddib_jax.load_dataset("five", split="test")
    source = fives.take(range(config.count))
    classifier = load_classifier()
    table = []
    for name in config.preconditionings:
        folders = {
            digit: config.out / f"{name}-{config.steps}" / digit for digit in ("five", "seven")
        }
        for digit, folder in folders.items():
            training = ddib_jax.Training(steps=config.steps, preconditioning=name)
            source = ddib_jax.load_dataset(digit, split="train")
            ddib_jax.train(source, training, folder, name=digit)
        five, seven = (
            ddib_jax.Bridge.over(
                ddib_jax.load(folder), steps=config.ode_steps, grid="karras", solver=HEUN
            )
            for folder in folders.values()
        )
        latent = ddib_jax.encode(five, source).y
        samples = {"source": source, "latent": latent, "target_class": 7}
        samples["translation"] = ddib_jax.decode(seven, latent)
        samples["reconstruction"] = ddib_jax.decode(five, latent)
        samples["translation_logits"], _ = classify(classifier, samples["translation"])
        rows = {row.name: row for row in evaluate(samples)}
        log = read_log(folders["five"] / "training" / "log.jsonl")
        loss = float(np.mean([line["loss"] for line in log[-5:]]))
        table.append((name, loss, *(rows[metric].value for metric in METRICS)))
    heads = ("Preconditioning", "Loss of the five-model", *(rows[name].label for name in METRICS))
    text = markdown_table(Table(heads, tuple(table)), digits=3)
    command = shlex.join(["python", "experiments/preconditioning.py", *sys.argv[1:]])
    (config.out / "table.md").write_text(f"{command}\n\n{text}")
    print(text)
    return text


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

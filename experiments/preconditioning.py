"""What the Wiener preconditioning is worth: two models each, trained alike but for it, and
translated alike.

    python experiments/preconditioning.py --steps 900

For every preconditioning it trains a five-model and a seven-model from scratch (`ddib train` with
its defaults), translates test fives, and prints one table: the loss, the share called seven, the
hue error, the round trip and the latents. Trained models are kept in `runs/preconditioning/` and
taken up again, so that an interrupted study goes on where it was.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

import ddib_jax
from ddib_jax import bridge, parallel, pretrained
from ddib_jax.commands.train import Train
from ddib_jax.evaluation import Classifier, classify, evaluate
from ddib_jax.report import markdown_table
from ddib_jax.runs import Table
from ddib_jax.training import read_log

ROOT = Path(__file__).resolve().parent.parent
SHOWN = (
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
    """Steps of Heun's method, each way."""
    out: Path = ROOT / "runs" / "preconditioning"


def main(config: Config) -> str:
    """Run the study; returns the table in Markdown, which it also prints and writes to
    `table.md`.
    """
    fives = ddib_jax.load_dataset("five", split="test")
    source = fives.take(range(config.count))
    classifier = Classifier(
        *reversed(pretrained.load_network(pretrained.find("digit-classifier"), "classifier"))
    )
    table = []
    for name in config.preconditionings:
        folders = {
            digit: config.out / f"{name}-{config.steps}" / digit for digit in ("five", "seven")
        }
        for digit, place in folders.items():
            Train(data=digit, out=place, steps=config.steps, preconditioning=name).run()
        here, there = (
            ddib_jax.Bridge.over(ddib_jax.load(place), steps=config.ode_steps)
            for place in folders.values()
        )
        latent = bridge.encode(here, source)
        samples = {"source": source, "latent": latent, "target_class": 7}
        samples["translation"] = bridge.decode(there, latent)
        samples["reconstruction"] = bridge.decode(here, latent)
        samples["translation_logits"], _ = classify(classifier, samples["translation"])
        rows = {row.name: row for row in evaluate(samples)}
        losses = [
            line["loss"] for line in read_log(folders["five"] / "training" / "log.jsonl")[-5:]
        ]
        table.append((name, float(np.mean(losses)), *(rows[shown].value for shown in SHOWN)))
    labels = [rows[shown].label for shown in SHOWN]
    text = markdown_table(
        Table(("Preconditioning", "Loss of the five-model", *labels), tuple(table)), digits=3
    )
    (config.out / "table.md").write_text(
        f"{shlex.join(['python', 'experiments/preconditioning.py', *sys.argv[1:]])}\n\n{text}"
    )
    print(text)
    return text


if __name__ == "__main__":
    parallel.keep_compiled()
    main(tyro.cli(Config))

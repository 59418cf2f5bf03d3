"""The founding study: held-out coloured fives into sevens that keep their colour.

    python experiments/coloured_mnist.py            # 128 test fives, a few minutes on two CPU cores
    python experiments/coloured_mnist.py --full     # all 892

It encodes the fives with the five-model, decodes the latents with the seven-model (the translation) and with the five-model
(the reconstruction), takes the translation back (the cycle), and writes figures, metrics and one page to
`runs/coloured_mnist/`.
"""

import datetime
import shlex
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tyro

import ddib_jax
from ddib_jax import bridge, parallel, pretrained, runs
from ddib_jax.commands.crossing import Crossing, progress
from ddib_jax.commands.train import machine
from ddib_jax.data.png import to_bytes
from ddib_jax.evaluation import Classifier, classify, evaluate
from ddib_jax.metrics import digits
from ddib_jax.report import text_table, write_report

TARGETS = {"called_target": 0.97, "hue_error": 15.0, "reconstruction_error": 1e-3}
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Config:
    """Translate test fives into sevens, measure, and write a report."""

    count: int = 128
    """How many test fives."""
    full: bool = False
    """Take all 892 test fives."""
    source: str = "five"
    """Model of the fives: a shipped model or a model directory."""
    target: str = "seven"
    """Model of the sevens."""
    classifier: str = "digit-classifier"
    """The judge."""
    steps: int = 40
    """Steps of the ODE's grid, each way."""
    solver: str = "heun"
    grid: str = "karras"
    batch_size: int = 64
    seed: int = 0
    """Of the fixed hues."""
    out: Path = ROOT / "runs" / "coloured_mnist"


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    started, clock = datetime.datetime.now(datetime.UTC), time.monotonic()
    fives, sevens = (ddib_jax.load_dataset(name, "test", seed=config.seed) for name in ("five", "seven"))
    count = len(fives) if config.full else min(config.count, len(fives))
    source = fives.take(np.arange(count), None)

    crossing = Crossing(config.steps, config.solver, config.grid, config.batch_size)
    here, there = (crossing.bridge(ddib_jax.load(name)) for name in (config.source, config.target))
    bridge.check_meeting(here.model, there.model)
    size = config.batch_size
    latent = bridge.encode(here, source, batch_size=size, progress=progress("encoding the fives"))
    translation = bridge.decode(there, latent, batch_size=size, progress=progress("decoding to sevens"))
    reconstruction = bridge.decode(here, latent, batch_size=size, progress=progress("decoding to fives"))
    back = bridge.encode(there, translation, batch_size=size, progress=progress("encoding the sevens"))
    cycle = bridge.decode(here, back, batch_size=size, progress=progress("closing the cycle"))

    judge = Classifier(*reversed(pretrained.load_classifier(pretrained.find(config.classifier))))
    logits, features = classify(judge, translation)
    _, real = classify(judge, sevens.take(np.arange(len(sevens)), None))
    others = ddib_jax.load_dataset("seven", "train", seed=config.seed)
    _, pool = classify(judge, others.take(np.arange(len(others)), None))

    samples = {
        "source": source,
        "translation": translation,
        "reconstruction": reconstruction,
        "cycle": cycle,
        "latent": latent,
        "translation_logits": logits,
        "source_class": 5,
        "target_class": 7,
        "translation_features": features,
        "target_features": real,
        "target_pool_features": pool,
    }
    metrics = evaluate(samples, TARGETS)
    run = runs.Run(
        name="coloured_mnist",
        title="Coloured fives into sevens",
        command=shlex.join(["python", "experiments/coloured_mnist.py", *sys.argv[1:]]),
        started=started.isoformat(timespec="seconds"),
        finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seconds=time.monotonic() - clock,
        machine=runs.describe_machine(machine()),
        versions=runs.installed_versions(["ddib-jax", "jax", "jaxlib", "flax", "numpy"]),
        config={name: str(v) if isinstance(v, Path) else v for name, v in asdict(config).items() if name != "out"},
        metrics=metrics,
        texts={"summary": summary(count, config), "How far the latents should be from N(0, I)": spread(here)},
        arrays={
            **{name: to_bytes(samples[name]) for name in ("source", "translation", "reconstruction", "cycle")},
            "latent": latent.astype(np.float16),
            "hue_source": digits.hue(source),
            "hue_translation": digits.hue(translation),
            "hue_error": digits.hue_error(source, translation),
            "thickness_source": digits.stroke_thickness(source),
            "thickness_translation": digits.stroke_thickness(translation),
            "called": logits.argmax(axis=1),
            "called_target": digits.called(logits, 7).astype(bool),
        },
    )
    runs.write_run(config.out, run)
    page = write_report(config.out)
    print(text_table(run))
    print(f"The report lies in {page}")
    return page


def summary(count: int, config: Config) -> str:
    """What was done, in two sentences."""
    return (
        f"{count} handwritten fives that neither model has seen, each in a hue of its own, are encoded to latents by a "
        f"diffusion model of fives and decoded by one of sevens; the two were trained apart and share nothing. Each way "
        f"takes {config.steps} steps of {config.solver} on the {config.grid} grid; nothing was chosen by eye."
    )


def spread(here: ddib_jax.Bridge) -> str:
    """What variance the latents of noiseless images should have, by the model's own Gaussian."""
    low, high = float(here.sigmas[0]), float(here.sigmas[-1])
    prior = here.model.precondition
    if not hasattr(prior, "variances"):
        return f"Each latent is the state of the ODE at sigma = {high:g}, scaled to unit variance."
    variances = np.append(np.asarray(prior.variances), np.full(prior.mean.size - len(prior.variances), float(prior.rest)))
    expected = np.mean(variances / (variances + low**2) * (variances + high**2) / (1 + high**2))
    return (
        f"The ODE starts at sigma = {low:g} as if the image held that much noise, but a test image holds none. A direction in "
        f"which the images have variance v is then carried to a latent variance of v / (v + {low:g}^2) instead of 1: "
        f"directions that never vary (the black border) contribute nothing. By the Gaussian of the five-model's own "
        f"preconditioning that makes {expected:.2f} on average."
    )


if __name__ == "__main__":
    parallel.keep_compiled()
    main(tyro.cli(Config))

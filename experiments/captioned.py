"""Captioned digits: what a model that was told captions makes of one, seen and unseen.

    python experiments/captioned.py            # the shipped model, minutes on two CPU cores
    python experiments/captioned.py --train    # train it first, four minutes on an H200

Every ink is asked for with every digit, on backgrounds in turn, at several scales of guidance. Ten
pairs of ink and digit were never shown in training. A classifier of strokes and the colours of ink
and background say what came. Training needs all of MNIST (DDIB_DATA).
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

import ddib_jax
from ddib_jax import parallel, pretrained, runs
from ddib_jax.data import load_dataset
from ddib_jax.data.captioned_digits import BACKGROUNDS, INKS, caption, unseen
from ddib_jax.data.png import to_bytes
from ddib_jax.metrics.intervals import proportion
from ddib_jax.options import cli
from ddib_jax.progress import progress
from ddib_jax.solvers import get_solver
from looks import Followed, followed, seen
from study import RUNS, Study, load_classifier

TRAINING = {
    "captions": True,
    "label_dropout": 0.1,
    "steps": 5000,
    "batch_size": 256,
    "channel_mult": (1, 2, 3),
    "attention_resolutions": (16, 8),
    "float16_weights": True,
}
"""What the shipped model was trained with; the rest are defaults."""


@dataclass(frozen=True)
class Config:
    """Ask a captioned model for digits in inks on backgrounds, and count what comes."""

    model: str = "captioned"
    """A shipped model or a model directory."""
    train: bool = False
    """Train a model first, in the run's folder."""
    guidance: tuple[float, ...] = (1.0, 2.0, 3.0, 5.0, 7.5)
    """Scales of classifier-free guidance."""
    repeats: int = 2
    """Images of each pair of ink and digit, and five times as many of an unseen one."""
    steps: int = 40
    """Steps of the ODE's grid."""
    solver: str = "dpmpp-2m"
    grid: str = "log-uniform"
    batch_size: int = 100
    seed: int = 0
    """Of the noise."""
    out: Path = RUNS / "captioned"


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    study = Study("captioned", "Digits as their captions ask for them", config)
    name = config.model
    if config.train:
        name = str(config.out / "model")
        source = load_dataset("captioned", split="train")
        ddib_jax.train(source, ddib_jax.Training(**TRAINING), name, name="captioned")
    checkpoint, judge = pretrained.open(name), load_classifier()
    asked = questions(config.repeats)
    captions = [
        caption(digit=digit, ink=list(INKS)[ink], background=list(BACKGROUNDS)[ground])
        for digit, ink, ground in asked
    ]
    digit, ink, ground = asked.T
    apart = unseen(ink, digit)
    cond = pretrained.conditions(checkpoint, (), prompts=captions)
    noise = np.asarray(
        jax.random.normal(jax.random.key(config.seed), (len(asked), *checkpoint.model().data_shape))
    )
    rows, shown, metrics = [], {}, []
    for scale in config.guidance:
        model = pretrained.guided(
            checkpoint, checkpoint.model(), None if scale == 1 else scale, None
        )
        bridge = ddib_jax.Bridge.over(
            model, steps=config.steps, grid=config.grid, solver=get_solver(config.solver)
        )
        images = ddib_jax.sample(
            bridge,
            noise,
            cond=cond,
            batch_size=config.batch_size,
            progress=progress(f"sampling at guidance {scale:g}"),
        )
        right = followed(seen(images, judge), digit, ink, ground)
        for which, part in (("seen", ~apart), ("unseen", apart)):
            rows.append((f"{scale:g}", which, *figures(right, part)))
        shown[f"guidance_{scale:g}"] = to_bytes(images[:80])
        everything = proportion(right.all)
        metrics.append(
            runs.MetricRow(
                f"all_right_{scale:g}",
                f"digit, ink and background right at guidance {scale:g}",
                everything.value,
                everything.low,
                everything.high,
                better="higher",
                n=everything.n,
                group="What was asked for",
            )
        )
    header = (
        "Guidance",
        "Pairs",
        "Digit",
        "Ink",
        "Background",
        "All three",
        "Hue off (median)",
        "n",
    )
    table = runs.Table(header, tuple(rows), "Right, by pair of ink and digit in training")
    return study.publish(
        metrics=tuple(metrics),
        tables={"followed": table},
        texts={
            "summary": f"{len(asked)} captions, each of a digit in an ink on a background, are told"
            " to a model; a classifier of strokes and the colours say what came. Ten pairs of ink"
            " and digit were never shown in training."
        },
        arrays=shown,
    )


def questions(repeats: int) -> np.ndarray:
    """Digit, ink and background [n 3] asked for, by their numbers; every pair of ink and digit."""
    asked = [
        (digit, ink, (3 * digit + ink + 2 * time) % len(BACKGROUNDS))
        for time in range(5 * repeats)
        for ink in range(len(INKS))
        for digit in range(10)
        if time < repeats or unseen(ink, digit)
    ]
    return np.asarray(asked)


def figures(right: Followed, part: np.ndarray) -> tuple:
    """The cells of a row: shares that are right with their intervals, and the hue's error."""
    cells = []
    for share in (right.digit, right.ink, right.background, right.all):
        found = proportion(share[part])
        cells.append(f"{found.value:.1%} [{found.low:.1%}, {found.high:.1%}]")
    return (*cells, f"{np.nanmedian(right.hue_error[part]):.1f}°", int(part.sum()))


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

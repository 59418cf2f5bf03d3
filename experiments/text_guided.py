"""Editing and control by a text, every method on captioned digits, before one judge.

    python experiments/text_guided.py                  # an hour on two CPU cores
    python experiments/text_guided.py --split train --count 16 --methods freecontrol

Four tasks, on digits whose look is known: another ink; an ink and a background in words for white
strokes on black, and for their edges; another digit. For each method how much of the prompt came
(digit, ink, background), how much of the structure stayed (overlap of the strokes, their slant and
width, and what changed elsewhere), and what an image costs. SDEdit at several noise levels is the
frontier that a method has to lie above. Writes `runs/text_guided/`: tables, sheets, one page.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

import ddib_jax
from ddib_jax import parallel, runs
from ddib_jax.baselines import SDEdit
from ddib_jax.data.png import to_bytes
from ddib_jax.editing import (
    CtrlX,
    FreeControl,
    MasaCtrl,
    Pix2PixZero,
    PlugAndPlay,
    PromptToPrompt,
)
from ddib_jax.evaluation import Classifier
from ddib_jax.metrics.digits import stroke_slant, stroke_thickness
from ddib_jax.metrics.intervals import bootstrap, proportion
from ddib_jax.options import cli
from ddib_jax.report import markdown_table
from kept import leak, self_similarity
from looks import Drawing, followed, overlap, seen, taken_apart
from pages.compare_methods import FIGURES, IMAGES
from study import RUNS, Study, load_classifier
from text_tasks import SITES, Bench, Task, tasks

SDEDIT = (0.5, 1.0, 2.0, 4.0)
"""Noise levels of SDEdit's curve."""
COLUMNS = 16
"""Images on a sheet."""


@dataclass(frozen=True)
class Config:
    """Edit captioned digits by every method, and measure prompt against structure."""

    model: str = "captioned"
    """A shipped model or a model directory that is told captions."""
    count: int = 24
    """Digits of each task."""
    split: Literal["train", "test"] = "test"
    """Digits that choices are made on (train), or that are reported (test)."""
    tasks: tuple[str, ...] = ()
    """Words of the names of tasks; all by default."""
    methods: tuple[str, ...] = ()
    """Words of the names of methods; all by default."""
    guidance: float = 3.0
    """Classifier-free guidance of the target."""
    steps: int = 40
    solver: str = "ddim"
    grid: str = "log-uniform"
    structure: float = 5000.0
    """Weight of FreeControl's structure, chosen in control_ablations.py."""
    until: float = 1.0
    """The noise level at which FreeControl ends."""
    seed: int = 0
    out: Path = RUNS / "text_guided"


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    study = Study("text_guided", "Edited by a text", config)
    judge = load_classifier()
    bench = Bench(config.model, config.guidance, config.steps, config.solver, config.grid)
    tables, shown, asked = {}, {}, methods(config, bench)
    wanted = lambda name, words: not words or any(word in name.lower() for word in words)
    given = tasks(split=config.split, count=config.count, seed=config.seed, judge=judge)
    for title, task in given.items():
        if not wanted(title, config.tasks):
            continue
        rows, figures = [], []
        for name, make in asked.items():
            if not wanted(name, config.methods):
                continue
            made = edited(bench, task, make)
            measured = measure(made, task, judge)
            cells = [each.text for each in measured]
            rows.append((name, *cells, made.seconds))
            figures += [(name, each.label, *each.estimate) for each in measured if each.estimate]
            shown[IMAGES.format(task=title, method=name)] = to_bytes(made.images[:COLUMNS])
            print(f"{title}: {name}, {', '.join(cells)}", flush=True)
        header = ("method", *(each.label for each in measured), "seconds an image")
        caption = f"{len(task.images)} {config.split} images, the same for all"
        tables[title] = runs.Table(header, tuple(rows), caption)
        columns = ("method", "metric", "value", "low", "high")
        tables[title + FIGURES] = runs.Table(columns, tuple(figures))
    return study.publish(
        shown=lambda run: "\n".join(
            f"{name}\n\n{markdown_table(table)}"
            for name, table in run.tables.items()
            if not name.endswith(FIGURES)
        ),
        tables=tables,
        texts={
            "summary": f"{config.count} digits a task, guidance {config.guidance:g}: how much of"
            " the prompt came, and how much of the picture's structure stayed."
        },
        arrays=shown,
    )


def methods(config: Config, bench: Bench) -> dict[str, Callable[[Task], Any]]:
    """Name -> what makes the translator of a task; of None the images are left as they are."""

    def control(*, appearance: float | None = None, fresh: bool = True) -> Callable[[Task], Any]:
        options = {"structure": config.structure, "appearance": appearance}
        return lambda task: bench.ddib(
            FreeControl.of(bench.model, bench.bases, **options), config.until, fresh=fresh
        )

    return {
        "as it is": lambda task: None,
        "text alone": lambda task: bench.ddib(fresh=True),
        **{
            f"SDEdit from {sigma:g}": lambda task, sigma=sigma: SDEdit(
                bench.bridge(bench.guided.given(bench.told(task.target_prompts))),
                jnp.asarray(sigma),
            )
            for sigma in SDEDIT
        },
        "DDIB": lambda task: bench.ddib(),
        "Plug-and-Play": lambda task: bench.ddib(PlugAndPlay.of(bench.model), 0.574),
        "Prompt-to-Prompt": lambda task: bench.ddib(
            PromptToPrompt.of(bench.model, bench.alignment(task))
        ),
        "pix2pix-zero": lambda task: bench.ddib(Pix2PixZero.of(bench.model)),
        "MasaCtrl": lambda task: bench.ddib(MasaCtrl.of(bench.model)),
        "Ctrl-X": lambda task: CtrlX.of(bench.model, bench.bridge(bench.guided)),
        "Ctrl-X, FreeControl's layers": lambda task: CtrlX.of(
            bench.model, bench.bridge(bench.guided)
        ).replace(features=SITES, attention=()),
        "FreeControl": control(),
        "FreeControl, appearance": control(appearance=0.2),
        "FreeControl from the image": control(fresh=False),
    }


class Edited(NamedTuple):
    """What a method made of a task, and the seconds of an image, with what was compiled for it."""

    images: np.ndarray
    seconds: float


def edited(bench: Bench, task: Task, make: Callable[[Task], Any]) -> Edited:
    """The images of a method, each told its own prompts."""
    method, count = make(task), len(task.images)
    if method is None:
        return Edited(task.images, 0.0)
    conds = None
    if not isinstance(method, SDEdit):
        conds = (bench.told(task.source_prompts), bench.told(task.target_prompts))
    run = lambda images: ddib_jax.translate(method, images, conds=conds, batch_size=count)
    started = time.perf_counter()
    found = run(task.images)
    return Edited(found, (time.perf_counter() - started) / count)


class Measured(NamedTuple):
    """A figure of a method: its label, its text, and value with interval where it has one."""

    label: str
    text: str
    estimate: tuple[float, float | None, float | None] | None = None


def measure(made: Edited, task: Task, judge: Classifier) -> list[Measured]:
    """The prompt followed, and the structure kept."""
    found = seen(made.images, judge)
    right = followed(found, task.digit, task.ink, task.background)
    shares = [
        Measured(label, f"{proportion(share).value:.0%}")
        for label, share in zip(("digit", "ink", "background"), right[:3], strict=True)
    ]
    every, kept = proportion(right.all), overlap(found.drawing.drawn, task.drawing.drawn)
    iou = bootstrap(kept, np.mean)
    off = lambda measure: np.abs(measure(_grey(found.drawing)) - measure(_grey(task.drawing)))
    apart = ~(found.drawing.drawn | task.drawing.drawn)
    square = np.square((made.images - task.images) / 2).mean(axis=-1)
    similar = [self_similarity(each.stroke, judge) for each in (found.drawing, task.drawing)]
    apart_in = np.sqrt(np.square(similar[0] - similar[1]).mean(axis=(1, 2)))
    leaked = leak(found.drawing, taken_apart(task.images), task.ink, task.background)
    leaked = leaked[~np.isnan(leaked)]
    elsewhere = np.sqrt((square * apart).sum((1, 2)) / np.maximum(apart.sum((1, 2)), 1))
    return [
        *shares,
        Measured(
            "all three",
            f"{every.value:.0%} [{every.low:.0%}, {every.high:.0%}]",
            (every.value, every.low, every.high),
        ),
        Measured(
            "stroke IoU",
            f"{iou.value:.2f} [{iou.low:.2f}, {iou.high:.2f}]",
            (iou.value, iou.low, iou.high),
        ),
        Measured("slant off", f"{np.nanmedian(off(stroke_slant)):.1f}°"),
        Measured("width off", f"{np.nanmedian(off(stroke_thickness)):.2f} px"),
        Measured("self-similarity off", f"{apart_in.mean():.3f}"),
        Measured("colour of the source", f"{leaked.mean():.2f}" if leaked.size else "-"),
        Measured("changed elsewhere", f"{elsewhere.mean():.3f}"),
    ]


def _grey(drawing: Drawing) -> np.ndarray:
    """The strokes as white on black, [n h w 3] in [-1, 1]."""
    return np.repeat(2 * drawing.stroke[..., None] - 1, 3, axis=-1)


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

"""Real images under classifier-free guidance: what comes back, and what an edit then makes of it.

    python experiments/guided_inversion.py         # needs MNIST (DDIB_DATA)

Captioned digits are encoded under their own caption and decoded under the same caption, by each way
of inversion at each scale of guidance: how far the image that comes back is from the one that went
in, how Gaussian its latent is, and, with another ink in the caption, how much of the prompt came
and how much of the strokes stayed. Writes `runs/guided_inversion/`: tables, a sheet, one page.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

import ddib_jax
from ddib_jax import parallel, runs
from ddib_jax.bridge import Bridge
from ddib_jax.data.png import to_bytes
from ddib_jax.data.sources import to_float
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.editing import NullTextEdit, negative_prompt
from ddib_jax.evaluation import Classifier
from ddib_jax.metrics.intervals import bootstrap, proportion
from ddib_jax.options import cli
from ddib_jax.report import markdown_table
from looks import followed, overlap, seen
from study import RUNS, Study, load_classifier
from text_tasks import Bench, Task, tasks

TASK = "another ink"
GRADIENT = 3
"""Evaluations that one evaluation and its gradient count as."""
COLUMNS = 12
"""Images on the sheet."""


@dataclass(frozen=True)
class Config:
    """Encode and decode captioned digits under guidance, and edit them."""

    model: str = "captioned"
    """A shipped model or a model directory that is told captions."""
    count: int = 24
    """Digits."""
    split: Literal["train", "test"] = "test"
    guidance: tuple[float, ...] = (1.0, 3.0, 7.5)
    """Scales of classifier-free guidance."""
    methods: tuple[str, ...] = ()
    """Words of the names of ways; all by default."""
    steps: int = 40
    grid: str = "log-uniform"
    null_steps: int = 10
    """Adam's steps of null-text inversion, at every level."""
    seed: int = 0
    out: Path = RUNS / "guided_inversion"


class Found(NamedTuple):
    """What a way made: the images that came back, the edited ones, and the latents [n h w c].

    evaluations: of the network, to encode and decode an image.
    """

    back: np.ndarray
    edited: np.ndarray
    latents: np.ndarray
    evaluations: int


Way = Callable[[Bench, Task, float], Found]


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    study = Study("guided_inversion", "Inversion under guidance", config)
    judge, shown = load_classifier(), {}
    task = tasks(split=config.split, count=config.count, seed=config.seed, judge=judge)[TASK]
    task = task._replace(images=to_float(to_bytes(task.images)))  # as they would lie in a file
    rows = []
    shown["image"] = to_bytes(task.images[:COLUMNS])
    for name, (solver, way) in ways(config).items():
        if config.methods and not any(word in name.lower() for word in config.methods):
            continue
        for scale in config.guidance:
            bench = Bench(config.model, scale, config.steps, solver, config.grid)
            started = time.perf_counter()
            try:
                found = way(bench, task, scale)
            except FloatingPointError as error:  # a lattice that guidance drives out of its range
                print(f"{name}, guidance {scale:g}: {error}", flush=True)
                rows.append((name, scale, "left the lattice", *[None] * 6))
                continue
            seconds = (time.perf_counter() - started) / len(task.images)
            rows.append((name, scale, *measured(found, task, judge), found.evaluations, seconds))
            shown[f"{name}, guidance {scale:g}"] = to_bytes(found.back[:COLUMNS])
            print(*rows[-1], sep=", ", flush=True)
    header = (
        "way",
        "guidance",
        "came back within",
        "the same 8 bits",
        "latent variance",
        "edit followed",
        "stroke IoU of the edit",
        "evaluations an image",
        "seconds an image",
    )
    caption = (
        f"{config.count} {config.split} digits, {config.steps} steps; median and worst root mean"
        " square difference of an image in counts of 255; seconds with compiling, the edit included"
    )
    table = runs.Table(header, tuple(rows), caption)
    return study.publish(
        shown=lambda run: markdown_table(run.tables["ways"]), tables={"ways": table}, arrays=shown
    )


def ways(config: Config) -> dict[str, tuple[str, Way]]:
    """Name -> the solver, and what encodes, decodes and edits by it."""
    null_text = lambda bench, task, scale: by_null_text(bench, task, scale, config.null_steps)
    return {
        "DDIM, encoded without guidance": ("ddim", unguided),
        "DDIM, guided both ways": ("ddim", guided),
        "Null-text": ("ddim", null_text),
        "Negative-prompt": ("ddim", by_negative_prompt),
        "Reversible (o-belm), guided both ways": ("o-belm", guided),
        "Lattice, guided both ways": ("lattice-heun", guided),
    }


def ends(bench: Bench, task: Task) -> tuple[DiffusionModel, Any, Any]:
    """The model under the source's prompts, and the conditions of source and target."""
    source, target = bench.told(task.source_prompts), bench.told(task.target_prompts)
    return bench.model.given(source), source, target


def unguided(bench: Bench, task: Task, scale: float) -> Found:
    """Up without guidance, down with it."""
    return _apart(bench, task, bench.guided)


def by_negative_prompt(bench: Bench, task: Task, scale: float) -> Found:
    """Up without guidance, down away from the source's own prompt."""
    model, _, _ = ends(bench, task)
    return _apart(bench, task, model.guided(negative_prompt(model, scale=scale)))


def guided(bench: Bench, task: Task, scale: float) -> Found:
    """The same guidance up and down, and a second state handed on where the solver has one."""
    _, here, there = ends(bench, task)
    bridge, count = bench.bridge(bench.guided), len(task.images)
    up = ddib_jax.encode(bridge, task.images, cond=here, batch_size=count)
    back = ddib_jax.decode(bridge, up.y, aux=up.aux, cond=here, batch_size=count)
    method = ddib_jax.DDIB(bridge, bridge)
    edited = ddib_jax.translate(method, task.images, conds=(here, there), batch_size=count)
    return Found(back, edited, up.y, 2 * _evaluations(bridge))


def by_null_text(bench: Bench, task: Task, scale: float, steps: int) -> Found:
    """Up without guidance, down by the nulls that lead back."""
    plain, count = bench.bridge(bench.model), len(task.images)
    null = jax.tree.map(lambda leaf: leaf[0], bench.told([""]))
    method = NullTextEdit(plain, plain, null, scale, steps=steps)
    _, here, there = ends(bench, task)
    run = lambda conds: ddib_jax.translate(method, task.images, conds=conds, batch_size=count)
    latents = ddib_jax.encode(plain, task.images, cond=here, batch_size=count).y
    # encoded twice, for the optimisation and for the edit; at each level the prompt's answer, the
    # gradients and a last look; and the way down
    evaluations = 2 * _evaluations(plain) + bench.steps * (2 + GRADIENT * steps + 2)
    return Found(run((here, here)), run((here, there)), latents, evaluations)


def measured(found: Found, task: Task, judge: Classifier) -> tuple[str, str, float, str, str]:
    """The cells of a row: error, images of the same bytes, variance, prompt followed, overlap."""
    square = np.square(found.back - np.clip(task.images, -1, 1)).mean(axis=(1, 2, 3))
    error = 127.5 * np.sqrt(square)
    same = (to_bytes(found.back) == to_bytes(task.images)).all(axis=(1, 2, 3))
    looks = seen(found.edited, judge)
    right = proportion(followed(looks, task.digit, task.ink, task.background).all)
    iou = bootstrap(overlap(looks.drawing.drawn, task.drawing.drawn), np.mean)
    return (
        f"{np.median(error):.2g} ({error.max():.2g})",
        f"{same.sum()} of {len(same)}",
        round(float(np.square(found.latents).mean()), 3),
        f"{right.value:.0%} [{right.low:.0%}, {right.high:.0%}]",
        f"{iou.value:.2f} [{iou.low:.2f}, {iou.high:.2f}]",
    )


def _apart(bench: Bench, task: Task, decoder: DiffusionModel) -> Found:
    """Up by the model as it is, down by the same model under a guidance."""
    _, here, there = ends(bench, task)
    up, down, count = bench.bridge(bench.model), bench.bridge(decoder), len(task.images)
    method = ddib_jax.DDIB(up, down)
    run = lambda conds: ddib_jax.translate(method, task.images, conds=conds, batch_size=count)
    latents = ddib_jax.encode(up, task.images, cond=here, batch_size=count).y
    evaluations = _evaluations(up) + _evaluations(down)
    return Found(run((here, here)), run((here, there)), latents, evaluations)


def _evaluations(bridge: Bridge) -> int:
    """Of the network, one way over a bridge."""
    guidance = bridge.model.guidance
    each = 1 if guidance is None else guidance.evaluations
    return each * bridge.solver.evaluations(len(bridge.sigmas) - 1)


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

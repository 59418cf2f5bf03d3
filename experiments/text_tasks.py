"""The tasks of text_guided.py, and the model that all methods edit with."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import ddib_jax
from ddib_jax import pretrained
from ddib_jax.bridge import Coupling
from ddib_jax.data import load_dataset
from ddib_jax.data.captioned_digits import (
    BACKGROUNDS,
    INKS,
    WEIGHTS,
    Looks,
    caption,
    unseen,
)
from ddib_jax.data.condition_images import condition_image
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.editing import (
    Alignment,
    Bases,
    prompt_refinement,
    semantic_bases,
    word_replacement,
)
from ddib_jax.evaluation import Classifier
from ddib_jax.perturbations import FRESH_NOISE, PERTURBATIONS
from ddib_jax.solvers import get_solver
from looks import Drawing, seen

SITES = ("up_blocks.0.upsamplers.0", "up_blocks.1.resnets.0.conv2")
"""Where FreeControl reads structure: the layers that text_sites.py finds."""


class Task(NamedTuple):
    """Images [n h w 3] to edit, what they are told and are to be, and the strokes that they show.

    digit, ink and background [n]: what is asked for, by their numbers.
    """

    images: np.ndarray
    source_prompts: list[str]
    target_prompts: list[str]
    digit: np.ndarray
    ink: np.ndarray
    background: np.ndarray
    drawing: Drawing


def tasks(*, split: str, count: int, seed: int, judge: Classifier) -> dict[str, Task]:
    """The tasks by name, on digits of known looks, of MNIST's `split`.

    Backgrounds are those of one word, so that all prompts of a task are of one form, and pairs of
    ink and digit such as training had.
    """
    source = load_dataset("captioned", split=split, seed=seed)
    rng = np.random.default_rng(seed)
    plain = [number for number, name in enumerate(BACKGROUNDS) if " " not in name]
    usable = np.flatnonzero(np.isin(source.looks.background, plain))
    chosen = rng.permutation(usable)[:count]
    images, looks, digit = source.take(chosen), source.looks.of(chosen), source.labels[chosen]
    drawing = seen(images, judge).drawing
    ink, other_digit = _another(rng, looks, digit)
    light = [number for number in plain if list(BACKGROUNDS)[number] != "black"]
    ground = rng.choice(light, len(chosen))
    captions = lambda **parts: [
        caption(
            digit=shown,
            background=list(BACKGROUNDS)[behind],
            weight=WEIGHTS[weight],
            ink=None if colour < 0 else list(INKS)[colour],
        )
        for shown, colour, behind, weight in zip(
            *(
                np.broadcast_to(parts.get(name, default), len(chosen)).tolist()
                for name, default in (
                    ("digit", digit),
                    ("ink", looks.ink),
                    ("background", looks.background),
                    ("weight", looks.weight),
                )
            ),
            strict=True,
        )
    ]
    white = np.repeat(2 * drawing.stroke[..., None] - 1, 3, axis=-1).astype(np.float32)
    edges = np.stack([condition_image(image, "edges") for image in images])
    here = captions()
    black = captions(ink=-1, background=list(BACKGROUNDS).index("black"))
    dressed = captions(ink=ink, background=ground)
    back = looks.background
    return {
        "another ink": Task(images, here, captions(ink=ink), digit, ink, back, drawing),
        "from white on black": Task(white, black, dressed, digit, ink, ground, drawing),
        "from edges": Task(edges, black, dressed, digit, ink, ground, drawing),
        "another digit": Task(
            images, here, captions(digit=other_digit), other_digit, looks.ink, back, drawing
        ),
    }


def _another(
    rng: np.random.Generator, looks: Looks, digit: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Another ink and another digit for each image, each such as training had."""
    inks, digits = range(len(INKS)), range(10)
    pairs = zip(looks.ink.tolist(), digit.tolist(), strict=True)
    found = [
        (
            rng.choice([each for each in inks if each != ink and not unseen(each, shown)]),
            rng.choice([each for each in digits if each != shown and not unseen(ink, each)]),
        )
        for ink, shown in pairs
    ]
    ink, other = zip(*found, strict=True)
    return np.asarray(ink), np.asarray(other)


@dataclass(frozen=True)
class Bench:
    """A model that is told captions, and the bridges that all methods share.

    guidance: of the target. steps, solver, grid: of every bridge.
    """

    name: str
    guidance: float
    steps: int
    solver: str
    grid: str

    @cached_property
    def checkpoint(self) -> pretrained.Checkpoint:
        """The model's files."""
        return pretrained.open(self.name)

    @cached_property
    def model(self) -> DiffusionModel:
        """The model under a caption that says nothing but what all have in common."""
        one = jax.tree.map(lambda leaf: leaf[0], self.told([caption()]))
        return self.checkpoint.model().given(one)

    @cached_property
    def guided(self) -> DiffusionModel:
        """The same under guidance, if it is not 1."""
        scale = None if self.guidance == 1 else self.guidance
        return pretrained.guided(self.checkpoint, self.model, scale, None)

    @cached_property
    def bases(self) -> Bases:
        """FreeControl's bases of "a digit"."""
        noise = jax.random.normal(jax.random.key(77), (40, *self.model.data_shape))
        return semantic_bases(self.bridge(self.guided), noise, sites=SITES, batch_size=20)

    def told(self, prompts: list[str]) -> Any:
        """The conditions of prompts, leaves [n ...]."""
        return jax.tree.map(jnp.asarray, self.checkpoint.conditioner(prompts))

    def bridge(self, model: DiffusionModel) -> ddib_jax.Bridge:
        return ddib_jax.Bridge.over(
            model, steps=self.steps, grid=self.grid, solver=get_solver(self.solver)
        )

    def ddib(
        self,
        coupling: Coupling | None = None,
        until: float | None = None,
        *,
        fresh: bool = False,
    ) -> ddib_jax.DDIB:
        """A DDIB from prompt to prompt, its target guided; fresh: that starts from noise."""
        return ddib_jax.DDIB(
            self.bridge(self.model),
            self.bridge(self.guided),
            perturb=FRESH_NOISE if fresh else PERTURBATIONS["none"],
            coupling=coupling,
            until=until,
            denoised=fresh,
        )

    def alignment(self, task: Task) -> Alignment:
        """That of a task's prompts, which are all of one form."""
        pairs = [
            (self.checkpoint.conditioner.tokens(here), self.checkpoint.conditioner.tokens(there))
            for here, there in zip(task.source_prompts, task.target_prompts, strict=True)
        ]
        same = all(len(here.spans) == len(there.spans) for here, there in pairs)
        found = [(word_replacement if same else prompt_refinement)(*pair) for pair in pairs]
        if any(not np.array_equal(each.matrix, found[0].matrix) for each in found):
            raise ValueError("The prompts of a task are of several forms; ask for one.")
        return found[0]

"""The methods of `ddib translate` that edit: one model, told one thing and then another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from ddib_jax.bridge import DDIB
from ddib_jax.cli.crossing import Crossing
from ddib_jax.cli.free_control import (
    ONE_MODEL,
    PROMPTS,
    CtrlXOptions,
    FreeControlOptions,
    edited,
)
from ddib_jax.cli.models import Models
from ddib_jax.cli.prepared import Prepared
from ddib_jax.conditioning import Prompts
from ddib_jax.editing import (
    LocalBlend,
    MasaCtrl,
    NullTextEdit,
    Objects,
    Pix2PixZero,
    PlugAndPlay,
    PromptToPrompt,
    RegularisedInversion,
    edit_direction,
    equaliser,
    masactrl,
    negative_prompt,
    null_text,
    plug_and_play,
    prompt_refinement,
    prompt_to_prompt,
    tokens_of,
    word_replacement,
)
from ddib_jax.options import Count, NonNegative, Positive
from ddib_jax.solvers import EULER, get_solver
from ddib_jax.text import Tokens


@dataclass(frozen=True)
class PlugAndPlayOptions:
    """Plug-and-Play: the source's features and attention, and the target's prompt."""

    title: ClassVar[str] = "Plug-and-Play"
    takes: ClassVar[tuple[str, ...]] = (*ONE_MODEL, *PROMPTS)
    features_until: Positive = plug_and_play.FEATURES_UNTIL
    """The noise level at which the source's features end."""
    attention_until: Positive = plug_and_play.ATTENTION_UNTIL
    """The noise level at which the source's attention ends."""

    def prepare(self, models: Models, crossing: Crossing) -> Prepared:
        """The model under both prompts."""
        ends = models.both(crossing)
        coupling = PlugAndPlay.of(ends[1].model, attention_until=self.attention_until)
        return edited(ends, coupling, self.features_until)


@dataclass(frozen=True)
class PromptToPromptOptions:
    """Prompt-to-Prompt: words are changed, and each keeps its place in the picture."""

    title: ClassVar[str] = "Prompt-to-Prompt"
    takes: ClassVar[tuple[str, ...]] = (*ONE_MODEL, *PROMPTS)
    edit: Literal["auto", "replace", "refine"] = "auto"
    """Words replaced one by one, or a prompt refined, with words added or left out; auto: replaced
    where both prompts have as many.
    """
    reweight: Annotated[
        tuple[str, ...],
        tyro.conf.arg(metavar="WORD=FACTOR ...", help_behavior_hint="(default: none)"),
    ] = ()
    """How many times as much of the target's attention these words of its prompt get."""
    blend: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="WORD ...", help_behavior_hint="(default: none)")
    ] = ()
    """Change the picture only where this word of the source's prompt is, or the second one of the
    target's.
    """
    cross_until: Positive = prompt_to_prompt.CROSS_UNTIL
    """The noise level at which the source's attention to words ends."""
    self_until: Positive = prompt_to_prompt.SELF_UNTIL
    """The noise level at which the source's attention to the picture itself ends."""
    clamp: bool = False
    """Set the source's row back on the path of its encoding at every level (direct inversion), for
    solvers that do not lead back exactly.
    """

    def prepare(self, models: Models, crossing: Crossing) -> Prepared:
        """The model under both prompts, with their words aligned."""
        ends = models.both(crossing)
        source, target = _prompts(models, self.title)
        align = word_replacement
        if self.edit == "refine" or (
            self.edit == "auto" and len(source.spans) != len(target.spans)
        ):
            align = prompt_refinement
        model = ends[1].model
        blend = None
        if self.blend:
            blend = LocalBlend.of(model, *_tokens_of("blend", self.blend, models, self.title))
        coupling = PromptToPrompt.of(
            model,
            align(source, target),
            factors=equaliser(dict(map(_factor, self.reweight)), target),
            cross_until=self.cross_until,
            self_until=self.self_until,
            blend=blend,
        )
        return edited(ends, coupling, None, clamp=self.clamp)


@dataclass(frozen=True)
class Pix2PixZeroOptions:
    """pix2pix-zero: the target attends to its words where the source does, by an energy.

    With sentences for both sides no target prompt is needed: their mean difference is added to the
    source's prompt.
    """

    title: ClassVar[str] = "pix2pix-zero"
    takes: ClassVar[tuple[str, ...]] = (*ONE_MODEL, *PROMPTS)
    attention_weight: NonNegative = 1.0
    """Weight of the energy, the squared difference of the attention to words."""
    edit_from: Annotated[Path | None, tyro.conf.arg(metavar="FILE.txt")] = None
    """Sentences with the source's word, one a line."""
    edit_to: Annotated[Path | None, tyro.conf.arg(metavar="FILE.txt")] = None
    """Sentences with the target's word, one a line."""
    regularise: bool = False
    """Encode as the paper does: at every step the predicted noise is led towards white noise. The
    source then comes back with an error.
    """

    def prepare(self, models: Models, crossing: Crossing) -> Prepared:
        """The model under the source's prompt and the edited one."""
        if (self.edit_from is None) != (self.edit_to is None):
            raise ValueError("An edit leads from sentences to sentences; give both files.")
        if self.edit_from is None or self.edit_to is None:
            source, target = models.both(crossing)
        else:
            if models.target_prompt is not None:
                raise ValueError(
                    "The edit is that of the sentences; leave the target prompt out, or the files."
                )
            models = replace(models, target_prompt=models.source_prompt)
            source, target = models.both(crossing)
            sentences = (_sentences(path) for path in (self.edit_from, self.edit_to))
            direction = edit_direction(_conditioner(models, self.title), *sentences)
            moved = jax.tree.map(jnp.add, target.model.cond, direction)
            target = target.under(moved)
        coupling = Pix2PixZero.of(target.model, weight=self.attention_weight)
        if self.regularise:
            method = RegularisedInversion(source, target, coupling)
            return Prepared(source.model.image_shape, method, source)
        return edited((source, target), coupling, None)


@dataclass(frozen=True)
class MasaCtrlOptions:
    """MasaCtrl: the target's layout, out of what the source's picture looks like."""

    title: ClassVar[str] = "MasaCtrl"
    takes: ClassVar[tuple[str, ...]] = (*ONE_MODEL, *PROMPTS)
    attention_below: Positive = masactrl.BELOW
    """The noise level from which on the target attends to the source's picture."""
    object: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="WORD ...", help_behavior_hint="(default: none)")
    ] = ()
    """Let the object that this word of the source's prompt names, or the second one of the
    target's, be made of the source's object alone, and the background of the background.
    """

    def prepare(self, models: Models, crossing: Crossing) -> Prepared:
        """The model under both prompts."""
        ends = models.both(crossing)
        model, objects = ends[1].model, None
        if self.object:
            objects = Objects.of(model, *_tokens_of("object", self.object, models, self.title))
        coupling = MasaCtrl.of(model, below=self.attention_below, objects=objects)
        return edited(ends, coupling, None)


@dataclass(frozen=True)
class NegativePromptOptions:
    """Negative-prompt inversion: DDIB, its decoding guided away from the source's own prompt."""

    title: ClassVar[str] = "Negative-prompt inversion"
    takes: ClassVar[tuple[str, ...]] = tuple(
        name for name in (*ONE_MODEL, *PROMPTS) if name != "target_negative"
    )

    def prepare(self, models: Models, crossing: Crossing) -> Prepared:
        """The model under both prompts."""
        source, target = replace(models, target_guidance=None).both(crossing)
        guidance = negative_prompt(source.model, scale=_scale(models))
        target = replace(target, model=target.model.guided(guidance))
        return Prepared(source.model.image_shape, DDIB(source, target), target)


@dataclass(frozen=True)
class NullTextOptions:
    """Null-text inversion: the null prompt is optimised, level by level, to lead back to the image.

    It goes by Euler's steps (--solver ddim).
    """

    title: ClassVar[str] = "Null-text inversion"
    takes: ClassVar[tuple[str, ...]] = (*ONE_MODEL, *PROMPTS)
    null_steps: Count = null_text.STEPS
    """Steps of Adam at each noise level."""

    def prepare(self, models: Models, crossing: Crossing) -> Prepared:
        """The model under both prompts, without guidance until its null is found."""
        if get_solver(crossing.solver) != EULER:
            raise ValueError(f"{self.title} optimises Euler's steps; add --solver ddim.")
        conditioner = _conditioner(models, self.title)
        negative = models.target_negative
        null = (conditioner if negative is None else conditioner.away_from(negative)).null
        plain = replace(models, target_guidance=None, target_negative=None)
        source, target = plain.both(crossing)
        method = NullTextEdit(source, target, null, _scale(models), steps=self.null_steps)
        return Prepared(source.model.image_shape, method, source)


def _conditioner(models: Models, title: str) -> Prompts:
    """What makes conditions of prompts for the model; ValueError where it is told none."""
    conditioner = models.opened(str(models.model)).conditioner
    if not isinstance(conditioner, Prompts):
        raise ValueError(
            f"{title} works on prompts; give --source-prompt and --target-prompt, to a model that"
            " is told texts."
        )
    return conditioner


def _prompts(models: Models, title: str) -> tuple[Tokens, Tokens]:
    """The tokens of both prompts; ValueError where the model is told none."""
    conditioner = _conditioner(models, title)
    source, target = models.source_prompt or "", models.target_prompt or ""
    return conditioner.tokens(source), conditioner.tokens(target)


def _tokens_of(
    option: str, words: Sequence[str], models: Models, title: str
) -> tuple[np.ndarray, np.ndarray]:
    """1 at the tokens of a word in the source's prompt, and of it or a second in the target's."""
    if len(words) > 2:
        raise ValueError(
            f"--{option} takes a word of the source's prompt and one of the target's, not"
            f" {len(words)} words."
        )
    source, target = _prompts(models, title)
    return tokens_of(words[0], source), tokens_of(words[-1], target)


def _scale(models: Models) -> float:
    """The guidance asked for, or the papers'."""
    return null_text.SCALE if models.target_guidance is None else models.target_guidance


def _factor(word: str) -> tuple[str, float]:
    """A word and its factor, out of WORD=FACTOR."""
    name, _, factor = word.rpartition("=")
    try:
        return name, float(factor)
    except ValueError as error:
        raise ValueError(f"Write WORD=FACTOR, such as red=2, not '{word}'.") from error


def _sentences(path: Path) -> list[str]:
    """The lines of a file that say something."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path} with sentences.")
    lines = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{path} holds no sentence; write one a line.")
    return lines


EDITING: dict[str, type] = {
    "freecontrol": FreeControlOptions,
    "pnp": PlugAndPlayOptions,
    "p2p": PromptToPromptOptions,
    "pix2pix-zero": Pix2PixZeroOptions,
    "masactrl": MasaCtrlOptions,
    "ctrl-x": CtrlXOptions,
    "negative-prompt": NegativePromptOptions,
    "null-text": NullTextOptions,
}
"""Name -> the options of a method that edits."""

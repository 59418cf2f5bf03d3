"""Control by an image in `ddib translate`, and what all methods that edit have in common."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import tyro

from ddib_jax.bridge import DDIB, Bridge, Coupling
from ddib_jax.cli.arguments import OptionalText
from ddib_jax.cli.crossing import Crossing, read_inputs
from ddib_jax.cli.models import Models
from ddib_jax.cli.prepared import Prepared
from ddib_jax.conditioning import Prompts
from ddib_jax.editing import (
    CtrlX,
    DirectInversion,
    FreeControl,
    Further,
    constant,
    ctrl_x,
    free_control,
    kick,
    load_bases,
    tokens_of,
    warmed_up,
)
from ddib_jax.options import NonNegative, Positive, Text, Whole, Within
from ddib_jax.perturbations import FRESH_NOISE, PERTURBATIONS
from ddib_jax.translation.batching import costlier

ONE_MODEL = (
    "model",
    "source_class",
    "target_class",
    "target_guidance",
    "target_negative",
    "image_size",
)
PROMPTS = ("source_prompt", "target_prompt")


def edited(
    ends: tuple[Bridge, Bridge],
    coupling: Coupling,
    until: float | None,
    *,
    fresh: bool = False,
    clamp: bool = False,
) -> Prepared:
    """A coupled DDIB of one model, ready for images.

    fresh: the target starts from noise in place of the source's latent. clamp: the source's row is
    the path of its encoding.
    """
    source, target = ends
    if clamp:
        direct = DirectInversion(source, target, coupling, until)
        return Prepared(source.model.image_shape, direct, costlier(source, target))
    perturb = FRESH_NOISE if fresh else PERTURBATIONS["none"]
    ddib = DDIB(source, target, perturb=perturb, coupling=coupling, until=until, denoised=fresh)
    ddib.check()
    return Prepared(source.model.image_shape, ddib, costlier(source, target))


@dataclass(frozen=True)
class FreeControlOptions:
    """FreeControl: the structure of a condition image (edges, depth, a photograph), and a prompt.

    It needs bases of what the prompt asks for (`ddib bases`).
    """

    title: ClassVar[str] = "FreeControl"
    takes: ClassVar[tuple[str, ...]] = ONE_MODEL
    bases: Annotated[Path | None, tyro.conf.arg(metavar="FILE.npz")] = None
    """Semantic bases of the model, by `ddib bases`."""
    condition_prompt: OptionalText = None
    """What the condition image shows, in words: "a depth map of a cat"; "" says nothing."""
    prompt: OptionalText = None
    """What the translation shall show, in words."""
    concept: Annotated[str | None, tyro.conf.arg(metavar="WORDS|none")] = None
    """Words of the condition's prompt whose place alone is controlled; unless given, the whole
    picture is, its background too.
    """
    also: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="IMAGE ...", help_behavior_hint="(default: none)")
    ] = ()
    """Further condition images, each a file or the first image of a data set, whose structure the
    translation has as well; what they say of each of them is a word or number for each.
    """
    also_prompt: Annotated[
        tuple[str, ...],
        Text,
        tyro.conf.arg(metavar="TEXT ...", help_behavior_hint="(default: the condition's prompt)"),
    ] = ()
    """What each of them shows, in words."""
    also_concept: Annotated[
        tuple[str, ...],
        Text,
        tyro.conf.arg(metavar="WORDS ...", help_behavior_hint="(default: the whole picture)"),
    ] = ()
    """Words of each one's prompt whose place alone it controls; "" is the whole picture."""
    also_weight: Annotated[
        tuple[float, ...],
        Within(0, 1e6),
        tyro.conf.arg(metavar="FLOAT ...", help_behavior_hint="(default: 1)"),
    ] = ()
    """Weight of each one's energy, in units of that of the first."""
    also_until: Annotated[
        tuple[float, ...],
        Within(0, 1e6, above=True),
        tyro.conf.arg(metavar="FLOAT ...", help_behavior_hint="(default: as the first one's)"),
    ] = ()
    """The noise level at which each one's control ends."""
    start: Literal["noise", "image"] = "noise"
    """Start from noise, for a picture that shares the structure alone, or from the image's latent,
    for one that looks like it, too.
    """
    structure: NonNegative = free_control.STRUCTURE
    """Weight of the structure's energy."""
    appearance: NonNegative = free_control.APPEARANCE
    """Weight of the appearance's energy, which holds the picture to what it would be without
    control, in units of that of structure; 0 leaves it out, and a row of the computation with it.
    """
    structure_until: Positive = free_control.UNTIL
    """The noise level at which control ends."""
    longest: Positive = 1.0
    """How far control may move the denoised picture at most, in units of the noise that is taken
    away.
    """
    form: Literal["drift", "kick"] = "drift"
    """Control as a part of the ODE, or as a kick after every step as in the published code, whose
    sum grows with the number of steps (for --solver ddim).
    """
    warm_up: Whole = 0
    """Steps over which control sets in."""

    def prepare(self, models: Models, crossing: Crossing) -> Prepared:
        """The model under both prompts, with the bases."""
        if self.bases is None or models.model is None:
            raise ValueError(
                f"{self.title} needs a model (--model) and bases of it (--bases), which `ddib"
                " bases` makes."
            )
        models = replace(models, source_prompt=self.condition_prompt, target_prompt=self.prompt)
        checkpoint = models.opened(str(models.model))
        bases = load_bases(self.bases, model=checkpoint.fingerprint)
        ends = models.both(crossing)
        sigmas = ends[1].sigmas
        weights = constant(self.structure)
        if self.form == "kick":
            weights = kick(self.structure, sigmas)
        if self.warm_up:
            weights = warmed_up(weights, sigmas, self.warm_up)
        coupling = FreeControl.of(
            ends[1].model,
            bases,
            structure=weights,
            concept=_concept(self.concept, self.condition_prompt, checkpoint.conditioner),
            further=self._further(ends[0], checkpoint.conditioner),
            ends=self.structure_until,
            appearance=self.appearance or None,
            longest=self.longest,
        )
        until = min((self.structure_until, *self.also_until))
        return edited(ends, coupling, until, fresh=self.start == "noise")

    def _further(self, source: Bridge, conditioner: Any) -> list[Further]:
        """The further condition images, encoded under their prompts."""
        for name in ("also_prompt", "also_concept", "also_weight", "also_until"):
            said = len(getattr(self, name))
            if said not in (0, len(self.also)):
                raise ValueError(
                    f"--{name.replace('_', '-')} is of every further condition image (--also):"
                    f" {said} are given for {len(self.also)} images."
                )
        shape, found = source.model.image_shape, []
        for number, name in enumerate(self.also):
            own = lambda given, default, number=number: given[number] if given else default
            prompt = own(self.also_prompt, self.condition_prompt)
            bridge = source
            if self.also_prompt:
                if not isinstance(conditioner, Prompts):
                    raise ValueError(
                        f"{self.title} of a model of classes has one class for all of its condition"
                        " images; leave --also-prompt out."
                    )
                cond = jax.tree.map(lambda leaf: leaf[0], conditioner([prompt]))
                bridge = source.under(cond)
            image = read_inputs([name], shape, split="test", limit=1)[1][0]
            further = Further.of(
                bridge,
                image,
                concept=_concept(own(self.also_concept, "") or None, prompt, conditioner),
                weight=own(self.also_weight, 1.0),
                until=own(self.also_until, self.structure_until),
            )
            found.append(further)
        return found


@dataclass(frozen=True)
class CtrlXOptions:
    """Ctrl-X: the structure of an image and a prompt, by features alone, without inversion.

    It starts from noise.
    """

    title: ClassVar[str] = "Ctrl-X"
    takes: ClassVar[tuple[str, ...]] = (*ONE_MODEL, *PROMPTS)
    control_until: Positive = ctrl_x.UNTIL
    """The noise level at which control ends."""
    appearance_image: Annotated[str | None, tyro.conf.arg(metavar="IMAGE|none")] = None
    """An image whose appearance is taken: a file, or a data set, whose first image is; unless
    given, that of the picture that would be without control.
    """

    def prepare(self, models: Models, crossing: Crossing) -> Prepared:
        """The model under both prompts."""
        source, target = models.both(crossing)
        shape, shown = target.model.image_shape, None
        if self.appearance_image is not None:
            shown = read_inputs([self.appearance_image], shape, split="test", limit=1)[1][0]
        method = CtrlX.of(source.model, target, until=self.control_until, shown=shown)
        return Prepared(shape, method, target)


def _concept(words: str | None, prompt: str | None, conditioner: Any) -> Any:
    """1 at the tokens of a concept; None without one."""
    if words is None:
        return None
    if not isinstance(conditioner, Prompts) or prompt is None:
        raise ValueError(
            "A concept is words of the condition's prompt; give --condition-prompt, to a model"
            " that is told texts."
        )
    return jnp.asarray(tokens_of(words, conditioner.tokens(prompt)))

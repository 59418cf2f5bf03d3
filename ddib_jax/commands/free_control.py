"""FreeControl among the methods of `ddib translate`, and what all that edit have in common."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import jax.numpy as jnp
import tyro

from ddib_jax.bridge import DDIB, Bridge, Coupling
from ddib_jax.commands.arguments import OptionalText
from ddib_jax.commands.batching import costlier
from ddib_jax.commands.crossing import Crossing
from ddib_jax.commands.models import Models
from ddib_jax.commands.prepared import Prepared
from ddib_jax.conditioning import Prompts
from ddib_jax.editing import (
    DirectInversion,
    FreeControl,
    constant,
    free_control,
    kick,
    load_bases,
    tokens_of,
    warmed_up,
)
from ddib_jax.options import NonNegative, Positive, Whole
from ddib_jax.perturbations import parse_perturbation

ONE_MODEL = (
    "model",
    "source_class",
    "target_class",
    "target_guidance",
    "target_negative",
    "image_size",
)


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
    perturb = parse_perturbation(("slerp-noise=1",) if fresh else ("none",), ())
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
            concept=self._concept(checkpoint.conditioner),
            appearance=self.appearance or None,
            longest=self.longest,
        )
        return edited(ends, coupling, self.structure_until, fresh=self.start == "noise")

    def _concept(self, conditioner: Any) -> Any:
        """1 at the tokens of the concept; None without one."""
        if self.concept is None:
            return None
        if not isinstance(conditioner, Prompts) or self.condition_prompt is None:
            raise ValueError(
                "A concept is words of the condition's prompt; give --condition-prompt, to a model"
                " that is told texts."
            )
        return jnp.asarray(tokens_of(self.concept, conditioner.tokens(self.condition_prompt)))

"""The models of a translation: those of source and target, and what each is told."""

import functools
from dataclasses import dataclass
from pathlib import Path

from ddib_jax import pretrained
from ddib_jax.bridge import Bridge, check_meeting
from ddib_jax.cli.arguments import ImageSize, OptionalClassName, OptionalText
from ddib_jax.cli.conditions import Condition, size_of
from ddib_jax.cli.crossing import Crossing
from ddib_jax.options import OptionalModelName, OptionalPortion, OptionalSigned
from ddib_jax.pretrained import Checkpoint


@dataclass(frozen=True)
class Models:
    """The models of both domains, their classes and the guidance towards these."""

    source: OptionalModelName = None
    """The model of the images' domain: a path (model directory, diffusers folder, guided-diffusion
    .pt), hf:owner/name, or a shipped model.
    """
    target: OptionalModelName = None
    """The model of the domain to translate into."""
    model: OptionalModelName = None
    """One conditional model in place of both, with a class or a prompt to encode and one to decode
    by.
    """
    source_class: OptionalClassName = None
    """The class of the images, by name or number, where the source model has classes."""
    target_class: OptionalClassName = None
    """The class to translate into, where the target model has classes."""
    source_prompt: OptionalText = None
    """What the images show, in words, where the source model is told a text; "" says nothing."""
    target_prompt: OptionalText = None
    """What to translate into, in words, where the target model is told a text."""
    source_guidance: OptionalSigned = None
    """Scale of the guidance towards the source class or prompt while encoding; guide both alike if
    a cycle is to close.
    """
    target_guidance: OptionalSigned = None
    """Scale of the guidance towards the target class or prompt while decoding."""
    source_negative: OptionalText = None
    """A prompt that encoding is guided away from."""
    target_negative: OptionalText = None
    """A prompt that decoding is guided away from."""
    guidance_rescale: OptionalPortion = None
    """How far classifier-free guidance, of whichever model has one, is scaled back to the contrast
    of the condition alone (Lin et al. 2023); 0.7 is usual where a high scale overexposes.
    """
    source_classifier: Path | None = None
    """A classifier of noisy images that guides encoding (guided-diffusion's .pt with its flags
    beside it).
    """
    target_classifier: Path | None = None
    """A classifier of noisy images that guides decoding."""
    image_size: ImageSize = ()
    """Height and width of a latent model's images, or one number for both."""

    def both(self, crossing: Crossing) -> tuple[Bridge, Bridge]:
        """The bridges of source and target; ValueError where a model is missing or they differ."""
        if (self.model is None) == (self.source is None and self.target is None):
            raise ValueError("Name a source and a target model, or one conditional model for both.")
        source, target = self.source or self.model, self.target or self.model
        if source is None or target is None:
            raise ValueError(f"Name the {'source' if source is None else 'target'} model too.")
        self._check_rescale(self.source_guidance, self.target_guidance)
        encoder, decoder = self.opened(source), self.opened(target)
        source_model = self._source_condition.model(encoder)
        target_model = self._target_condition.model(decoder)
        check_meeting(source_model, target_model)
        return crossing.bridge(source_model), crossing.bridge(target_model)

    def target_alone(self, method: str, crossing: Crossing) -> Bridge:
        """The target's bridge, for a method without a source; ValueError where it is missing."""
        name = self.target or self.model
        if self.target is not None and self.model is not None:
            raise ValueError(f"{method} has one model; name it as --target alone.")
        if name is None:
            raise ValueError(f"{method} needs the target model.")
        self._check_rescale(self.target_guidance)
        return crossing.bridge(self._target_condition.model(self.opened(name)))

    def marks(self) -> tuple[str, str]:
        """The marks of both models and their conditions, as of `Condition.mark`."""
        source, target = (
            self.opened(str(name or self.model)) for name in (self.source, self.target)
        )
        return self._source_condition.mark(source), self._target_condition.mark(target)

    def opened(self, name: str) -> Checkpoint:
        """The checkpoint of a name, found once."""
        if name not in self._found:
            self._found[name] = pretrained.open(name, image_size=size_of(self.image_size))
        return self._found[name]

    def _check_rescale(self, *scales: float | None) -> None:
        """Raise ValueError for a rescale where no model is guided."""
        if self.guidance_rescale is not None and set(scales) == {None}:
            raise ValueError(
                "There is no guidance that could be rescaled; give its scale too"
                " (--target-guidance), or leave --guidance-rescale out."
            )

    @functools.cached_property
    def _found(self) -> dict[str, Checkpoint]:
        return {}

    @property
    def _source_condition(self) -> Condition:
        return Condition(
            self.source_class,
            self.source_prompt,
            self.source_guidance,
            self.source_negative,
            None if self.source_guidance is None else self.guidance_rescale,
            self.source_classifier,
        )

    @property
    def _target_condition(self) -> Condition:
        return Condition(
            self.target_class,
            self.target_prompt,
            self.target_guidance,
            self.target_negative,
            None if self.target_guidance is None else self.guidance_rescale,
            self.target_classifier,
        )

"""The methods of `ddib translate`: for each its options, and the translator that they make."""

from collections.abc import Iterable
from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, ClassVar

import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Float

from ddib_jax import pretrained
from ddib_jax.baselines import ILVR, SDEdit
from ddib_jax.bridge import DDIB, Coupling, EitherContrast, parse_coupling
from ddib_jax.bridge.couplings import COUPLINGS, Linear, Resized
from ddib_jax.cli.crossing import Crossing, read_inputs
from ddib_jax.cli.editing import EDITING
from ddib_jax.cli.models import Models
from ddib_jax.cli.pixels import source_scale, target_scale
from ddib_jax.cli.prepared import Method, Prepared
from ddib_jax.data.scale import Scale
from ddib_jax.distillation import load_student
from ddib_jax.gan import CycleGAN
from ddib_jax.options import (
    Count,
    NonNegative,
    OptionalPortion,
    OptionalPositive,
    Positive,
)
from ddib_jax.perturbations import needs, parse_perturbation
from ddib_jax.translation import align
from ddib_jax.translation.batching import costlier
from ddib_jax.types import NoiseSchedule, Perturbation

_OF_TARGET = (
    "target",
    "model",
    "target_class",
    "target_prompt",
    "target_guidance",
    "target_negative",
    "guidance_rescale",
    "target_classifier",
    "image_size",
)


_ALIGNED = 5000
"""Images of each domain that latents are aligned by, at most."""
_COUPLE = "|".join([f"{name}:{kind.argument}" for name, kind in COUPLINGS.items()] + ["none"])


@dataclass(frozen=True)
class CouplingOptions:
    """What of the source the target is held to while it is decoded."""

    couple: Annotated[str | None, tyro.conf.arg(metavar=_COUPLE)] = None
    """Decode both domains together, and let a part of the image be the source's: low-pass:1 keeps
    its mean colour, low-pass:3 broad shades too, high-pass:3 its fine structure, mask:FILE what
    is white there, inject:bottleneck what the network makes of it.
    """
    until: OptionalPositive = None
    """The noise level at which the coupling ends: the higher, the better the target clears the haze
    that the source's part leaves, and the less of it stays.
    """
    couple_strength: NonNegative = 1.0
    """How far the coupling holds: 1 wholly, 0 not at all."""

    def coupling(self, shape: tuple[int, ...]) -> Coupling | None:
        """The coupling for data of `shape`, or None; ValueError for a wrong one."""
        if self.couple is not None:
            return parse_coupling(self.couple, shape, strength=self.couple_strength)
        if self.until is not None or self.couple_strength != 1:
            raise ValueError(
                "There is no coupling whose end or strength could be set; name one (--couple), or"
                " leave --until and --couple-strength out."
            )
        return None


@dataclass(frozen=True)
class ReferenceOptions:
    """The image that a perturbation may look at besides the one that it is applied to."""

    reference: Annotated[str | None, tyro.conf.arg(metavar="IMAGE|none")] = None
    """An image of the source's domain, for perturbations that look at another image's latent: a
    file, or a data set, whose first image is taken.
    """

    def image(
        self, shape: tuple[int, ...], perturb: Perturbation, *, scale: Scale | None = None
    ) -> Float[np.ndarray, "h w c"] | None:
        """The reference [h w c] in a model's shape and scale, or None.

        Raises ValueError where the perturbation does not look at it, and as `read_inputs`.
        """
        if self.reference is None:
            return None
        if "reference" not in needs(perturb):
            raise ValueError(
                "No perturbation looks at --reference; leave it out, or perturb by one that does"
                " (slerp-other, recolour)."
            )
        return read_inputs([self.reference], shape, split="test", limit=1, scale=scale)[1][0]


@dataclass(frozen=True)
class DDIBOptions(CouplingOptions, ReferenceOptions):
    """DDIB: two models, and the latent between them."""

    title: ClassVar[str] = "DDIB"
    takes: ClassVar[tuple[str, ...]] = tuple(Models.__dataclass_fields__)
    perturb: Annotated[
        tuple[str, ...],
        tyro.conf.arg(metavar="NAME=VALUE ...", help_behavior_hint="(default: none)"),
    ] = ()
    """Perturbations of the latent, one after the other (add-noise=0.1, keep-low=0.5 ...); an
    unknown name gives the list.
    """
    either_contrast: OptionalPositive = None
    """Translate each image or its negative, whichever the target's model denoises better at this
    noise level (2, say): for sources with light on dark and dark on light, and targets with one.
    """
    align: Annotated[
        tuple[str, ...],
        tyro.conf.arg(metavar="SOURCE TARGET", help_behavior_hint="(default: none)"),
    ] = ()
    """Align the latents with the target's by optimal transport: images of the source's domain and
    of the target's, no pairs, as folders or data sets, of which 5,000 are taken from the training
    split. Best with --switch 20. Needs the extra 'studies'.
    """

    def prepare(self, models: Models, crossing: Crossing) -> Prepared:
        """Both models on their bridges."""
        for word in self.perturb:
            if "=" not in word:
                raise ValueError(f"Say how much: write the perturbation as {word}=VALUE.")
        perturb = parse_perturbation(self.perturb or ("none",), ())
        source, target = models.both(crossing)
        shape = source.model.image_shape
        ddib = DDIB(
            source,
            target,
            perturb=perturb,
            coupling=self.coupling(source.model.data_shape),
            until=self.until,
            reference=self.image(shape, perturb, scale=source_scale(models)),
        )
        if self.align:
            ddib = self._aligned(ddib, models)
        costly = costlier(source, target)
        if self.either_contrast is not None:
            return Prepared(shape, EitherContrast(ddib, self.either_contrast), costly)
        as_it_is = self.couple is None and not (self.perturb or self.align) and ddib.alike
        film = (source, target) if as_it_is else None
        return Prepared(shape, ddib, costly, film=film)

    def _aligned(self, ddib: DDIB, models: Models) -> DDIB:
        if len(self.align) != 2:
            raise ValueError(
                "Latents are aligned by images of two domains; give --align two names, of the"
                f" source's and of the target's, not {len(self.align)}."
            )
        scales = source_scale(models), target_scale(models)
        images = [
            read_inputs(
                [name], bridge.model.image_shape, split="train", limit=_ALIGNED, scale=scale
            )[1]
            for name, bridge, scale in zip(
                self.align, (ddib.source, ddib.target), scales, strict=True
            )
        ]
        return align(ddib, *images)


@dataclass(frozen=True)
class SDEditOptions:
    """SDEdit: the target model alone, from noise of a middle level."""

    title: ClassVar[str] = "SDEdit"
    takes: ClassVar[tuple[str, ...]] = _OF_TARGET
    noise: Positive = 1.0
    """The noise level (sigma) that SDEdit starts from: the higher, the more of the target and the
    less of the source.
    """
    strength: OptionalPortion = None
    """Where SDEdit starts as a share of the model's time, as in diffusers, in place of the noise
    level: 0.75 is three quarters of it.
    """

    def prepare(self, models: Models, crossing: Crossing) -> Prepared:
        """The target model on its bridge."""
        target = models.target_alone(self.title, crossing)
        noise, (low, high) = self._level(target.model.schedule), target.model.schedule.sigma_range
        if not low < noise <= high:
            raise ValueError(
                f"The noise level {noise:g} is outside of what the model knows, {low:g} to"
                f" {high:g}."
            )
        method = SDEdit(target, jnp.asarray(noise))
        return Prepared(target.model.image_shape, method, target)

    def _level(self, schedule: NoiseSchedule) -> float:
        """The noise level to start from; ValueError where it is given twice."""
        if self.strength is None:
            return self.noise
        if self.noise != SDEditOptions.noise:
            raise ValueError("--noise and --strength both say where SDEdit starts; leave one out.")
        low, high = schedule.time(jnp.asarray(schedule.sigma_range))
        return float(schedule.sigma(low + self.strength * (high - low)))


@dataclass(frozen=True)
class ILVROptions:
    """ILVR: the target model alone, with the source's low frequencies."""

    title: ClassVar[str] = "ILVR"
    takes: ClassVar[tuple[str, ...]] = _OF_TARGET
    factor: Count = 4
    """How many times ILVR shrinks the source before it holds the translation to it: the higher, the
    less of the source.
    """

    def prepare(self, models: Models, crossing: Crossing) -> Prepared:
        """The target model on its bridge."""
        target = models.target_alone(self.title, crossing)
        method = ILVR(target, Linear(Resized(self.factor), kick=True))
        method.coupling.check(target.model.data_shape)
        return Prepared(target.model.image_shape, method, target)


@dataclass(frozen=True)
class CycleGANOptions:
    """CycleGAN: as --model a generator that `ddib train-cyclegan` wrote (OUT/ab or OUT/ba)."""

    title: ClassVar[str] = "CycleGAN"
    takes: ClassVar[tuple[str, ...]] = ("model",)

    def prepare(self, models: Models, crossing: Crossing) -> Prepared:
        """The generator."""
        if models.model is None:
            raise ValueError(f"{self.title} needs a generator as --model.")
        checkpoint = pretrained.open(models.model)
        params, network = pretrained.load_network(checkpoint.path, "generator")
        method = CycleGAN(params, network=network)
        shape = tuple(checkpoint.facts["image_shape"])
        return Prepared(shape, method, None)


@dataclass(frozen=True)
class StudentOptions:
    """Student: as --model what `ddib distill` wrote, one evaluation in place of two ODEs."""

    title: ClassVar[str] = "Student"
    takes: ClassVar[tuple[str, ...]] = ("model",)

    def prepare(self, models: Models, crossing: Crossing) -> Prepared:
        """The network."""
        if models.model is None:
            raise ValueError(f"{self.title} needs a distilled network as --model.")
        checkpoint = pretrained.open(models.model)
        shape = tuple(checkpoint.facts["image_shape"])
        return Prepared(shape, load_student(checkpoint.path), None)


METHODS: dict[str, type[Method]] = {
    "ddib": DDIBOptions,
    "sdedit": SDEditOptions,
    "ilvr": ILVROptions,
    "cyclegan": CycleGANOptions,
    "student": StudentOptions,
    **EDITING,
}
"""Name -> the options of a method, which make it."""


def options_of(names: Iterable[str]) -> type:
    """A dataclass of the options of methods, a group for each by its name, with _ for -."""
    fields = [
        (
            name.replace("-", "_"),
            Annotated[
                METHODS[name], tyro.conf.OmitArgPrefixes, tyro.conf.arg(name=METHODS[name].title)
            ],
            field(default_factory=METHODS[name]),
        )
        for name in names
    ]
    return make_dataclass("MethodOptions", fields, frozen=True)


MethodOptions = options_of(METHODS)
"""The options of all methods."""

"""Edits that look at the source's whole encoding first: direct and null-text inversion."""

from dataclasses import replace

from flax import struct

from ddib_jax.bridge import Bridge, Coupling, as_floats, decode_coupled
from ddib_jax.editing.direct_inversion import Clamped
from ddib_jax.editing.null_text import RATE, SCALE, STEPS, null_text_inversion
from ddib_jax.types import Cond, Data, Keys, Scalar


@struct.dataclass
class DirectInversion:
    """A coupled DDIB whose source's row is set back on its path at every level (Ju et al. 2024).

    A `Translator`. source, target: bridges of one model under two conditions. until: the noise
    level at which the coupling ends; None: it lasts to the end.
    """

    source: Bridge
    target: Bridge
    coupling: Coupling
    until: Scalar | float | None = None

    def __call__(self, keys: Keys, image: Data) -> Data:
        """Images [b h w c] in [-1, 1] -> edited ones [b h w c]; keys [b] are not used."""
        clamped = Clamped.of(self.coupling, self.source, image)
        latent = clamped.path[-1] / self.source.scale
        solution = decode_coupled(clamped, self.source.model, self.target, latent, until=self.until)
        return self.target.model.to_image(solution.y)

    def given(self, source: Cond, target: Cond) -> "DirectInversion":
        """This edit with its bridges under conditions; None leaves one under its own."""
        return replace(self, source=self.source.under(source), target=self.target.under(target))


@struct.dataclass
class NullTextEdit:
    """Null-text inversion (Mokady et al. 2023), and the target's prompt under its null conditions.

    A `Translator`. source, target: bridges of one model under two conditions, without guidance, by
    Euler's method on one grid. null: the condition that the optimisation starts from, that of ""
    as a rule. scale: of the guidance. steps, rate: of Adam, at every level. Under the source's own
    condition it gives the source back, as far as the optimisation came.
    """

    source: Bridge
    target: Bridge
    null: Cond
    scale: Scalar | float = SCALE
    rate: Scalar | float = RATE
    steps: int = struct.field(pytree_node=False, default=STEPS)

    def __call__(self, keys: Keys, image: Data) -> Data:
        """Images [b h w c] in [-1, 1] -> edited ones [b h w c]; keys [b] are not used."""
        image = as_floats(image, "images")
        found = null_text_inversion(
            self.source, image, null=self.null, scale=self.scale, steps=self.steps, rate=self.rate
        )
        target = replace(self.target, model=self.target.model.guided(found.guidance))
        return target.decode(self.source.encode(image))

    def given(self, source: Cond, target: Cond) -> "NullTextEdit":
        """This edit with its bridges under conditions; None leaves one under its own."""
        return replace(self, source=self.source.under(source), target=self.target.under(target))

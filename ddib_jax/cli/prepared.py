"""What a method of `ddib translate` becomes before it is called with images."""

from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.cli.crossing import Crossing
from ddib_jax.cli.models import Models
from ddib_jax.types import Translator


class Prepared(NamedTuple):
    """A method ready for images.

    shape: that of one image, [h w c]. translator: what is called with images. bridge: what a
    batch is measured with, None where none is. film: source and target, of a way through a latent
    that can be shown, or None.
    """

    shape: tuple[int, ...]
    translator: Translator
    bridge: Bridge | None
    film: tuple[Bridge, Bridge] | None = None

    @property
    def result_shape(self) -> tuple[int, ...]:
        """That of one translation, [h w c]."""
        if isinstance(self.translator, DDIB):
            return self.translator.target.model.image_shape
        return self.shape


@runtime_checkable
class Method(Protocol):
    """The options of one method of `ddib translate`."""

    title: ClassVar[str]
    takes: ClassVar[tuple[str, ...]]
    """The fields of `Models` that the method has a use for."""

    def prepare(self, models: Models, crossing: Crossing) -> Prepared:
        """The method with its models loaded; raises ValueError for what does not go together."""
        ...

"""`ddib lab`: a page on which a latent is seen and moved."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from ddib_jax.cli.arguments import ImageSize, OptionalText
from ddib_jax.cli.conditions import size_of
from ddib_jax.lab import LOOPBACK, PORT, SHOWN, State, listen, open_lab, serve
from ddib_jax.options import Count, OptionalModelName, Within


@dataclass(frozen=True)
class Lab:
    """Open a page with an image, its latent, its translation and sliders between them."""

    images: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(
            metavar="[INPUT ...]", help_behavior_hint="(default: what the source was trained on)"
        ),
    ] = ()
    """Image files, folders of images or a data set (five, digits:3 ...) that the page offers."""
    source: OptionalModelName = None
    """The model of the images' domain: a path, hf:owner/name, or a shipped model; without any model
    the page has those of fives and sevens.
    """
    target: OptionalModelName = None
    """The model of the domain to translate into."""
    model: OptionalModelName = None
    """One conditional model in place of both; the page asks for its classes or prompts."""
    image_size: ImageSize = ()
    """Height and width of a latent model's images, or one number for both."""
    split: Literal["train", "test"] = "test"
    """Which split of a data set, or of a folder that has splits."""
    limit: Count = SHOWN
    """Offer only so many images, the first ones."""
    state: OptionalText = None
    """A state to begin with: what the address of such a page has after its question mark."""
    address: Annotated[str, tyro.conf.arg(metavar="ADDRESS")] = LOOPBACK[0]
    """Where to listen: by default for this machine alone. Elsewhere the page has a token, which the
    address that is printed holds; 0.0.0.0 is everywhere.
    """
    port: Annotated[int, Within(0, 65535)] = PORT
    """The port; 0 is any that is free."""
    host: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="NAME ...", help_behavior_hint="(default: none)")
    ] = ()
    """Further names by which browsers may call the page, where they do not use the address."""

    def run(self) -> None:
        """Load the models, then serve until the process is told to stop."""
        query = "" if self.state is None else State.from_query(self.state.lstrip("?")).to_query()
        source, target = self._names()
        with listen(self.address, self.port) as listening:
            origin = open_lab(
                source,
                target,
                words=self.images,
                split=self.split,
                limit=self.limit,
                image_size=size_of(self.image_size),
            )
            serve(origin, listening, hosts=(self.address, *self.host), query=query)

    def _names(self) -> tuple[str, str]:
        """The names of both models; ValueError where one is missing or too much."""
        if self.model is not None:
            if self.source is not None or self.target is not None:
                raise ValueError("Name a source and a target model, or one conditional model.")
            return self.model, self.model
        if self.source is None and self.target is None:
            return "five", "seven"
        if self.source is None or self.target is None:
            missing = "source" if self.source is None else "target"
            raise ValueError(f"Name the {missing} model too.")
        return self.source, self.target

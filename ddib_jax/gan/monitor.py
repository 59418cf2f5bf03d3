"""The log of a GAN's training, which also says when one of its networks stops learning."""

from collections.abc import Callable
from pathlib import Path

from ddib_jax.training import TrainingLog

_WINS = 0.01
"""A discriminator's loss below which its generator learns little from it."""
_COLLAPSED = 0.3
"""Spread of generated images, as a fraction of that of real ones, below which they are alike."""


class Monitor(TrainingLog):
    """A `TrainingLog` that also prints, each kind once, the findings in its scalars.

    findings: scalars of a step -> sentences by kind; an empty dict where all is well.
    """

    def __init__(
        self,
        directory: Path,
        findings: Callable[[dict], dict[str, str]],
        *,
        start: int,
        steps: int,
        quiet: bool = False,
    ):
        super().__init__(directory, start=start, steps=steps, quiet=quiet)
        self._findings, self._printed = findings, set()

    def write(self, step: int, scalars: dict[str, float | int]) -> None:
        """Record the scalars of a step, and print the findings that are new in them."""
        super().write(step, scalars)
        for kind, sentence in self._findings(scalars).items():
            if kind not in self._printed:
                self._printed.add(kind)
                print(f"step {step}: {sentence}", flush=True)


def imbalance(name: str, loss: float, spread: float) -> dict[str, str]:
    """Findings about the generator and the discriminator of the domain `name`, by kind.

    loss: the discriminator's. spread: standard deviation of generated images over batch and pixels,
    as a fraction of that of real ones; 0 where unknown. A loss near zero means that the
    discriminator is too strong, a small spread that the generator collapses to a few images.
    """
    findings = {}
    if loss < _WINS:
        findings[f"won {name}"] = (
            f"the discriminator of {name} wins (loss {loss:.2g}); its generator learns little from"
            " it. Lower the learning rate, or give more images."
        )
    if 0 < spread < _COLLAPSED:
        findings[f"alike {name}"] = (
            f"generated images of {name} vary {spread:.0%} as much as real ones; the generator"
            " collapses to a few of them."
        )
    return findings

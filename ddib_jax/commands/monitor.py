"""A log of a game between networks, which says when the game is lost."""

from collections.abc import Callable
from pathlib import Path

from ddib_jax.training import TrainingLog

_WON, _COLLAPSED = 0.01, 0.3
"""A discriminator's loss below which it has won, and a spread of what is made, as a share of the
real one, below which it is all alike.
"""


class Monitor(TrainingLog):
    """A training's log that also says, once each, what `findings` finds in its scalars: kind ->
    words.
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
        self._findings, self._told = findings, set()

    def write(self, step: int, scalars: dict[str, float | int]) -> None:
        """Record the scalars of a step, and say what is lost."""
        super().write(step, scalars)
        for kind, words in self._findings(scalars).items():
            if kind not in self._told:
                self._told.add(kind)
                print(f"step {step}: {words}", flush=True)


def imbalance(name: str, loss: float, spread: float) -> dict[str, str]:
    """What is lost in a game on images of `name`: by the discriminator's loss, and by how much what
    is made varies beside real images (0 where unknown).
    """
    words = {}
    if loss < _WON:
        words[f"won {name}"] = (
            f"the discriminator of {name} wins (loss {loss:.2g}); its generator learns little from"
            " it. Lower the learning rate, or give more images."
        )
    if 0 < spread < _COLLAPSED:
        words[f"alike {name}"] = (
            f"what is made of {name} varies {spread:.0%} as much as real images do; its generator"
            " collapses to a few of them."
        )
    return words

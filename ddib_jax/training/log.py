"""What a training tells while it runs: JSONL and TensorBoard scalars on disk, a live line on the
terminal.
"""

import json
import time
from pathlib import Path

from rich.console import Console

from ddib_jax.files import drafted


class TrainingLog:
    """Scalars of a training in `directory`: `log.jsonl`, one object a line, and TensorBoard event
    files.

    `start` is the step resumed from: later lines of an interrupted run are dropped, so that the log
    reads as if it had never been interrupted.
    """

    def __init__(self, directory: Path, *, start: int, steps: int, quiet: bool = False):
        from tensorboardX import (
            SummaryWriter,
        )  # here, for it takes seconds where torch is installed

        self.path, self.steps, self.quiet = directory / "log.jsonl", steps, quiet
        kept = [line for line in read_log(self.path) if line["step"] <= start]
        with drafted(directory) as draft:
            (draft / self.path.name).write_text("".join(json.dumps(line) + "\n" for line in kept))
        self._writer = SummaryWriter(str(directory / "tensorboard"), purge_step=start + 1)
        self._console = Console()
        self._step, self._time, self._said = start, time.monotonic(), 0.0

    def write(self, step: int, scalars: dict[str, float | int]) -> None:
        """Record the scalars of `step`, with the pace since the last call, and renew the line on
        the terminal.
        """
        now = time.monotonic()
        seconds, count = now - self._time, step - self._step
        self._step, self._time = step, now
        line = {"step": step, **scalars, "steps_per_second": count / seconds, "seconds": seconds}
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise OSError(
                f"{self.path} could not be written ({error.strerror}); complete checkpoints are"
                " good and stay. Is the disk full?"
            ) from error
        for name, value in line.items():
            if name != "step":
                self._writer.add_scalar(name, value, step)
        self._say(step, scalars["loss"], count / seconds, now)

    def close(self) -> None:
        """Flush the event files and end the line."""
        self._writer.close()
        if self._console.is_terminal and not self.quiet:
            self._console.print()

    def _say(self, step: int, loss: float, pace: float, now: float) -> None:
        last = step == self.steps
        if self.quiet or not (self._console.is_terminal or last or now - self._said > 30):
            return
        self._said = now
        left = time.strftime("%H:%M:%S", time.gmtime((self.steps - step) / pace))
        text = f"step {step}/{self.steps}  loss {loss:.4f}  {pace:.2f} step/s  {left} to go"
        self._console.print(text, end="\r" if self._console.is_terminal else "\n", highlight=False)


def read_log(path: str | Path) -> list[dict[str, float | int]]:
    """The lines of a `log.jsonl`; a last line cut short by a kill is left out, a missing file is
    empty.
    """
    path = Path(path)
    lines = path.read_text().splitlines() if path.exists() else []
    parsed = []
    for line in lines:
        try:
            parsed.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return parsed

"""The log of a training: JSONL and TensorBoard scalars on disk, a live line on the terminal."""

import json
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from ddib_jax.files import drafted
from ddib_jax.training.callbacks import Callback


class TrainingLog:
    """Scalars of a training in `directory`: `log.jsonl`, a JSON object a line, and TensorBoard's.

    `start` is the step resumed from: later lines of an interrupted run are dropped, so that the log
    reads as if it had never been interrupted. `steps` is where the training ends. `quiet` leaves
    the terminal alone.
    """

    def __init__(self, directory: Path, *, start: int, steps: int, quiet: bool = False):
        # Imported here, for it imports torch where that is installed, which takes seconds.
        from tensorboardX import SummaryWriter

        self.path, self.steps, self.quiet = directory / "log.jsonl", steps, quiet
        lines = [json.dumps(line) for line in read_log(self.path) if line["step"] <= start]
        with drafted(directory) as draft:
            (draft / self.path.name).write_text("".join(f"{line}\n" for line in lines))
        self._writer = SummaryWriter(str(directory / "tensorboard"), purge_step=start + 1)
        self._console = Console()
        self._step, self._time, self._shown = start, time.monotonic(), 0.0

    def every(self, steps: int) -> Callback:
        """The callback of `fit` that writes a line every so many steps."""
        return Callback(steps, lambda moment: self.write(moment.step, dict(moment.scalars)))

    def write(self, step: int, scalars: dict[str, float | int]) -> None:
        """Record the scalars of `step` and the pace since the last call; renew the terminal's line.

        Raises OSError where the log cannot be written.
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
        self._show(step, scalars["loss"], count / seconds, now)

    def close(self) -> None:
        """Flush the event files and end the line."""
        self._writer.close()
        if self._console.is_terminal and not self.quiet:
            with suppress(OSError):
                self._console.print()

    def _show(self, step: int, loss: float, pace: float, now: float) -> None:
        # A file or a pipe gets whole lines, so only one in half a minute, and the last.
        last = step == self.steps
        if self.quiet or not (self._console.is_terminal or last or now - self._shown > 30):
            return
        self._shown = now
        left = time.strftime("%H:%M:%S", time.gmtime((self.steps - step) / pace))
        text = f"step {step}/{self.steps}  loss {loss:.4f}  {pace:.2f} step/s  {left} to go"
        with suppress(OSError):  # a terminal that was closed must not cost the checkpoint
            end = "\r" if self._console.is_terminal else "\n"
            self._console.print(text, end=end, highlight=False)


def read_log(path: str | Path) -> list[dict[str, float | int]]:
    """The lines of a `log.jsonl`, none for a missing file; one cut short by a kill is left out."""
    path = Path(path)
    lines = path.read_text().splitlines() if path.exists() else []
    parsed = []
    for line in lines:
        try:
            parsed.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return parsed

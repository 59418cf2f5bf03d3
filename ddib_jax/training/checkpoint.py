"""Checkpoints of a training, through orbax: asynchronous, atomic, the last good one always there."""

import json
import shutil
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp


class Checkpoints:
    """The checkpoints in `directory`, bound to the configuration that made them.

    A run is resumed only by its own configuration: opening a directory of another one raises ValueError naming the
    fields that differ. `keep` is the number of checkpoints that stay.
    """

    def __init__(self, directory: str | Path, configuration: dict[str, Any], *, keep: int = 2):
        self.directory = Path(directory).absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        _check_configuration(self.directory / "configuration.json", configuration)
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=True)
        self._manager = ocp.CheckpointManager(self.directory / "steps", options=options)

    def restore(self, template: Any) -> Any | None:
        """The newest state, in the structure of `template`; None where there is none yet."""
        step = self._manager.latest_step()
        if step is None:
            return None
        return self._manager.restore(step, args=ocp.args.StandardRestore(template))

    def save(self, step: int, state: Any) -> None:
        """Start writing host arrays `state` as step `step`; the one before is finished first.

        Raises OSError, naming the last good step, when the disk cannot take it.
        """
        with self._reported(step):
            self._manager.wait_until_finished()
            self._manager.save(step, args=ocp.args.StandardSave(state))

    def close(self) -> None:
        """Wait for the writing and release the directory; raises as `save` does."""
        with self._reported(None):
            self._manager.wait_until_finished()
        self._manager.close()

    def delete(self) -> None:
        """Remove the directory: the training is over and its model is written."""
        self._manager.close()
        shutil.rmtree(self.directory)

    def _reported(self, step: int | None) -> "_Reported":
        return _Reported(self._manager, self.directory, step)


class _Reported:
    """Turns a failed write into one sentence that says which checkpoint is still good."""

    def __init__(self, manager: ocp.CheckpointManager, directory: Path, step: int | None):
        self.manager, self.directory, self.step = manager, directory, step

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if not isinstance(error, Exception):
            return
        self.manager.reload()
        good = self.manager.latest_step()
        kept = "no checkpoint is complete yet" if good is None else f"the checkpoint of step {good} is good and stays"
        cause = str(error).strip().splitlines()[0] if str(error).strip() else kind.__name__
        raise OSError(f"A checkpoint could not be written to {self.directory} ({cause}); {kept}. Is the disk full?") from error


def _check_configuration(path: Path, configuration: dict[str, Any]) -> None:
    wanted = json.loads(json.dumps(configuration))
    if not path.exists():
        path.write_text(json.dumps(wanted, indent=1))
        return
    found = json.loads(path.read_text())
    differing = [
        f"{field} was {found.get(field)!r}, is {wanted.get(field)!r}"
        for field in sorted(found.keys() | wanted.keys())
        if found.get(field) != wanted.get(field)
    ]
    if differing:
        raise ValueError(
            f"The training in {path.parent} was started with another configuration ({'; '.join(differing)}); "
            "train into another directory, or remove this one."
        )

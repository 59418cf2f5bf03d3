"""The run that a command writes of its own work, in OUT/run, and its page where it is asked for."""

import dataclasses
import datetime
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ddib_jax import diagnosis, parallel, runs
from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.cli.methods import Models, Prepared
from ddib_jax.diagnosis import Nearest, Passage, Recorder
from ddib_jax.pretrained import Checkpoint
from ddib_jax.report import EXPLORER, write_explorer, write_report

_LEFT_OUT = ("hosts", "options", "report")
_WORDS = {"label": "class"}


class Recording:
    """The work of one command: its clock from the start, what is kept, and where the run goes.

    Raises FileExistsError where OUT/run holds something else than a run.
    """

    def __init__(self, out: Path, command: Any):
        self.out, self._command = out, command
        self.started, self._clock = datetime.datetime.now(datetime.UTC), time.perf_counter()
        self.kept = Recorder()
        runs.check_directory(out / runs.FOLDER)

    def summary(self, count: int, did: str, *, hosts: int) -> str:
        """What was done, in how long, in words; of several hosts the run is of the first one's."""
        seconds = time.perf_counter() - self._clock
        shown = len(self.kept)
        which = f" The first {shown} of them are on this page." if shown < count else ""
        share = f" by the first of {hosts} processes" if hosts > 1 else ""
        return (
            f"{count} {did}{share} in {_span(seconds)}: {seconds / count:.2g} s each, with reading,"
            f" compiling and writing.{which}"
        )

    def write(
        self,
        name: str,
        title: str,
        contents: dict[str, Any],
        *,
        groups: Sequence[Any] = (),
        report: bool,
    ) -> None:
        """Write the run, and say where its page, its explorer, or the way to them is.

        name: of its layout. contents: metrics, tables, texts and arrays. groups: options besides
        those of the command itself.
        """
        run = runs.Run(
            name=name,
            title=title,
            config=_settings(self._command, leave_out=_LEFT_OUT)
            | {key: value for group in groups for key, value in _settings(group).items()},
            **runs.circumstances("ddib", self.started, parallel.machine()),
            **contents,
        )
        home = runs.write_run(self.out / runs.FOLDER, run)
        if name == "sweep":
            print(f"The explorer is {write_explorer(run, home / EXPLORER)}.")
        if report:
            print(f"The page is {write_report(home)}.")
        else:
            print(f"`ddib report {self.out}` makes a page of it.")


def from_to(models: Models, title: str) -> str:
    """From what to what a method of that title translates, for the title of a page."""
    source = _named(models.source or models.model, models.source_class, models.source_prompt)
    target = _named(models.target or models.model, models.target_class, models.target_prompt)
    if title == "DDIB":
        return f"From {source} to {target}"
    return f"To {target} by {title}"


def crossed(prepared: Prepared, few: np.ndarray) -> dict[str, Any]:
    """What is measured of a few images [n h w c] of a DDIB, for `translation_record`; or nothing.

    They are a film, the way back, and the codec's own error.
    """
    ddib = prepared.translator
    if not isinstance(ddib, DDIB):
        return {}
    source, _ = ddib.bridges()
    return measured(source, prepared.film[1] if prepared.film else None, few)


def measured(source: Bridge, target: Bridge | None, few: np.ndarray) -> dict[str, Any]:
    """As `crossed`; target: None where it does not simply decode the latent."""
    codec = None if source.model.codec is None else diagnosis.codec_error(source.model, few)
    passage = diagnosis.passage(source, target, few)
    return {"passage": passage, "images": few, "codec_error": codec}


def costs(method: Any) -> list[tuple[str, int]]:
    """Network evaluations an image each way, of a DDIB whose ways are solved once each."""
    if not isinstance(method, DDIB) or method.coupling is not None:
        return []
    up, down = (diagnosis.evaluations(bridge) for bridge in (method.source, method.target))
    return [
        ("Network evaluations an image, to encode", up),
        ("Network evaluations an image, to decode", down),
    ]


def film_of_samples(bridge: Bridge, noise: np.ndarray, conds: Any) -> Passage | None:
    """The film of the first of Gaussian latents [n ...], under the first of conditions [n ...]."""
    few = noise[: diagnosis.filmed(len(noise))]
    model = bridge.model
    if conds is not None:
        model = model.given(_first(conds, len(few)))
    return diagnosis.sampling(dataclasses.replace(bridge, model=model), few)


def nearest_training_images(model: Checkpoint | None, images: np.ndarray) -> Nearest | None:
    """To the first images [n h w c], those nearest of what the model was trained on.

    None where that is not known, or not at hand.
    """
    data = None if model is None else model.facts.get("data")
    return diagnosis.nearest_known(str((data or {}).get("name", "")), images)


def _first(conds: Any, count: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[:count], conds)


def _named(model: str | None, label: str | None, prompt: str | None) -> str:
    name = Path(model or "").name
    if prompt is not None:
        return f'{name}, told "{prompt}"'
    return name if label is None else f"{name}, class {label}"


def _settings(options: Any, *, leave_out: Collection[str] = ()) -> dict[str, Any]:
    """The options of a command and its groups that have a value, in one dictionary."""
    settings: dict[str, Any] = {}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if field.name in leave_out or value is None or value == ():
            continue
        if dataclasses.is_dataclass(value):
            settings |= _settings(value)
        else:
            settings[_WORDS.get(field.name, field.name)] = value
    return settings


def _span(seconds: float) -> str:
    """A span of time in words: "42 s", "3 min 12 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

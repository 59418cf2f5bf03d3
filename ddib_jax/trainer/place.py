"""Where a training writes its model, and what it notes of its data there."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

from ddib_jax import distributed
from ddib_jax.files import check_output, drafted_file, read_json


def check_place(out: Path, *, models: Sequence[str] = ("",)) -> None:
    """Raise ValueError or OSError where a training cannot write its models to the directory `out`.

    That is where it cannot be written, or holds a model, but no checkpoint of a training that made
    it: the model would be replaced. models: where within `out` they go. The first host alone looks.
    """
    if distributed.shard().index:
        return
    check_output(out)
    if any((out / "training" / "steps").glob("*[0-9]")):
        return  # which other training this may be, its configuration tells
    for model in models:
        if (out / model / "model.json").is_file():
            raise ValueError(
                f"{out / model} holds a model, and {out} no checkpoint of a training that made it"
                " and could go on; name another directory, or remove this one."
            )


def note_data(work_dir: Path, counts: Sequence[int], *, fresh: bool) -> None:
    """Note how many images each data set of a training has, and warn where that has changed.

    fresh: whether the training begins.
    """
    path = work_dir / "images.json"
    before = None if fresh or not path.is_file() else read_json(path, "numbers of images")
    if before is not None and before != list(counts):
        was, now = (" and ".join(map(str, numbers)) for numbers in (before, counts))
        warnings.warn(
            f"The data had {was} images when this training began or was last resumed, and have"
            f" {now} now: it goes on with these, not as if it had never been interrupted.",
            stacklevel=2,
        )
    if before != list(counts):
        with drafted_file(path) as draft:
            draft.write_text(json.dumps(list(counts)) + "\n")

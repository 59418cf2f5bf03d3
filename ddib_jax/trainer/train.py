"""`train`: images of one domain in, a diffusion model out."""

import dataclasses
import shutil
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from ddib_jax import distributed, pretrained
from ddib_jax.data import ImageSource, in_workers, write_unreadable
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.options import (
    Count,
    OptionalCount,
    OptionalModelName,
    Whole,
    command_line,
    defaults,
)
from ddib_jax.parallel import machine
from ddib_jax.pretrained import Checkpoint, TextEncoder
from ddib_jax.text import Tokenizer
from ddib_jax.trainer.batches import Batches
from ddib_jax.trainer.captions import (
    caption_tokenizer,
    captioned,
    first_captions,
    parted,
    text_encoder,
)
from ddib_jax.trainer.domain import Reference, data_deviation, statistics
from ddib_jax.trainer.initial import initialised, with_groups
from ddib_jax.trainer.place import check_place, note_data
from ddib_jax.trainer.preview import preview
from ddib_jax.trainer.recipe import Recipe
from ddib_jax.training import Checkpoints, Intervals, TrainingLog, TrainState, fit_resumably
from ddib_jax.training.log import read_log
from ddib_jax.types import Cond
from ddib_jax.weightings import WEIGHTINGS

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_FREE = (
    "workers",
    "stop_at",
    "sigma_min",
    "sigma_max",
    "log_every",
    "checkpoint_every",
    "preview_every",
    "float16_weights",
    "max_skipped",
    "profile",
)
"""Options that a resumed training need not share with the one it resumes."""


@dataclass(frozen=True, kw_only=True)
class Training(Recipe, Intervals):
    """A recipe, and how its training starts and runs."""

    init: OptionalModelName = None
    """Start from the weights and statistics of this model (a shipped one or a model directory)
    instead of at random.
    """
    flip: bool = False
    """Mirror half of the images left to right."""
    workers: Whole = 0
    """Processes that read and prepare batches, for a folder too large for memory; 0 for a thread of
    this process.
    """
    stop_at: OptionalCount = None
    """End at this step, before the learning rate has fallen all the way."""
    steps_per_call: Count = 1
    """Steps that run as one program; more than one hides the host's overhead of a call."""
    max_skipped: Whole = 10
    """Steps whose loss is not a number are skipped; with more than this many, the training stops.
    """
    float16_weights: bool = False
    """Store the weights as float16, in half the space."""
    profile: bool = False
    """Write a trace of some steps to OUT/training/profile, for TensorBoard or xprof."""


def train(
    source: ImageSource,
    training: Training,
    out: str | Path,
    *,
    name: str = "",
    data: Mapping[str, Any] = _NOTHING,
) -> DiffusionModel:
    """The diffusion model of a domain, trained, and written to the directory `out`.

    source: the images in training, or points (`load_dataset`). name: what error sentences and
    `model.json` call them. data: what else says where they come from (names, sizes; as JSON has
    it): a training is resumed only by one of equal options and `data`.

    Checkpoints, log and previews go to out/training; killed and called again, a training goes on
    from its newest checkpoint and ends with the same bits. Several hosts that have joined
    (`distributed.join_hosts`) call it alike and share the work.

    Raises:
        ValueError: options do not go together, or with the data; `out` holds another training.
        OSError: `out` cannot be written. BlockingIOError: another training is at work there.
        Stopped, FloatingPointError: as `training.fit` does.
    """
    out, name = Path(out), name or "the data set"
    check_place(out)
    _check(training, source, name)
    # Labels are numbers: a training goes on only where they mean what they did.
    given = {**data, **({"classes": list(source.classes)} if training.conditional else {})}
    checkpoints = Checkpoints(
        out / "training", _bound(training) | given, defaults=defaults(Training) | given
    )
    try:
        return _Session(source, training, out, name).run(checkpoints)
    finally:
        checkpoints.close()


@dataclass(frozen=True)
class _Session:
    """A training in the midst of its work."""

    source: ImageSource
    training: Training
    out: Path
    name: str

    def run(self, checkpoints: Checkpoints) -> DiffusionModel:
        training, source, work_dir = self.training, self.source, self.out / "training"
        shard = distributed.shard()
        first = shard.index == 0
        if first:
            write_unreadable(work_dir / "unreadable.txt", getattr(source, "unreadable", ()))
            note_data(work_dir, [len(source)], fresh=checkpoints.fresh)
            if checkpoints.fresh:  # what a start before this one fitted may be of other options
                (work_dir / "wiener.npz").unlink(missing_ok=True)
                shutil.rmtree(work_dir / "tokenizer", ignore_errors=True)
        initial = pretrained.open(training.init) if training.init else None
        tokenizer = self._tokenizer(initial)
        model, conds = self._model(initial, tokenizer), self._shown(tokenizer)
        tx, last = training.tx(), min(training.steps, training.stop_at or training.steps)
        batches = Batches(
            source,
            training.batch_size,
            training.seed,
            labelled=training.conditional,
            label_dropout=training.label_dropout,
            tokenizer=tokenizer,
            flip=training.flip,
            shard=shard,
        )
        # No two images need share a caption, whose average the target could be.
        reference = Reference.draw(
            source,
            0 if training.captions else training.reference,
            training.seed,
            labelled=training.conditional,
        )

        def batches_from(start: int) -> Generator[Any, None, None]:
            if training.workers:
                return in_workers(batches, start, last, training.workers)
            return (batches(step) for step in range(start, last))

        def look(path: Path, state: TrainState) -> None:
            preview(dataclasses.replace(model, params=state.ema), path, conds=conds)

        state = fit_resumably(
            jax.random.key(training.seed),
            TrainState.create(model.params, tx),
            batches_from,
            checkpoints=checkpoints,
            steps=last,
            intervals=training,
            log=partial(TrainingLog, work_dir),
            preview=look,
            grad_fn=training.grad_fn(model, self._weighting(), len(source.classes)),
            tx=tx,
            shared=(model.precondition, reference),
            ema_decay=training.ema_decay,
            steps_per_call=training.steps_per_call,
            max_skipped=training.max_skipped,
            profile=work_dir / "profile" if training.profile and first else None,
        )
        model = dataclasses.replace(model, params=state.ema)
        samples = work_dir / "samples.png"
        if first:
            preview(model, samples, conds=conds)
        encoder = None
        if tokenizer is not None:
            model, encoder = parted(model, tokenizer)
        if first:
            self._write(model, encoder, samples, initial)
        distributed.barrier("model written")
        return model

    def _tokenizer(self, initial: Checkpoint | None) -> Tokenizer | None:
        """That of the model that the training starts from, or learnt; None without captions."""
        training = self.training
        if not training.captions:
            return None
        if initial is not None:
            return text_encoder(initial).tokenizer
        folder = self.out / "training" / "tokenizer"
        return caption_tokenizer(self.source, folder, size=training.vocabulary, seed=training.seed)

    def _shown(self, tokenizer: Tokenizer | None) -> Cond:
        """The conditions [m ...] that previews show, in turn: labels, or the first captions."""
        if tokenizer is not None:
            return first_captions(self.source, tokenizer)
        labels = self._labels()
        return None if labels is None else np.arange(labels, dtype=np.int32)

    def _model(self, initial: Checkpoint | None, tokenizer: Tokenizer | None) -> DiffusionModel:
        """The model before the first step: with the weights of another one, or untrained."""
        training, shape = self.training, self.source.image_shape
        if initial is not None:
            training = with_groups(training, initial)
            model = training.untrained(
                shape, initial.model().precondition, self._labels(), tokenizer=tokenizer
            )
            return initialised(model, initial, preconditioning=training.preconditioning)
        precondition = statistics(
            training.preconditioning,
            self.source,
            rank=training.rank,
            seed=training.seed,
            work_dir=self.out / "training",
        )
        return training.untrained(shape, precondition, self._labels(), tokenizer=tokenizer)

    def _labels(self) -> int | None:
        """How many labels the network is told, the null label included; None for no classes."""
        dropped = self.training.label_dropout > 0
        return len(self.source.classes) + dropped if self.training.conditional else None

    def _weighting(self) -> Callable:
        training = self.training
        weighting = WEIGHTINGS[training.weighting]
        if training.weighting != "edm":
            return weighting()
        # EDM's weight wants the data's deviation, to which its preconditioning is fitted.
        return weighting(data_deviation(self.source, rank=training.rank, seed=training.seed))

    def _write(
        self,
        model: DiffusionModel,
        encoder: TextEncoder | None,
        samples: Path,
        initial: Checkpoint | None,
    ) -> None:
        source, work_dir = self.source, self.out / "training"
        data = {"name": self.name, "split": "train", "images": len(source)}
        lines = read_log(work_dir / "log.jsonl")
        training = {
            "command": command_line(),
            **_bound(self.training),
            "steps_done": lines[-1]["step"],
            "loss": round(float(np.nanmean([line["loss"] for line in lines[-50:]])), 5),
            "seconds": round(sum(line["seconds"] for line in lines)),
            "machine": machine(),
            "jax": jax.__version__,
        }
        if initial is not None:
            other = {"converted_from": initial.path.name}
            training["started_from"] = initial.facts.get("training", other)
        classes = {"classes": list(source.classes)} if self.training.conditional else {}
        scale = getattr(source, "scale", None)
        pixels = {} if scale is None else {"pixels": scale.to_json()}
        facts = {**classes, **pixels, "data": data, "training": training}
        dtype = "float16" if self.training.float16_weights else "float32"
        pretrained.save_model(
            self.out, model, facts=facts, dtype=dtype, samples=samples, encoder=encoder
        )
        print(f"The model lies in {self.out}.")


def _bound(training: Training) -> dict[str, Any]:
    """The options that a resumed training must share with the one it resumes."""
    names = [field.name for field in dataclasses.fields(Training) if field.name not in _FREE]
    return {name: getattr(training, name) for name in names}


def _check(training: Training, source: ImageSource, name: str) -> None:
    """Raise ValueError where options do not go together, or with the data."""
    points = len(source.image_shape) == 1
    if training.conditional and not source.classes:
        raise ValueError(
            f"'{name}' has no labels for a conditional model; give digits, a folder with"
            " one folder of images a class, or another data set that has labels."
        )
    told = training.conditional or training.captions
    if not told and training.label_dropout:
        raise ValueError(
            "Labels are dropped in a training that has some alone; add --conditional or --captions,"
            " or leave the label dropout out."
        )
    if training.captions:
        captioned(source).captions(range(1))  # a folder's are read, and refused, before any work
    if training.flip and points:
        raise ValueError(f"'{name}' has points, which are not mirrored; leave the flip out.")
    if training.remat and points:
        raise ValueError(
            f"'{name}' has points, whose network has nothing to compute anew; leave --remat out."
        )
    training.check(points=points)
    if points and len(source) < training.batch_size:
        raise ValueError(
            f"'{name}' has {len(source)} points, fewer than a batch of {training.batch_size};"
            " give more, or a smaller batch."
        )

"""`ddib train`: one domain in, one model directory out."""

import contextlib
import dataclasses
import functools
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from ddib_jax import distributed, preconditioning, pretrained
from ddib_jax.commands.arguments import (
    Count,
    DataName,
    OptionalCount,
    OptionalModelName,
    OptionalSize,
    Whole,
)
from ddib_jax.commands.distributed import Hosts, Joined
from ddib_jax.commands.domain import Batches, BatchesInOrder, Reference, data_deviation, statistics
from ddib_jax.commands.inputs import FlatReading, Reading
from ddib_jax.commands.place import check_training_place, defaults, note_data
from ddib_jax.commands.preview import preview
from ddib_jax.commands.recipe import Recipe
from ddib_jax.commands.results import write_unreadable
from ddib_jax.data import ImageSource, in_workers, load_dataset
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.distributed import Shard
from ddib_jax.parallel import machine
from ddib_jax.pretrained import Checkpoint
from ddib_jax.training import Checkpoints, TrainingLog, TrainState, fit, read_log
from ddib_jax.weightings import WEIGHTINGS

_FREE = (
    "out",
    "data_dir",
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
    "reading",
    "hosts",
)
"""Options that a resumed run need not share with the one it resumes."""


@dataclass(frozen=True, kw_only=True)
class Train(Recipe):
    """Train a diffusion model of one domain.

    Killed and started again by the same command, it resumes.
    """

    data: DataName
    """A data set (five, seven, digits:3, mnist:1,2, tfds:cifar10 ...) or a folder of images."""
    out: Path
    """The model directory to write; checkpoints, log and previews go to OUT/training."""
    data_dir: Path | None = None
    """Where the files of a data set are that is not bundled (MNIST's IDX files, what
    tensorflow-datasets prepared).
    """
    image_size: OptionalSize = None
    """Crop and resize a folder's images to this many pixels each way."""
    crop: Literal["centre", "random"] = "centre"
    """The central square of a folder's images, or a random part of it (CycleGAN's: resized to
    286/256 of the size, then cropped).
    """
    workers: Whole = 0
    """Processes that read and prepare batches, for a folder too large for memory; 0 for a thread of
    this process.
    """
    flip: bool = False
    """Mirror half of the images left to right."""
    stop_at: OptionalCount = None
    """End at this step, before the learning rate has fallen all the way."""
    steps_per_call: Count = 1
    """Steps that run as one program; more than one hides the host's overhead of a call."""
    max_skipped: Whole = 10
    """Steps whose loss is not a number are skipped; with more than this many, the training stops.
    """
    init: OptionalModelName = None
    """Start from the weights and statistics of this model (a shipped one or a model directory)
    instead of at random.
    """
    float16_weights: bool = False
    """Store the weights as float16, in half the space."""
    log_every: Count = 20
    """Steps between lines of the log."""
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
    preview_every: Count = 500
    """Steps between previews of samples."""
    profile: bool = False
    """Write a trace of some steps to OUT/training/profile, for TensorBoard or xprof."""
    reading: FlatReading = dataclasses.field(default_factory=Reading)
    hosts: Joined = dataclasses.field(default_factory=Hosts)

    def run(self) -> None:
        """Train, with previews, and write the model directory."""
        shard = self.hosts.join(heed_sigterm=True)
        work_dir, first = self.out / "training", shard.index == 0
        check_training_place(self.out, (self.data,), first=first)
        source = load_dataset(
            self.data,
            split="train",
            directory=self.data_dir,
            image_size=self.image_size,
            crop=self.crop,
            skip_unreadable=self.reading.skip_unreadable,
            max_pixels=self.reading.max_pixels,
        )
        self._check(source)
        # Labels are numbers: a training goes on only where they mean what they did.
        meaning = {"classes": list(source.classes)} if self.conditional else {}
        checkpoints = Checkpoints(
            work_dir, self._configuration() | meaning, defaults=defaults(self) | meaning
        )
        with contextlib.ExitStack() as stack:
            stack.callback(checkpoints.close)
            self._run(source, checkpoints, stack, shard)

    def _run(
        self,
        source: ImageSource,
        checkpoints: Checkpoints,
        stack: contextlib.ExitStack,
        shard: Shard,
    ) -> None:
        """Train from the newest checkpoint on; `stack` is closed by the caller."""
        work_dir, first = self.out / "training", shard.index == 0
        if first:
            write_unreadable(work_dir / "unreadable.txt", getattr(source, "unreadable", ()))
            note_data(work_dir, [len(source)], fresh=checkpoints.fresh)
            if checkpoints.fresh:  # what a start before this one fitted may be of other options
                (work_dir / "wiener.npz").unlink(missing_ok=True)
        model = self._model(source, work_dir)
        tx = self.tx()
        state = TrainState.create(model.params, tx)
        state = checkpoints.restore(state) or state
        start, last = int(state.step), min(self.steps, self.stop_at or self.steps)
        if start and first:
            print(f"Resuming {self.out} at step {start}.", flush=True)
        batch_at = Batches(
            source,
            self.batch_size,
            self.seed,
            labelled=self.conditional,
            label_dropout=self.label_dropout,
            flip=self.flip,
            shard=shard,
        )
        reference = Reference.draw(source, self.reference, self.seed, labelled=self.conditional)
        labels = self._labels(source)

        def watch(step: int, state: TrainState) -> None:
            path = work_dir / "previews" / f"{step:06d}.png"
            preview(dataclasses.replace(model, params=state.ema), path, labels=labels)

        log = TrainingLog(work_dir, start=start, steps=last) if first else None
        if log:
            stack.callback(log.close)
        if self.workers:
            batches = in_workers(batch_at, start, last, self.workers)
            stack.enter_context(contextlib.closing(batches))
            batch_at = BatchesInOrder(batches, start)
        state = fit(
            jax.random.key(self.seed),
            state,
            batch_at,
            grad_fn=self.grad_fn(model, self._weighting(source), len(source.classes)),
            tx=tx,
            steps=last,
            shared=(model.precondition, reference),
            ema_decay=self.ema_decay,
            steps_per_call=self.steps_per_call,
            max_skipped=self.max_skipped,
            checkpoints=checkpoints,
            checkpoint_every=self.checkpoint_every,
            log=log,
            log_every=self.log_every,
            watch=watch if first else None,
            watch_every=self.preview_every,
            profile=work_dir / "profile" if self.profile and first else None,
        )
        if first:
            self._write(dataclasses.replace(model, params=state.ema), source, work_dir)
        distributed.barrier("model written")

    def _model(self, source: ImageSource, work_dir: Path) -> DiffusionModel:
        """The model before the first step: with the weights of `init`, or untrained."""
        if self._initial is not None:
            initial = self._initial.model()
            model = self.untrained(source.image_shape, initial.precondition, self._labels(source))
            return self._initialised(model, initial)
        precondition = statistics(
            self.preconditioning, source, rank=self.rank, seed=self.seed, work_dir=work_dir
        )
        return self.untrained(source.image_shape, precondition, self._labels(source))

    @functools.cached_property
    def _initial(self) -> Checkpoint | None:
        """The checkpoint that the training starts from."""
        return pretrained.open(self.init) if self.init else None

    def _labels(self, source: ImageSource) -> int | None:
        """How many labels the network is told, the null label included; None for no classes."""
        return len(source.classes) + (self.label_dropout > 0) if self.conditional else None

    def _weighting(self, source: ImageSource) -> Callable:
        weighting = WEIGHTINGS[self.weighting]
        if self.weighting != "edm":
            return weighting()
        # EDM's weight wants the data's deviation, to which its preconditioning is fitted.
        return weighting(data_deviation(source, rank=self.rank, seed=self.seed))

    def _write(self, model: DiffusionModel, source: ImageSource, work_dir: Path) -> None:
        samples = preview(model, work_dir / "samples.png", labels=self._labels(source))
        facts = {"data": self._data_facts(source), "training": self._training_facts(work_dir)}
        if self.conditional:
            facts = {"classes": list(source.classes), **facts}
        dtype = "float16" if self.float16_weights else "float32"
        pretrained.save_model(self.out, model, facts=facts, dtype=dtype, samples=samples)
        print(f"The model lies in {self.out}.")

    def _check(self, source: ImageSource) -> None:
        if self.conditional and not source.classes:
            raise ValueError(
                f"'{self.data}' has no labels for a conditional model; give digits, a folder with"
                " one folder of images a class, or another data set that has labels."
            )
        if not self.conditional and self.label_dropout:
            raise ValueError(
                "Labels are dropped in a conditional training alone; add --conditional, or leave"
                " the label dropout out."
            )
        if self.flip and len(source.image_shape) != 3:
            raise ValueError(
                f"'{self.data}' has points, which are not mirrored; leave the flip out."
            )
        if self.remat and len(source.image_shape) != 3:
            raise ValueError(
                f"'{self.data}' has points, whose network has nothing to compute anew; leave"
                " --remat out."
            )
        if not 0 <= self.label_dropout < 1:
            raise ValueError(
                f"The label dropout is a fraction in [0, 1); {self.label_dropout:g} was given."
            )
        self.check(points=len(source.image_shape) == 1)
        if len(source.image_shape) == 1 and len(source) < self.batch_size:
            raise ValueError(
                f"'{self.data}' has {len(source)} points, fewer than a batch of {self.batch_size};"
                " give more, or a smaller batch."
            )

    def _initialised(self, model: DiffusionModel, initial: DiffusionModel) -> DiffusionModel:
        """`initial` with the schedule of `model`, which the options describe.

        Raises ValueError where it is of another kind than that.
        """
        expected = preconditioning.PRECONDITIONINGS[self.preconditioning]
        same = {
            "images": initial.data_shape == model.data_shape,
            "network": initial.network == model.network,
            "schedule": type(initial.schedule) is type(model.schedule),
            "preconditioning": type(initial.precondition) is expected,
        }
        if not all(same.values()):
            differing = " and ".join(part for part, equal in same.items() if not equal)
            raise ValueError(
                f"'{self.init}' has another {differing} than these options ask for; give the"
                " options it was trained with."
            )
        return dataclasses.replace(initial, schedule=model.schedule)

    def _configuration(self) -> dict:
        """The options that a resumed run must share with the one it resumes."""
        options = dataclasses.asdict(self)
        return {name: value for name, value in options.items() if name not in _FREE}

    def _data_facts(self, source: ImageSource) -> dict:
        path = Path(self.data)
        return {
            "name": path.name if path.is_dir() else self.data,
            "split": "train",
            "images": len(source),
        }

    def _training_facts(self, work_dir: Path) -> dict:
        lines, options = read_log(work_dir / "log.jsonl"), self._configuration()
        options = {
            name: value for name, value in options.items() if name not in ("data", "image_size")
        }
        facts = {
            "command": shlex.join(["ddib", *sys.argv[1:]]),
            **options,
            "steps_done": lines[-1]["step"],
            "loss": round(float(np.nanmean([line["loss"] for line in lines[-50:]])), 5),
            "seconds": round(sum(line["seconds"] for line in lines)),
            "machine": machine(),
            "jax": jax.__version__,
        }
        if self._initial is not None:
            other = {"converted_from": self._initial.path.name}
            facts["started_from"] = self._initial.facts.get("training", other)
        return facts

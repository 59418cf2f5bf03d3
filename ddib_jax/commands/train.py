"""`ddib train`: one domain in, one model directory out."""

import dataclasses
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from ddib_jax import distributed, preconditioning, pretrained
from ddib_jax.commands.distributed import Hosts, Joined
from ddib_jax.commands.domain import Batches, Reference, statistics
from ddib_jax.commands.preview import preview
from ddib_jax.commands.recipe import Recipe
from ddib_jax.data import ImageSource, in_workers, load_dataset
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.training import Checkpoints, TrainingLog, TrainState, fit, read_log
from ddib_jax.weightings import WEIGHTINGS


@dataclass(frozen=True, kw_only=True)
class Train(Recipe):
    """Train a diffusion model on one domain; killed and started again by the same command, it
    resumes.
    """

    data: str
    """A data set (five, seven, digits:3, mnist:1,2, tfds:cifar10 ...) or a folder of images."""
    out: Path
    """The model directory to write; checkpoints, log and previews go to OUT/training."""
    data_dir: Path | None = None
    """Where the data set's files are (MNIST's IDX files, what tensorflow-datasets prepared), if it
    is not bundled.
    """
    image_size: int | None = None
    """Crop and resize a folder's images to this size."""
    crop: Literal["centre", "random"] = "centre"
    """The central square of a folder's images, or a random part of it (CycleGAN's: resized to
    286/256 of the size, then cropped).
    """
    workers: int = 0
    """Processes that read and prepare batches, for a folder too large for memory; 0 for a thread of
    this one.
    """
    flip: bool = False
    """Mirror half of the images left to right."""
    stop_at: int | None = None
    """End at this step, before the learning rate has fallen all the way."""
    steps_per_call: int = 1
    """Steps that run as one program; more than one hides what a call costs the host."""
    max_skipped: int = 10
    """Steps whose loss is not a number are skipped; with more than this many, the training stops.
    """
    init: str | None = None
    """Start from the weights and statistics of this model (a shipped one or a model directory)
    instead of at random.
    """
    float16_weights: bool = False
    """Store the weights in half the space."""
    log_every: int = 20
    """Steps between lines of the log."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    preview_every: int = 500
    """Steps between previews of samples."""
    profile: bool = False
    """Write a trace of some steps to OUT/training/profile, for TensorBoard or xprof."""
    hosts: Joined = dataclasses.field(default_factory=Hosts)

    def run(self) -> None:
        """Train, with previews, and write the model directory."""
        shard = self.hosts.join(heed_sigterm=True)
        source = load_dataset(
            self.data,
            split="train",
            directory=self.data_dir,
            image_size=self.image_size,
            crop=self.crop,
        )
        self._check(source)
        work_dir = self.out / "training"
        checkpoints = Checkpoints(work_dir, self._configuration(), defaults=defaults(self))
        model = self._model(source, work_dir)
        tx = self.tx()
        state = TrainState.create(model.params, tx)
        state = checkpoints.restore(state) or state
        start, last = int(state.step), min(self.steps, self.stop_at or self.steps)
        if start and shard.index == 0:
            print(f"Resuming {self.out} at step {start}.", flush=True)
        batch = Batches(
            source,
            self.batch_size,
            self.seed,
            self.conditional,
            self.label_dropout,
            self.flip,
            shard,
        )
        made = (
            in_workers(batch, start, last, self.workers)
            if self.workers
            else (batch(step) for step in range(start, last))
        )
        log = TrainingLog(work_dir, start=start, steps=last) if shard.index == 0 else None
        watch = lambda step, state: preview(
            model.replace(params=state.ema), work_dir / "previews" / f"{step:06d}.png"
        )
        try:
            state = fit(
                jax.random.key(self.seed),
                state,
                lambda step: next(made),
                grad_fn=self.grad_fn(model, self._weighting(source), len(source.classes)),
                tx=tx,
                steps=last,
                shared=(
                    model.precondition,
                    Reference.drawn(source, self.reference, self.seed, labelled=self.conditional),
                ),
                ema_decay=self.ema_decay,
                steps_per_call=self.steps_per_call,
                max_skipped=self.max_skipped,
                checkpoints=checkpoints,
                checkpoint_every=self.checkpoint_every,
                log=log,
                log_every=self.log_every,
                watch=watch if shard.index == 0 else None,
                watch_every=self.preview_every,
                profile=work_dir / "profile" if self.profile and shard.index == 0 else None,
            )
        finally:
            made.close()
            if log:
                log.close()
            checkpoints.close()
        if shard.index == 0:
            self._write(model.replace(params=state.ema), source, work_dir)
        distributed.barrier("model written")

    def _model(self, source: ImageSource, work_dir: Path) -> DiffusionModel:
        start = pretrained.load(self.init) if self.init else None
        precondition = (
            start.precondition
            if start
            else statistics(
                self.preconditioning, source, rank=self.rank, seed=self.seed, work_dir=work_dir
            )
        )
        classes = len(source.classes) + (self.label_dropout > 0) if self.conditional else None
        model = self.untrained(source.image_shape, precondition, classes)
        return model if start is None else self._started(model, start)

    def _weighting(self, source: ImageSource):
        made = WEIGHTINGS[self.weighting]
        if self.weighting != "edm":
            return made()
        return made(
            statistics("edm", source, rank=self.rank, seed=self.seed, work_dir=self.out).sigma_data
        )

    def _write(self, model: DiffusionModel, source: ImageSource, work_dir: Path) -> None:
        samples = preview(model, work_dir / "samples.png")
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
                f"The label dropout is a share in [0, 1); {self.label_dropout:g} was given."
            )
        if len(source.image_shape) == 1 and len(source) < self.batch_size:
            raise ValueError(
                f"'{self.data}' has {len(source)} points, fewer than a batch of {self.batch_size};"
                " give more, or a smaller batch."
            )

    def _started(self, model: DiffusionModel, start: DiffusionModel) -> DiffusionModel:
        """`start`, if it is of the kind that the options describe; raises ValueError where it is
        not.
        """
        kind = type(start.precondition) is preconditioning.PRECONDITIONINGS[self.preconditioning]
        same = {
            "images": start.data_shape == model.data_shape,
            "network": start.network == model.network,
            "schedule": type(start.schedule) is type(model.schedule),
            "preconditioning": kind,
        }
        if not all(same.values()):
            differing = " and ".join(part for part, equal in same.items() if not equal)
            raise ValueError(
                f"'{self.init}' has another {differing} than these options ask for; give the"
                " options it was trained with."
            )
        return start.replace(schedule=model.schedule)

    def _configuration(self) -> dict:
        """What a resumed run must share with the one it resumes; how it is watched may change."""
        free = {
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
        }
        free |= {"max_skipped", "profile", "hosts"}
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in free}

    def _data_facts(self, source: ImageSource) -> dict:
        return {
            "name": self.data if not Path(self.data).is_dir() else Path(self.data).name,
            "split": "train",
            "images": len(source),
        }

    def _training_facts(self, work_dir: Path) -> dict:
        lines = read_log(work_dir / "log.jsonl")
        return {
            "command": shlex.join(["ddib", *sys.argv[1:]]),
            **{
                name: value
                for name, value in self._configuration().items()
                if name not in ("data", "image_size")
            },
            "steps_done": lines[-1]["step"],
            "loss": round(float(np.nanmean([line["loss"] for line in lines[-50:]])), 5),
            "seconds": round(sum(line["seconds"] for line in lines)),
            "machine": machine(),
            "jax": jax.__version__,
            **(
                {"started_from": pretrained.describe(pretrained.find(self.init))["training"]}
                if self.init
                else {}
            ),
        }


def defaults(command: Any) -> dict[str, Any]:
    """What a command's options are unless they are given."""
    return {
        field.name: field.default
        for field in dataclasses.fields(command)
        if field.default is not dataclasses.MISSING
    }


def machine() -> str:
    """The accelerator as JAX names it and the host's cores, for model.json and reports."""
    devices = jax.local_devices()
    return (
        f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform}), {os.cpu_count()} CPU"
        " cores"
    )

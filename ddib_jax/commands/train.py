"""`ddib train`: one domain in, one model directory out."""

import dataclasses
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax import preconditioning, pretrained, schedules
from ddib_jax.commands.domain import Reference, batches, statistics
from ddib_jax.commands.preview import preview
from ddib_jax.data import ImageSource, load_dataset, prefetch
from ddib_jax.diffusion import DiffusionModel, LogNormal, UniformTime, denoising_loss
from ddib_jax.nets import MLP, UNet
from ddib_jax.training import Checkpoints, TrainingLog, TrainState, adamw, fit, gradients, read_log
from ddib_jax.types import Network


@dataclass(frozen=True)
class Train:
    """Train a diffusion model on one domain; killed and started again by the same command, it resumes."""

    data: str
    """A data set (five, seven, digits:3, mnist:1,2 ...) or a folder of images."""
    out: Path
    """The model directory to write; checkpoints, log and previews go to OUT/training."""
    data_dir: Path | None = None
    """Where the data set's files are (MNIST's IDX files), if it is not bundled."""
    image_size: int | None = None
    """Crop and resize a folder's images to this size."""
    flip: bool = False
    """Mirror half of the images left to right."""
    steps: int = 2600
    """Steps over which the learning rate falls."""
    stop_at: int | None = None
    """End at this step, before the learning rate has fallen all the way."""
    batch_size: int = 64
    """Images a step, over all devices."""
    learning_rate: float = 1e-3
    warmup: int = 200
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    seed: int = 0
    preconditioning: Literal["wiener", "edm", "velocity", "epsilon", "sample"] = "wiener"
    rank: int = 128
    """Principal directions of the Wiener preconditioning, at most one fewer than the values of an image."""
    schedule: Literal["edm", "linear-vp", "cosine"] = "edm"
    """The EDM schedule trains with log-normal noise levels, the others uniformly in time."""
    sigma_min: float = 0.05
    """Where the EDM schedule's ODE starts and ends; below it the fine detail is carried over as it is. Training does not depend on it."""
    sigma_max: float = 80.0
    """Where the EDM schedule's latents lie; it wants to be much larger than the data."""
    noise_mean: float = 0.2
    noise_std: float = 1.5
    """log sigma ~ N(noise_mean, noise_std^2) in training."""
    reference: int = 4096
    """Training images that the target is averaged over where noise hides which one it was (stable target field); 0 for none."""
    conditional: bool = False
    """Tell the network the images' labels (digits; in a folder of folders, the folder): one model is then many domains."""
    label_dropout: float = 0.0
    """Share of the images of a conditional training that are shown without their label, for classifier-free guidance; .1 is usual."""
    init: str | None = None
    """Start from the weights and statistics of this model (a shipped one or a model directory) instead of at random."""
    model_channels: int = 32
    channel_mult: tuple[int, ...] = (1, 2, 4)
    num_res_blocks: int = 1
    attention_resolutions: tuple[int, ...] = (8, 4)
    patch_size: int = 2
    width: int = 128
    """Width of the network that learns points: those of the plane, or the pixels of an image (lab:IMAGE, rgb:IMAGE)."""
    blocks: int = 3
    dropout: float = 0.0
    bf16: bool = False
    """Compute in bfloat16; parameters stay float32."""
    float16_weights: bool = False
    """Store the weights in half the space."""
    log_every: int = 20
    checkpoint_every: int = 500
    preview_every: int = 500

    def run(self) -> None:
        """Train, with previews, and write the model directory."""
        source = load_dataset(self.data, "train", directory=self.data_dir, image_size=self.image_size)
        self._check(source)
        workshop = self.out / "training"
        checkpoints = Checkpoints(workshop, self._configuration())
        model = self._model(source, workshop)
        tx = adamw(
            self.learning_rate, self.steps, warmup=self.warmup, weight_decay=self.weight_decay, clip_norm=self.clip_norm
        )
        state = TrainState.create(model.params, tx)
        state = checkpoints.restore(state) or state
        start = int(state.step)
        if start:
            print(f"Resuming {self.out} at step {start}.", flush=True)
        noise_level = self._noise_level(model)

        classes = len(source.classes)

        def loss(params, key, batch, shared):
            precondition, reference = shared
            label = batch.get("label")
            learner = model.replace(params=params, precondition=precondition, cond=label)
            options = {"index": batch["index"], "train": True}
            if reference is not None:
                options |= {"reference": reference.images, "related": reference.related(label, classes)}
            return denoising_loss(learner, key, batch["image"], noise_level, **options)

        batch = batches(
            source,
            batch_size=self.batch_size,
            seed=self.seed,
            labelled=self.conditional,
            label_dropout=self.label_dropout,
            flip=self.flip,
        )
        last = min(self.steps, self.stop_at or self.steps)
        ahead = prefetch(map(batch, range(start, last)))
        log = TrainingLog(workshop, start=start, steps=last)
        state = fit(
            state,
            jax.random.key(self.seed),
            lambda step: next(ahead),
            grad_fn=gradients(loss),
            tx=tx,
            steps=last,
            shared=(model.precondition, Reference.drawn(source, self.reference, self.seed, labelled=self.conditional)),
            ema_decay=self.ema_decay,
            checkpoints=checkpoints,
            checkpoint_every=self.checkpoint_every,
            log=log,
            log_every=self.log_every,
            watch=lambda step, state: preview(model.replace(params=state.ema), workshop / "previews" / f"{step:06d}.png"),
            watch_every=self.preview_every,
        )
        log.close()
        checkpoints.close()
        samples = preview(model.replace(params=state.ema), workshop / "samples.png")
        facts = {"data": self._data_facts(source), "training": self._training_facts(workshop)}
        if self.conditional:
            facts = {"classes": list(source.classes), **facts}
        dtype = "float16" if self.float16_weights else "float32"
        pretrained.save_model(self.out, model.replace(params=state.ema), facts=facts, dtype=dtype, samples=samples)
        print(f"The model lies in {self.out}.")

    def _model(self, source: ImageSource, workshop: Path) -> DiffusionModel:
        network = self._network(source)
        start = pretrained.load(self.init) if self.init else None
        statistics_of = {"rank": self.rank, "seed": self.seed, "workshop": workshop}
        precondition = start.precondition if start else statistics(self.preconditioning, source, **statistics_of)
        sigma = jnp.ones(())
        inputs = jax.eval_shape(precondition.inputs, jnp.zeros((1, *source.image_shape)), sigma)
        cond = jnp.zeros(1, jnp.int32) if self.conditional else None
        params = jax.jit(network.init)(jax.random.key(self.seed), jnp.zeros(inputs.shape), jnp.zeros(1), cond)["params"]
        schedule = schedules.EDM(self.sigma_min, self.sigma_max) if self.schedule == "edm" else schedules.SCHEDULES[self.schedule]()
        model = DiffusionModel(params, precondition, network=network, schedule=schedule, data_shape=source.image_shape)
        return model if start is None else self._started(model, start)

    def _check(self, source: ImageSource) -> None:
        if self.conditional and not source.classes:
            raise ValueError(f"'{self.data}' has no labels for a conditional model; give digits, or a folder with one folder of images a class.")
        if not self.conditional and self.label_dropout:
            raise ValueError("Labels are dropped in a conditional training alone; add --conditional, or leave the label dropout out.")
        if self.flip and len(source.image_shape) != 3:
            raise ValueError(f"'{self.data}' has points, which are not mirrored; leave the flip out.")
        if not 0 <= self.label_dropout < 1:
            raise ValueError(f"The label dropout is a share in [0, 1); {self.label_dropout:g} was given.")
        if len(source.image_shape) == 1 and len(source) < self.batch_size:
            raise ValueError(f"'{self.data}' has {len(source)} points, fewer than a batch of {self.batch_size}; give more, or a smaller batch.")

    def _network(self, source: ImageSource) -> Network:
        shared = {
            "out_channels": source.image_shape[-1],
            "time_scale": 16.0 if self.schedule == "edm" else 1000.0,
            "dtype": "bfloat16" if self.bf16 else "float32",
        }
        if len(source.image_shape) == 1:
            return MLP(width=self.width, blocks=self.blocks, **shared)
        return UNet(
            model_channels=self.model_channels,
            channel_mult=self.channel_mult,
            num_res_blocks=self.num_res_blocks,
            attention_resolutions=self.attention_resolutions,
            patch_size=self.patch_size,
            dropout=self.dropout,
            num_classes=len(source.classes) + (self.label_dropout > 0) if self.conditional else None,
            **shared,
        )

    def _started(self, model: DiffusionModel, start: DiffusionModel) -> DiffusionModel:
        """`start`, if it is of the kind that the options describe; raises ValueError where it is not."""
        kind = type(start.precondition) is preconditioning.PRECONDITIONINGS[self.preconditioning]
        same = {
            "images": start.data_shape == model.data_shape,
            "network": start.network == model.network,
            "schedule": type(start.schedule) is type(model.schedule),
            "preconditioning": kind,
        }
        if not all(same.values()):
            differing = " and ".join(part for part, equal in same.items() if not equal)
            raise ValueError(f"'{self.init}' has another {differing} than these options ask for; give the options it was trained with.")
        return start.replace(schedule=model.schedule)

    def _noise_level(self, model: DiffusionModel):
        if self.schedule == "edm":
            return LogNormal(self.noise_mean, self.noise_std)
        first, last = (float(model.schedule.time(jnp.asarray(level))) for level in model.schedule.sigma_range)
        return UniformTime(model.schedule, first, last)

    def _configuration(self) -> dict:
        """What a resumed run must share with the one it resumes; how it is watched may change."""
        free = {"out", "data_dir", "stop_at", "sigma_min", "sigma_max", "log_every", "checkpoint_every", "preview_every", "float16_weights"}
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in free}

    def _data_facts(self, source: ImageSource) -> dict:
        return {"name": self.data if not Path(self.data).is_dir() else Path(self.data).name, "split": "train", "images": len(source)}

    def _training_facts(self, workshop: Path) -> dict:
        lines = read_log(workshop / "log.jsonl")
        return {
            "command": shlex.join(["ddib", *sys.argv[1:]]),
            **{name: value for name, value in self._configuration().items() if name not in ("data", "image_size")},
            "steps_done": lines[-1]["step"],
            "loss": round(float(np.mean([line["loss"] for line in lines[-50:]])), 5),
            "seconds": round(sum(line["seconds"] for line in lines)),
            "machine": machine(),
            "jax": jax.__version__,
            **({"started_from": pretrained.describe(pretrained.find(self.init))["training"]} if self.init else {}),
        }


def machine() -> str:
    """The accelerator as JAX names it and the host's cores, for model.json and reports."""
    devices = jax.local_devices()
    return f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform}), {os.cpu_count()} CPU cores"

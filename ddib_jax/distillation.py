"""One evaluation in place of a bridge's many: a network that learns its translations from pairs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from ddib_jax import pretrained
from ddib_jax.bridge import DDIB, Bridge, as_floats, known_gaussian
from ddib_jax.bridge.switch import Switch
from ddib_jax.data.png import write_grid
from ddib_jax.files import drafted_file
from ddib_jax.nets import Student as StudentNetwork
from ddib_jax.options import (
    Count,
    NonNegative,
    Portion,
    Positive,
    Size,
    Sizes,
    Whole,
    command_line,
    defaults,
    out_of_range,
)
from ddib_jax.parallel import machine
from ddib_jax.preconditioning import Wiener
from ddib_jax.trainer import check_place
from ddib_jax.training import (
    Checkpoints,
    Intervals,
    TrainingLog,
    TrainState,
    adamw,
    fit_resumably,
    gradients,
    read_log,
)
from ddib_jax.translation import translate
from ddib_jax.types import GeneratorNetwork, HostImages, Image, Keys, Params

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_FLOWS = ("up", "down")
"""Parts of the network that are set, and not learnt."""


@struct.dataclass
class Student:
    """A distilled DDIB: one evaluation, no latent and no noise."""

    params: Params
    network: GeneratorNetwork = struct.field(pytree_node=False, kw_only=True)

    def __call__(self, keys: Keys, image: Image) -> Image:
        """Images [b h w c] in [-1, 1] -> translations [b h w c]."""
        return self.network.apply({"params": self.params}, as_floats(image, "images"))


@dataclass(frozen=True, kw_only=True)
class Distillation(Intervals):
    """Options of the student and of its training."""

    steps: Count = 4000
    """Steps of training, over which the learning rate falls."""
    batch_size: Count = 64
    """Pairs a step."""
    learning_rate: Positive = 1e-3
    """Peak learning rate of AdamW, which falls to nothing along a cosine."""
    warmup: Whole = 100
    """Steps over which the learning rate rises."""
    weight_decay: NonNegative = 0.01
    """Decoupled weight decay of AdamW."""
    clip_norm: Positive = 1.0
    """Norm that a larger gradient is scaled down to."""
    ema_decay: Portion = 0.999
    """Decay of the exponential moving average of the weights; the average is what is written."""
    seed: Whole = 0
    """Seed of weights and batches."""
    model_channels: Size = 32
    """Channels of the U-Net's first level."""
    channel_mult: Sizes = (1, 2, 4)
    """Channels of each level, in units of the first's."""
    num_res_blocks: Whole = 1
    """Residual blocks a level."""
    attention_resolutions: Sizes = (8, 4)
    """Resolutions, in pixels, at which the U-Net attends."""
    patch_size: Size = 2
    """Side of the patches of pixels that the U-Net takes as channels."""
    groups: Size = 4
    """Groups of channels that the U-Net normalises together; many lose sight of colour."""

    def network(self, channels: int, rank: int) -> StudentNetwork:
        """The student for images of so many channels, and Gaussians of so many directions."""
        return StudentNetwork(
            out_channels=channels,
            rank=rank,
            model_channels=self.model_channels,
            channel_mult=self.channel_mult,
            num_res_blocks=self.num_res_blocks,
            attention_resolutions=self.attention_resolutions,
            patch_size=self.patch_size,
            norm_num_groups=self.groups,
        )


def distill(
    teacher: DDIB,
    images: HostImages,
    distillation: Distillation,
    out: str | Path,
    *,
    data: Mapping[str, Any] = _NOTHING,
    facts: Mapping[str, Any] = _NOTHING,
    progress: Callable = iter,
) -> Student:
    """A student of the teacher's translations of images [n h w c], written to the directory `out`.

    It learns by regression: the mean absolute distance from the teacher's own pairs, which are made
    first and kept in out/training/pairs.npz. No image of the target's domain is needed. The student
    begins as the closed-form map between the Gaussians of both models (`gaussian_map`). data: what
    else says what is distilled; a training is resumed only by one of equal options and `data`.
    facts: what `model.json` says besides. progress: a wrapper of the batches of images whose pairs
    are made (`ddib_jax.progress`). A training that was killed goes on from its newest checkpoint.

    Raises ValueError for options out of their ranges and for models without Wiener statistics,
    OSError where `out` cannot be written, BlockingIOError where another training is at work there.
    """
    out, configuration = Path(out), _bound(distillation)
    check_place(out)
    if said := out_of_range(distillation):
        raise ValueError(said)
    source, target = teacher.bridges()
    flows = gaussian_map(source, target)
    images = np.asarray(as_floats(images, "images"))
    checkpoints = Checkpoints(
        out / "training",
        configuration | dict(data),
        defaults=defaults(Distillation) | dict(data),
    )
    try:
        path = out / "training" / "pairs.npz"
        made = _pairs(teacher, images, path, fresh=checkpoints.fresh, progress=progress)
        student = _trained(flows, images, made, distillation, out, checkpoints)
        training = {**_bound(distillation), **data, "pairs": len(images)}
        _write(out, student, training, images.shape[1:], facts)
    finally:
        checkpoints.close()
    print(f"The student lies in {out}.")
    return student


def gaussian_map(source: Bridge, target: Bridge) -> dict[str, dict[str, jax.Array]]:
    """Both linear flows of a student: the source's Gaussian up, and the target's down.

    Between Gaussians they are DDIB. Raises ValueError for models without Wiener statistics.
    """
    return {
        name: _flow(known_gaussian(bridge.model), bridge, rising=name == "up")
        for name, bridge in zip(_FLOWS, (source, target), strict=True)
    }


def _flow(gaussian: Wiener, bridge: Bridge, *, rising: bool) -> dict[str, jax.Array]:
    low, high = bridge.sigmas[0], bridge.end
    begin, end = (low, high) if rising else (high, low)
    own = Switch.of(gaussian, float(high)).gaussian
    ratio = lambda variance: jnp.sqrt((variance + end**2) / (variance + begin**2))
    rest = ratio(own.rest)
    return {
        "mean": own.mean,
        "to": own.mean,
        "rest": rest,
        "gains": ratio(own.variances) - rest,
        "directions": own.directions,
    }


def _bound(distillation: Distillation) -> dict[str, Any]:
    """The options that a resumed training must share with the one it resumes."""
    free = {field.name for field in fields(Intervals)}
    names = [field.name for field in fields(Distillation) if field.name not in free]
    return {name: getattr(distillation, name) for name in names}


def _pairs(
    teacher: DDIB, images: HostImages, path: Path, *, fresh: bool, progress: Callable
) -> HostImages:
    """The teacher's translations, from an earlier start of the same training where there are."""
    if not fresh and path.is_file():
        made = np.load(path)["translations"]
        if made.shape == images.shape:
            return made
    made = translate(teacher, images, progress=progress)
    with drafted_file(path) as draft:
        np.savez(draft, translations=made)
    return made


def _trained(
    flows: dict,
    images: HostImages,
    made: HostImages,
    distillation: Distillation,
    out: Path,
    checkpoints: Checkpoints,
) -> Student:
    up, down = (flows[name]["gains"] for name in _FLOWS)
    if up.shape != down.shape:
        raise ValueError(
            f"The Gaussians of source and target have {len(up)} and {len(down)} directions; a"
            " student is of models with equally many (--rank)."
        )
    network = distillation.network(images.shape[-1], len(up))
    key, example = jax.random.key(distillation.seed), jnp.asarray(images[:1])
    unet = jax.jit(network.init)(key, example)["params"]["unet"]
    tx = adamw(
        distillation.learning_rate,
        distillation.steps,
        warmup=distillation.warmup,
        weight_decay=distillation.weight_decay,
        clip_norm=distillation.clip_norm,
    )

    def loss(unet, key, batch, flows):
        student = network.apply({"params": {"unet": unet, **flows}}, batch["image"])
        return jnp.mean(jnp.abs(student - batch["translation"]))

    def batch_at(step: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([distillation.seed, step])
        chosen = rng.integers(len(images), size=distillation.batch_size)
        return {"image": images[chosen], "translation": made[chosen]}

    few = min(8, len(images))
    generate = jax.jit(lambda params, x: network.apply({"params": params}, x))

    def look(path: Path, state: TrainState) -> None:
        shown = generate({"unet": state.ema, **flows}, jnp.asarray(images[:few]))
        write_grid(path, np.concatenate([images[:few], made[:few], shown]), columns=few)

    work_dir = out / "training"
    state = fit_resumably(
        key,
        TrainState.create(unet, tx),
        lambda start: (batch_at(step) for step in range(start, distillation.steps)),
        checkpoints=checkpoints,
        steps=distillation.steps,
        intervals=distillation,
        log=partial(TrainingLog, work_dir),
        preview=look,
        grad_fn=gradients(loss),
        tx=tx,
        shared=flows,
        ema_decay=distillation.ema_decay,
    )
    return Student({"unet": state.ema, **flows}, network=network)


def _write(
    out: Path,
    student: Student,
    training: dict[str, Any],
    shape: tuple[int, ...],
    facts: Mapping[str, Any],
) -> None:
    lines = read_log(out / "training" / "log.jsonl")
    told = {
        "command": command_line(),
        **training,
        "loss": round(float(np.mean([line["loss"] for line in lines[-50:]])), 5),
        "seconds": round(sum(line["seconds"] for line in lines)),
        "machine": machine(),
        "jax": jax.__version__,
    }
    pretrained.save_network(
        out,
        student.network,
        student.params,
        kind="generator",
        image_shape=shape,
        facts={**facts, "training": told},
    )


def load_student(directory: str | Path) -> Student:
    """The student that a `distill` wrote; raises as `pretrained.load_network` does."""
    params, network = pretrained.load_network(directory, "generator")
    if not isinstance(network, StudentNetwork):
        raise ValueError(
            f"{directory} holds a {type(network).__name__}, which is no student of `ddib distill`."
        )
    return Student(params, network=network)

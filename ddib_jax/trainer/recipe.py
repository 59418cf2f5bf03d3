"""Options that a training and a plan of one share: network, loss and optimiser."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import jax
import jax.numpy as jnp
import optax

from ddib_jax.diffusion import DiffusionModel, denoising_loss
from ddib_jax.nets import MLP, UNet, example_condition, rematerialised
from ddib_jax.noise_levels import LogNormal, OffShell, UniformTime
from ddib_jax.options import (
    Count,
    NonNegative,
    OptionalSize,
    Portion,
    Positive,
    Signed,
    Size,
    Sizes,
    Whole,
    one_of,
    out_of_range,
)
from ddib_jax.preconditioning import PRECONDITIONINGS
from ddib_jax.schedules import EDM, SCHEDULES
from ddib_jax.text import Tokenizer
from ddib_jax.trainer.captioned_network import HEAD, captioned_network
from ddib_jax.training import accumulated, adamw, gradients
from ddib_jax.training.step import GradFn
from ddib_jax.types import Network, NoiseSchedule, Preconditioning
from ddib_jax.weightings import WEIGHTINGS

_TABLES = ("discrete",)
"""Schedules that are a table, which a training would have to be given."""
_TRAINABLE = tuple(name for name in SCHEDULES if name not in _TABLES)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Options of the network, of what it predicts, of its loss and of its optimiser."""

    steps: Count = 2600
    """Steps over which the learning rate falls."""
    batch_size: Count = 64
    """Images a step, over all devices of all hosts."""
    accumulate: Count = 1
    """Split a device's batch into this many parts, one after the other: less memory, the same step.
    """
    remat: bool = False
    """Recompute the U-Net's blocks in the backward pass: less memory, about a third more time."""
    learning_rate: Positive = 1e-3
    """Peak learning rate of AdamW, which falls to nothing along a cosine."""
    warmup: Whole = 200
    """Steps over which the learning rate rises."""
    weight_decay: NonNegative = 0.01
    """Decoupled weight decay of AdamW."""
    clip_norm: Positive = 1.0
    """Norm that a larger gradient is scaled down to."""
    ema_decay: Portion = 0.999
    """Decay of the exponential moving average of the weights; the average is what is written."""
    seed: Whole = 0
    """Seed of weights, batches, noise and dropout."""
    preconditioning: Annotated[str, one_of(PRECONDITIONINGS)] = "wiener"
    """What the network predicts: a correction of the domain's Wiener filter, EDM's F, v (velocity),
    the velocity of a rectified flow (flow), the noise (epsilon), the score, or the image (sample).
    """
    rank: Size = 128
    """Principal directions of the Wiener preconditioning, at most one fewer than the values of an
    image.
    """
    schedule: Annotated[str, one_of(_TRAINABLE)] = "edm"
    """Noise levels and their times. EDM's and VE's train with log-normal noise levels, the others
    uniformly in time.
    """
    sigma_min: Positive = 0.05
    """Lowest noise level of the ODE of EDM's and VE's schedules; finer detail than that is carried
    over as it is. Training does not depend on it.
    """
    sigma_max: Positive = 80.0
    """Noise level of the latents of EDM's and VE's schedules, which must be much larger than the
    data.
    """
    noise_mean: Signed = 0.2
    """Mean of log sigma, which is normal in training with EDM's and VE's schedules."""
    noise_std: Positive = 1.5
    """Standard deviation of log sigma in training with EDM's and VE's schedules."""
    weighting: Annotated[str, one_of(WEIGHTINGS)] = "network"
    """Weight of the loss by noise level: that of the network's own error, or of the denoised
    image's as in EDM or Min-SNR (gamma 5).
    """
    reference: Whole = 4096
    """Training images that the target is averaged over where noise hides which one it was (stable
    target field); 0 for none.
    """
    off_shell: Portion = 0.0
    """Share of the images that are shown with less noise than their declared noise level, as a
    model meets images that it encodes; for source models, for it can harm decoding. Needs
    --reference.
    """
    conditional: bool = False
    """Tell the network the images' labels (digits; in a folder of folders, the folder): one model
    is then many domains.
    """
    captions: bool = False
    """Tell the network the images' captions, by a text encoder that is trained with it; the U-Net
    is then of Stable Diffusion's kind, and --reference is not used.
    """
    label_dropout: Portion = 0.0
    """Fraction of the images of a training with labels or captions that are given without, for
    classifier-free guidance; 0.1 is usual.
    """
    vocabulary: Size = 1024
    """Tokens that captions are made of, at most: 514 spell any text, the others are words. With
    --init they are those of the other model.
    """
    text_width: Size = 64
    """Width of the text encoder, a multiple of 16."""
    text_layers: Size = 2
    """Layers of the text encoder."""
    model_channels: Size = 32
    """Channels of the U-Net's first level."""
    channel_mult: Sizes = (1, 2, 4)
    """Channels of each level, in units of the first's; every level but the last halves the
    resolution.
    """
    num_res_blocks: Whole = 1
    """Residual blocks a level."""
    attention_resolutions: Sizes = (8, 4)
    """Resolutions, in pixels, at which the U-Net attends."""
    patch_size: Size = 2
    """Side of the patches of pixels that the U-Net takes as channels."""
    groups: OptionalSize = None
    """Groups of channels that the U-Net normalises together; they divide the channels of every
    level. With as many as channels the network loses sight of colour; 4 keep it. Unless given, 32,
    or with --init those of that model, which may be changed.
    """
    width: Size = 128
    """Width of the network for points: those of the plane, or the pixels of an image (lab:IMAGE,
    rgb:IMAGE).
    """
    blocks: Size = 3
    """Residual blocks of the network for points."""
    dropout: Portion = 0.0
    """Probability of dropout in the residual blocks."""
    bf16: bool = False
    """Compute in bfloat16; parameters stay float32."""

    def check(self, *, points: bool) -> None:
        """Raise ValueError for options that do not go together, or are of what is not chosen.

        Also for numbers and words outside of their ranges. points: whether the data are points, not
        images.
        """
        if said := out_of_range(self):
            raise ValueError(said)
        if not self.sigma_min < self.sigma_max:
            raise ValueError(
                f"Noise levels go from {self.sigma_min:g} up to {self.sigma_max:g}; give a"
                " --sigma-min below --sigma-max."
            )
        if not self.channel_mult:
            raise ValueError("The U-Net has no level; give --channel-mult at least one number.")
        if self.captions and self.conditional:
            raise ValueError("A network is told labels or captions; leave one of them out.")
        if self.off_shell and (self.captions or not self.reference):
            raise ValueError(
                "Images shown with less noise have no other target than an average over a"
                " reference; leave --off-shell out, or train with --reference and without captions."
            )
        if self.captions and self.text_width % HEAD:
            raise ValueError(
                f"The text encoder has heads {HEAD} wide; give a --text-width that is a multiple."
            )
        of_unet = ("model_channels", "channel_mult", "num_res_blocks", "attention_resolutions")
        unused = {
            "training with captions": (
                () if self.captions else ("vocabulary", "text_width", "text_layers")
            ),
            "the network for points": () if points else ("width", "blocks"),
            "the U-Net, and the data are points": (*of_unet, "patch_size") if points else (),
            "the U-Net of trainings of images without captions": (
                ("groups",) if points or self.captions else ()
            ),
            "the EDM and VE schedules": () if self._log_normal else ("sigma_min", "sigma_max"),
            "training with the EDM and VE schedules": (
                () if self._log_normal else ("noise_mean", "noise_std")
            ),
        }
        for what, names in unused.items():
            for name in names:
                if getattr(self, name) != getattr(Recipe, name):
                    option = name.replace("_", "-")
                    raise ValueError(f"--{option} is an option of {what}; leave it out.")
        widths = [self.model_channels * mult for mult in self.channel_mult]
        if not (points or self.captions) and any(width % self._groups for width in widths):
            raise ValueError(
                f"The U-Net's levels have {', '.join(map(str, widths))} channels, which"
                f" {self._groups} groups do not divide; give other --groups."
            )

    def untrained(
        self,
        shape: tuple[int, ...],
        precondition: Preconditioning,
        classes: int | None,
        *,
        tokenizer: Tokenizer | None = None,
    ) -> DiffusionModel:
        """The model before the first step.

        shape: (h, w, c) of images, (d,) of points. classes: labels of a class-conditional model, a
        null label included, or None. tokenizer: of the captions; without one, the largest that the
        options allow is assumed.
        """
        sigma = jnp.ones(())
        if self.captions:
            network = captioned_network(self, shape, tokenizer, time_scale=self._time_scale)
        else:
            network = self._network(shape, classes)
        inputs = jax.eval_shape(precondition.inputs, jnp.zeros((1, *shape)), sigma)
        key, time, cond = jax.random.key(self.seed), jnp.zeros(1), example_condition(network)
        params = jax.jit(network.init)(key, jnp.zeros(inputs.shape), time, cond)["params"]
        return DiffusionModel(
            params, precondition, network=network, schedule=self.noise_schedule(), data_shape=shape
        )

    def tx(self) -> optax.GradientTransformation:
        """The optimiser."""
        return adamw(
            self.learning_rate,
            self.steps,
            warmup=self.warmup,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
        )

    def grad_fn(self, model: DiffusionModel, weighting: Callable, null: int) -> GradFn:
        """The gradient of the denoising loss, as `fit` takes it.

        It is called with `shared` = (preconditioning, `Reference` or None). null: the label that
        means any class. Raises ValueError for `remat` with a network that has no blocks to
        recompute.
        """
        noise_level = self._noise_level(model)
        network = rematerialised(model.network) if self.remat else model.network
        levels = model.schedule.sigma_range
        off_shell = OffShell(self.off_shell, *levels) if self.off_shell else None

        def loss(params, key, batch, shared):
            precondition, reference = shared
            cond = batch.get("cond")
            learner = replace(
                model, params=params, precondition=precondition, cond=cond, network=network
            )
            options = {"index": batch["index"], "train": True, "weighting": weighting}
            if reference is not None:
                options |= {
                    "reference": reference.images,
                    "related": reference.related(cond, null),
                    "off_shell": off_shell,
                }
            return denoising_loss(key, learner, batch["image"], noise_level, **options)

        return accumulated(gradients(loss), self.accumulate)

    def noise_schedule(self) -> NoiseSchedule:
        """The noise schedule: the noise level of a time."""
        kind = SCHEDULES[self.schedule]
        return kind(self.sigma_min, self.sigma_max) if self._log_normal else kind()

    @property
    def _log_normal(self) -> bool:
        """Whether time is a logarithm of the noise level, which training draws log-normally."""
        return issubclass(SCHEDULES[self.schedule], EDM)

    def _network(self, shape: tuple[int, ...], classes: int | None) -> Network:
        shared = {
            "out_channels": shape[-1],
            "time_scale": self._time_scale,
            "dtype": "bfloat16" if self.bf16 else "float32",
        }
        if len(shape) == 1:
            return MLP(width=self.width, blocks=self.blocks, **shared)
        return UNet(
            model_channels=self.model_channels,
            channel_mult=self.channel_mult,
            num_res_blocks=self.num_res_blocks,
            attention_resolutions=self.attention_resolutions,
            patch_size=self.patch_size,
            norm_num_groups=self._groups,
            dropout=self.dropout,
            num_classes=classes,
            **shared,
        )

    @property
    def _groups(self) -> int:
        return 32 if self.groups is None else self.groups

    @property
    def _time_scale(self) -> float:
        """What a network multiplies its time by, of log(sigma) / 4 or in [0, 1]."""
        return 16.0 if self._log_normal else 1000.0

    def _noise_level(self, model: DiffusionModel) -> LogNormal | UniformTime:
        if self._log_normal:
            return LogNormal(self.noise_mean, self.noise_std)
        time = lambda sigma: float(model.schedule.time(jnp.asarray(sigma)))
        low, high = model.schedule.sigma_range
        return UniformTime(model.schedule, time(low), time(high))

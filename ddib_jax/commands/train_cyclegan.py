"""`ddib train-cyclegan`: two domains in, a generator each way out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from jaxtyping import Float

from ddib_jax import distributed, parallel, pretrained
from ddib_jax.adversarial import GAN_LOSSES
from ddib_jax.baselines.cyclegan import SIDES, cyclegan_gradients, cyclegan_parameters, optimiser
from ddib_jax.commands.arguments import Count, DataName, NonNegative, OptionalWhole, Size, Whole
from ddib_jax.commands.domain import Batches
from ddib_jax.commands.gan import GanTraining
from ddib_jax.commands.monitor import imbalance
from ddib_jax.commands.place import check_training_place, defaults
from ddib_jax.data import ALL, ImageSource
from ddib_jax.data.png import write_grid
from ddib_jax.nets import PatchDiscriminator, ResnetGenerator, UnetGenerator
from ddib_jax.training import TrainState

DIRECTIONS = ("ab", "ba")
"""Of the generators, named by the domains that they translate from and into."""


@dataclass(frozen=True, kw_only=True)
class TrainCyclegan(GanTraining):
    """Train a CycleGAN on two domains.

    Killed and started again by the same command, it resumes.
    """

    a: DataName
    """A data set or a folder of images, such as CycleGAN's trainA."""
    b: DataName
    """The other domain, such as trainB; the domains need not have equally many images."""
    out: Path
    """Where the generators go, OUT/ab and OUT/ba; checkpoints, log and previews go to OUT/training.
    """
    decay_from: OptionalWhole = None
    """Step from which the learning rate falls to zero; half of the steps unless given."""
    batch_size: Count = 4
    """Images of each domain a step, over all devices of all hosts."""
    generator: Literal["resnet", "unet"] = "resnet"
    """Kind of the generators: residual blocks at a quarter of the resolution, or a U-Net."""
    width: Size = 32
    """Channels of the first layer of generators and discriminators; 64 in the paper."""
    blocks: Whole = 6
    """Residual blocks of the ResNet generator; 9 in the paper for images of 256 pixels."""
    downs: Size = 5
    """How many times the U-Net generator halves the resolution."""
    layers: Size = 3
    """How many times the discriminator halves the resolution; with 3 it sees patches of 70 x 70
    pixels, with 2 of 34 x 34.
    """
    loss: Literal["lsgan", "vanilla"] = "lsgan"
    """Least squares, or the cross entropy of the original GAN."""
    cycle: NonNegative = 10.0
    """Weight of the L1 distance around the cycle."""
    identity: NonNegative = 0.5
    """Weight, in units of the cycle's, of the L1 distance from an image of the target domain to its
    translation.
    """
    pool: Whole = 50
    """How many past generated images the discriminators may see again."""
    flip: bool = False
    """Mirror half of the images left to right."""

    def run(self) -> None:
        """Train, with previews, and write both generators."""
        shard = self.hosts.join(heed_sigterm=True)
        check_training_place(self.out, (self.a, self.b), first=shard.index == 0, models=DIRECTIONS)
        self._check_generator()
        loaded = {"a": self.load(self.a), "b": self.load(self.b)}
        sources, shape = _of_one_shape(loaded)
        if self.generator == "resnet":
            generator = ResnetGenerator(shape[-1], self.width, self.blocks)
        else:
            generator = UnetGenerator(shape[-1], self.width, self.downs)
        discriminator = PatchDiscriminator(self.width, self.layers)
        params = cyclegan_parameters(
            jax.random.key(self.seed), generator, discriminator, shape, self.pool
        )
        decay_from = self.steps // 2 if self.decay_from is None else self.decay_from
        tx = optimiser(self.learning_rate, self.steps, decay_from)
        grad_fn = cyclegan_gradients(
            generator,
            discriminator,
            GAN_LOSSES[self.loss],
            cycle=self.cycle,
            identity=self.identity,
            axis_name=parallel.BATCH_AXIS,
        )
        batches = {
            side: Batches(
                sources[side], self.batch_size, 2 * self.seed + i, flip=self.flip, shard=shard
            )
            for i, side in enumerate(SIDES)
        }
        count = min(8, *map(len, sources.values()))
        examples = {side: sources[side].take(range(count)) for side in SIDES}
        generate = jax.jit(lambda params, x: generator.apply({"params": params}, x))

        def batch_at(step: int) -> dict[str, np.ndarray]:
            return {side: batches[side](step)["image"] for side in SIDES}

        def write_preview(path: Path, state: TrainState) -> None:
            rows = []
            for source, direction in zip(SIDES, DIRECTIONS, strict=True):
                params = state.params["generators"][direction]
                rows += [examples[source], np.asarray(generate(params, examples[source]))]
            write_grid(path, np.concatenate(rows), columns=count)

        state = self.train(
            params,
            grad_fn,
            tx,
            batch_at,
            findings=findings,
            write_preview=write_preview,
            sources=tuple(loaded.values()),
            shard=shard,
        )
        if shard.index == 0:
            names = {"a": Path(self.a).name, "b": Path(self.b).name}
            for direction in DIRECTIONS:
                source, target = direction
                pretrained.save_network(
                    self.out / direction,
                    generator,
                    state.params["generators"][direction],
                    kind="generator",
                    image_shape=shape,
                    facts={
                        "data": {"from": names[source], "to": names[target]},
                        "training": self.training_facts(state),
                    },
                )
        distributed.barrier("generators written")
        if shard.index == 0:
            print(f"The generators lie in {self.out / 'ab'} and {self.out / 'ba'}.")

    def _check_generator(self) -> None:
        """Raise ValueError for an option of the kind of generator that was not chosen."""
        kind, option = {"resnet": ("unet", "downs"), "unet": ("resnet", "blocks")}[self.generator]
        if getattr(self, option) != defaults(self)[option]:
            raise ValueError(
                f"--{option} is an option of the generator {kind}; leave it out, or say --generator"
                f" {kind}."
            )


def findings(scalars: dict[str, float]) -> dict[str, str]:
    """Findings about the networks of both sides, by kind (`imbalance`)."""
    both = {}
    for side in SIDES:
        both |= imbalance(side, scalars[f"discriminator_{side}"], scalars[f"spread_{side}"])
    return both


class InColour:
    """An `ImageSource` of three equal channels, from a grey one."""

    labels, classes = None, ()

    def __init__(self, source: ImageSource):
        self.source, self.image_shape = source, (*source.image_shape[:2], 3)

    def __len__(self) -> int:
        return len(self.source)

    def take(
        self, indices, *, rng: np.random.Generator | None = None, part: slice = ALL
    ) -> Float[np.ndarray, "m h w 3"]:
        """The images at `indices`, their grey repeated."""
        return np.repeat(self.source.take(indices, rng=rng, part=part), 3, axis=-1)


def _of_one_shape(
    sources: dict[str, ImageSource],
) -> tuple[dict[str, ImageSource], tuple[int, ...]]:
    """Both sources with one number of channels, and their shape (h, w, c).

    Raises ValueError where their sizes differ, or they are not of images.
    """
    channels = {side: source.image_shape[-1] for side, source in sources.items()}
    if len(set(channels.values())) > 1:
        print(
            "One domain is grey, the other in colour: the grey one is given three equal channels.",
            flush=True,
        )
        sources = {
            side: InColour(source) if channels[side] == 1 else source
            for side, source in sources.items()
        }
    shapes = {side: source.image_shape for side, source in sources.items()}
    if shapes["a"] != shapes["b"] or len(shapes["a"]) != 3:
        words = [" x ".join(map(str, shape)) for shape in shapes.values()]
        raise ValueError(
            f"The domains have images of {words[0]} and {words[1]}; give an image size to crop and"
            " resize both to."
        )
    return sources, shapes["a"]

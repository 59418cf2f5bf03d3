"""`train_cyclegan`: images of two domains in, a generator each way out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import jax
import numpy as np
from jaxtyping import Float

from ddib_jax import distributed, parallel, pretrained
from ddib_jax.data import ALL, ImageSource
from ddib_jax.data.png import write_grid
from ddib_jax.data.scale import Scale, pixel_facts
from ddib_jax.gan.cyclegan import SIDES, cyclegan_gradients, cyclegan_parameters, optimiser
from ddib_jax.gan.losses import GAN_LOSSES
from ddib_jax.gan.monitor import imbalance
from ddib_jax.gan.training import GanTraining, check, trained, training_facts
from ddib_jax.nets import PatchDiscriminator, ResnetGenerator, UnetGenerator
from ddib_jax.options import Count, NonNegative, OptionalWhole, Size, Whole, defaults, one_of
from ddib_jax.trainer import Batches
from ddib_jax.training import TrainState
from ddib_jax.types import GeneratorNetwork

DIRECTIONS = ("ab", "ba")
"""Of the generators, named by the domains that they translate from and into."""
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class CycleGANTraining(GanTraining):
    """Options of a CycleGAN and its training."""

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
    loss: Annotated[str, one_of(GAN_LOSSES)] = "lsgan"
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

    def check_generator(self) -> None:
        """Raise ValueError for an option of the kind of generator that was not chosen."""
        kind, option = {"resnet": ("unet", "downs"), "unet": ("resnet", "blocks")}[self.generator]
        if getattr(self, option) != defaults(CycleGANTraining)[option]:
            raise ValueError(
                f"--{option} is an option of the generator {kind}; leave it out, or say --generator"
                f" {kind}."
            )

    def networks(self, channels: int) -> tuple[GeneratorNetwork, PatchDiscriminator]:
        """The kind of both generators and that of both discriminators, for images of `channels`."""
        if self.generator == "resnet":
            generator = ResnetGenerator(channels, self.width, self.blocks)
        else:
            generator = UnetGenerator(channels, self.width, self.downs)
        return generator, PatchDiscriminator(self.width, self.layers)


def train_cyclegan(
    a: ImageSource,
    b: ImageSource,
    training: CycleGANTraining,
    out: str | Path,
    *,
    names: tuple[str, str] = ("a", "b"),
    data: Mapping[str, Any] = _NOTHING,
) -> dict[str, Any]:
    """The weights of both generators by `DIRECTIONS`, trained, and written to out/ab and out/ba.

    names: of the domains. data: what else says where the images come from; a training is resumed
    only by one of equal options and `data`. Grey images are given as many equal channels as those
    of the other domain have. Where a source has a `scale` of its values, both models keep it.
    Checkpoints, log and previews go to out/training, and a training that was killed goes on from
    there.

    Raises ValueError where the images' sizes differ, or their channels (but for grey), or options
    do not go together, and as `trainer.train` does.
    """
    out = Path(out)
    check(training, out, models=DIRECTIONS)
    training.check_generator()
    sources, shape = _of_one_shape({"a": a, "b": b})
    generator, discriminator = training.networks(shape[-1])
    params = cyclegan_parameters(
        jax.random.key(training.seed), generator, discriminator, shape, training.pool
    )
    decay_from = training.steps // 2 if training.decay_from is None else training.decay_from
    grad_fn = cyclegan_gradients(
        generator,
        discriminator,
        GAN_LOSSES[training.loss],
        cycle=training.cycle,
        identity=training.identity,
        axis_name=parallel.BATCH_AXIS,
    )
    batches = {
        side: Batches(
            sources[side],
            training.batch_size,
            2 * training.seed + i,
            flip=training.flip,
            shard=distributed.shard(),
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

    state = trained(
        out,
        training,
        params,
        grad_fn,
        optimiser(training.learning_rate, training.steps, decay_from),
        batch_at,
        kind=CycleGANTraining,
        data=data,
        findings=findings,
        write_preview=write_preview,
        sources=(a, b),
    )
    generators = state.params["generators"]
    if distributed.shard().index == 0:
        named: dict[str, str] = dict(zip(SIDES, names, strict=True))
        for direction in DIRECTIONS:
            source, target = direction
            pretrained.save_network(
                out / direction,
                generator,
                generators[direction],
                kind="generator",
                image_shape=shape,
                facts={
                    **pixel_facts(*(getattr(sources[side], "scale", None) for side in direction)),
                    "data": {"from": named[source], "to": named[target]},
                    "training": training_facts(out, state),
                },
            )
        print(f"The generators lie in {out / 'ab'} and {out / 'ba'}.")
    distributed.barrier("generators written")
    return generators


def findings(scalars: dict[str, float]) -> dict[str, str]:
    """Findings about the networks of both sides, by kind (`imbalance`)."""
    both = {}
    for side in SIDES:
        both |= imbalance(side, scalars[f"discriminator_{side}"], scalars[f"spread_{side}"])
    return both


class Repeated:
    """An `ImageSource` of several equal channels, from a grey one."""

    labels, classes = None, ()

    def __init__(self, source: ImageSource, channels: int):
        self.source, self.image_shape = source, (*source.image_shape[:2], channels)
        self.scale: Scale | None = getattr(source, "scale", None)

    def __len__(self) -> int:
        return len(self.source)

    def take(
        self, indices, *, rng: np.random.Generator | None = None, part: slice = ALL
    ) -> Float[np.ndarray, "m h w c"]:
        """The images at `indices`, their grey repeated."""
        images = self.source.take(indices, rng=rng, part=part)
        return np.repeat(images, self.image_shape[2], axis=-1)


def _of_one_shape(
    sources: dict[str, ImageSource],
) -> tuple[dict[str, ImageSource], tuple[int, ...]]:
    """Both sources with one number of channels, and their shape (h, w, c).

    Raises ValueError where their sizes differ, or their channels and neither is grey, or they are
    not of images.
    """
    channels = {side: source.image_shape[-1] for side, source in sources.items()}
    if min(channels.values()) == 1 < max(channels.values()):
        several = max(channels.values())
        print(
            f"One domain is grey, the other has {several} channels: the grey one is given as many"
            " equal ones.",
            flush=True,
        )
        sources = {
            side: Repeated(source, several) if channels[side] == 1 else source
            for side, source in sources.items()
        }
    elif len(set(channels.values())) > 1:
        raise ValueError(
            f"The domains have {channels['a']} and {channels['b']} channels; a generator needs as"
            " many on both sides, or one."
        )
    shapes = {side: source.image_shape for side, source in sources.items()}
    if shapes["a"] != shapes["b"] or len(shapes["a"]) != 3:
        words = [" x ".join(map(str, shape)) for shape in shapes.values()]
        raise ValueError(
            f"The domains have images of {words[0]} and {words[1]}; give an image size to crop and"
            " resize both to."
        )
    return sources, shapes["a"]

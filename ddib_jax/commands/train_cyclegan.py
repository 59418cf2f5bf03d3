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
from ddib_jax.commands.domain import Batches
from ddib_jax.commands.gan import Game
from ddib_jax.commands.monitor import imbalance
from ddib_jax.data import ALL, ImageSource, load_dataset
from ddib_jax.data.png import write_grid
from ddib_jax.nets import PatchDiscriminator, ResnetGenerator, UnetGenerator
from ddib_jax.training import TrainState


@dataclass(frozen=True, kw_only=True)
class TrainCyclegan(Game):
    """Train a CycleGAN on two domains; killed and started again by the same command, it resumes."""

    a: str
    """A data set or a folder of images, such as CycleGAN's trainA."""
    b: str
    """The other domain, such as trainB; as many images as it likes."""
    out: Path
    """Where the generators go, OUT/ab and OUT/ba; checkpoints, log and previews go to OUT/training.
    """
    decay_from: int | None = None
    """The step from which the learning rate falls to nothing; half of the steps unless given."""
    batch_size: int = 4
    """Images a step, of each domain, over all devices of all hosts."""
    generator: Literal["resnet", "unet"] = "resnet"
    """Kind of the generators: residual blocks at a quarter of the resolution, or a U-Net."""
    width: int = 32
    """Channels of the first layer of generators and discriminators; the paper has 64."""
    blocks: int = 6
    """Residual blocks of the ResNet generator: 9 for 256 pixels."""
    downs: int = 5
    """Halvings of the U-Net generator."""
    layers: int = 3
    """Halvings of the discriminator; 3 look at patches of 70 x 70, 2 at 34 x 34."""
    loss: Literal["lsgan", "vanilla"] = "lsgan"
    """Least squares, or the cross entropy of the first GAN."""
    cycle: float = 10.0
    """Weight of the L1 distance around the cycle."""
    identity: float = 0.5
    """Weight, in units of the cycle's, of leaving alone what is in the target domain already."""
    pool: int = 50
    """How many generated images a discriminator may be shown again."""
    flip: bool = False
    """Mirror half of the images left to right."""

    def run(self) -> None:
        """Train, with previews, and write both generators."""
        shard = self.hosts.join(heed_sigterm=True)
        sources = {
            side: load_dataset(
                name, split="train", directory=self.data_dir, image_size=self.image_size
            )
            for side, name in (("a", self.a), ("b", self.b))
        }
        sources, shape = _alike(sources)
        generator = (
            ResnetGenerator(shape[-1], self.width, self.blocks)
            if self.generator == "resnet"
            else UnetGenerator(shape[-1], self.width, self.downs)
        )
        discriminator = PatchDiscriminator(self.width, self.layers)
        params = cyclegan_parameters(
            jax.random.key(self.seed), generator, discriminator, shape, self.pool
        )
        tx = optimiser(
            self.learning_rate,
            self.steps,
            self.steps // 2 if self.decay_from is None else self.decay_from,
        )
        game = cyclegan_gradients(
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
        seen = {side: sources[side].take(range(min(8, len(sources[side])))) for side in SIDES}
        translated = jax.jit(lambda params, x: generator.apply({"params": params}, x))

        def watch(path: Path, state: TrainState) -> None:
            made = [
                np.asarray(translated(state.params["generators"][way], seen[way[0]]))
                for way in ("ab", "ba")
            ]
            rows = [row for pair in zip(seen.values(), made, strict=True) for row in pair]
            count = min(map(len, rows))
            write_grid(path, np.concatenate([row[:count] for row in rows]), columns=count)

        batch = lambda step: {side: made(step)["image"] for side, made in batches.items()}
        state = self.play(params, game, tx, batch, findings=findings, watch=watch, shard=shard)
        for way in ("ab", "ba") if shard.index == 0 else ():
            facts = {
                "data": {
                    "from": Path(getattr(self, way[0])).name,
                    "to": Path(getattr(self, way[1])).name,
                },
                "training": self.training(state),
            }
            pretrained.save_network(
                self.out / way,
                generator,
                state.params["generators"][way],
                kind="generator",
                image_shape=shape,
                facts=facts,
            )
        distributed.barrier("generators written")
        if shard.index == 0:
            print(f"The generators lie in {self.out / 'ab'} and {self.out / 'ba'}.")


def findings(scalars: dict[str, float]) -> dict[str, str]:
    """What is lost on either side."""
    return {
        kind: words
        for side in SIDES
        for kind, words in imbalance(
            side, scalars[f"discriminator_{side}"], scalars[f"spread_{side}"]
        ).items()
    }


class InColour:
    """A grey source as one of three equal channels."""

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


def _alike(sources: dict[str, ImageSource]) -> tuple[dict[str, ImageSource], tuple[int, ...]]:
    """Both sources with one number of channels, and their shape; raises ValueError where their
    sizes differ.
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

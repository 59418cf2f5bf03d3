"""`ddib train-dcgan`: one domain in, a generator of its images out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ddib_jax import distributed, parallel, pretrained
from ddib_jax.baselines import DCGAN
from ddib_jax.baselines.dcgan import dcgan_gradients, dcgan_optimiser, dcgan_parameters
from ddib_jax.commands.arguments import Count, DataName, Size
from ddib_jax.commands.domain import Batches
from ddib_jax.commands.gan import GanTraining
from ddib_jax.commands.monitor import imbalance
from ddib_jax.commands.place import check_training_place
from ddib_jax.data.png import write_grid
from ddib_jax.nets import DCGANDiscriminator, DCGANGenerator
from ddib_jax.nets.dcgan import fold_batch_norm
from ddib_jax.training import TrainState


@dataclass(frozen=True, kw_only=True)
class TrainDcgan(GanTraining):
    """Train a DCGAN on one domain.

    Killed and started again by the same command, it resumes.
    """

    data: DataName
    """A data set (five, digits:3 ...) or a folder of images; their side, times --enlarge, must be
    16, 32, 64 ... pixels.
    """
    out: Path
    """Where the generator goes, with samples.png; checkpoints, log and previews go to OUT/training.
    """
    enlarge: Size = 1
    """Repeat every pixel this many times each way: 2 makes 64 pixels of a digit's 32."""
    batch_size: Count = 64
    """Images a step, over all devices of all hosts."""
    width: Size = 32
    """Channels before the last layer; 64 in the paper."""
    latent: Size = 100
    """Dimensions of the Gaussian noise that an image is generated from."""

    def run(self) -> None:
        """Train, with previews, and write the generator."""
        shard = self.hosts.join(heed_sigterm=True)
        check_training_place(self.out, (self.data,), first=shard.index == 0)
        source = self.load(self.data)
        if len(source.image_shape) != 3 or source.image_shape[0] != source.image_shape[1]:
            raise ValueError(
                f"'{self.data}' has {' x '.join(map(str, source.image_shape))}; DCGAN makes square"
                " images."
            )
        size, channels = self.enlarge * source.image_shape[0], source.image_shape[2]
        generator = DCGANGenerator(size, channels, self.width, self.latent)
        discriminator = DCGANDiscriminator(size, self.width)
        params = dcgan_parameters(jax.random.key(self.seed), generator, discriminator)
        axis: dict[str, Any] = {"axis_name": parallel.BATCH_AXIS}
        grad_fn = dcgan_gradients(generator.clone(**axis), discriminator.clone(**axis))
        # Outside of training the generator's normalisation is folded into its weights.
        plain, key = generator.clone(normalised=False), jax.random.key(self.seed)
        sample = jax.jit(lambda params: DCGAN(params, network=plain).sample(key, 64))
        batches = Batches(source, self.batch_size, self.seed, shard=shard)

        def batch_at(step: int) -> dict:
            batch = batches(step)
            image = batch["image"].repeat(self.enlarge, axis=1).repeat(self.enlarge, axis=2)
            return batch | {"image": image}

        def weights(state: TrainState) -> dict:
            return fold_batch_norm(state.params["generator"], state.params["stats"]["generator"])

        def findings(scalars: dict) -> dict[str, str]:
            return imbalance(self.data, scalars["discriminator"], scalars["spread"])

        def write_preview(path: Path, state: TrainState) -> Path:
            return write_grid(path, np.asarray(sample(weights(state))))

        state = self.train(
            params,
            grad_fn,
            dcgan_optimiser(self.learning_rate),
            batch_at,
            findings=findings,
            write_preview=write_preview,
            sources=(source,),
            shard=shard,
        )
        if shard.index == 0:
            facts = {"data": {"name": Path(self.data).name}, "training": self.training_facts(state)}
            pretrained.save_network(
                self.out,
                plain,
                weights(state),
                kind="sampler",
                image_shape=(size, size, channels),
                facts=facts,
            )
            write_preview(self.out / "samples.png", state)
            print(f"The generator lies in {self.out}.")
        distributed.barrier("generator written")

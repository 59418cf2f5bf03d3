"""`train_dcgan`: images of one domain in, a generator of such images out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from ddib_jax import distributed, parallel, pretrained
from ddib_jax.data import ImageSource
from ddib_jax.data.png import write_grid
from ddib_jax.gan.dcgan import DCGAN, dcgan_gradients, dcgan_optimiser, dcgan_parameters
from ddib_jax.gan.monitor import imbalance
from ddib_jax.gan.training import GanTraining, check, trained, training_facts
from ddib_jax.nets import DCGANDiscriminator, DCGANGenerator
from ddib_jax.nets.dcgan import fold_batch_norm
from ddib_jax.options import Count, Size
from ddib_jax.trainer import Batches
from ddib_jax.training import TrainState

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class DCGANTraining(GanTraining):
    """Options of a DCGAN and its training."""

    enlarge: Size = 1
    """Repeat every pixel this many times each way: 2 makes 64 pixels of a digit's 32."""
    batch_size: Count = 64
    """Images a step, over all devices of all hosts."""
    width: Size = 32
    """Channels before the last layer; 64 in the paper."""
    latent: Size = 100
    """Dimensions of the Gaussian noise that an image is generated from."""


def train_dcgan(
    source: ImageSource,
    training: DCGANTraining,
    out: str | Path,
    *,
    name: str = "",
    data: Mapping[str, Any] = _NOTHING,
) -> DCGAN:
    """The generator of a domain's images, trained, and written to the directory `out`.

    The images' side, times `training.enlarge`, must be 16, 32, 64 ... pixels. name: what error
    sentences and `model.json` call them. data: what else says where they come from; a training is
    resumed only by one of equal options and `data`. Checkpoints, log and previews go to
    out/training, and a training that was killed goes on from there.

    Raises ValueError for other images, and as `trainer.train` does.
    """
    out, name = Path(out), name or "the data set"
    check(training, out)
    if len(source.image_shape) != 3 or source.image_shape[0] != source.image_shape[1]:
        raise ValueError(
            f"'{name}' has {' x '.join(map(str, source.image_shape))}; DCGAN makes square images."
        )
    size, channels = training.enlarge * source.image_shape[0], source.image_shape[2]
    generator = DCGANGenerator(size, channels, training.width, training.latent)
    discriminator = DCGANDiscriminator(size, training.width)
    params = dcgan_parameters(jax.random.key(training.seed), generator, discriminator)
    axis: dict[str, Any] = {"axis_name": parallel.BATCH_AXIS}
    grad_fn = dcgan_gradients(generator.clone(**axis), discriminator.clone(**axis))
    # Outside of training the generator's normalisation is folded into its weights.
    plain, key = generator.clone(normalised=False), jax.random.key(training.seed)
    sample = jax.jit(lambda params: DCGAN(params, network=plain).sample(key, 64))
    batches = Batches(source, training.batch_size, training.seed, shard=distributed.shard())

    def batch_at(step: int) -> dict:
        batch = batches(step)
        enlarge = training.enlarge
        return batch | {"image": batch["image"].repeat(enlarge, axis=1).repeat(enlarge, axis=2)}

    def weights(state: TrainState) -> dict:
        return fold_batch_norm(state.params["generator"], state.params["stats"]["generator"])

    def findings(scalars: dict) -> dict[str, str]:
        return imbalance(name, scalars["discriminator"], scalars["spread"])

    def write_preview(path: Path, state: TrainState) -> Path:
        return write_grid(path, np.asarray(sample(weights(state))))

    state = trained(
        out,
        training,
        params,
        grad_fn,
        dcgan_optimiser(training.learning_rate),
        batch_at,
        kind=DCGANTraining,
        data=data,
        findings=findings,
        write_preview=write_preview,
        sources=(source,),
    )
    gan = DCGAN(weights(state), network=plain)
    if distributed.shard().index == 0:
        facts = {"data": {"name": Path(name).name}, "training": training_facts(out, state)}
        pretrained.save_network(
            out,
            plain,
            gan.params,
            kind="sampler",
            image_shape=(size, size, channels),
            facts=facts,
        )
        write_preview(out / "samples.png", state)
        print(f"The generator lies in {out}.")
    distributed.barrier("generator written")
    return gan

"""`ddib train-dcgan`: one domain in, a generator of its images out."""

import dataclasses
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from ddib_jax import parallel, pretrained
from ddib_jax.baselines import DCGAN
from ddib_jax.baselines.dcgan import dcgan_game, dcgan_optimiser, dcgan_players
from ddib_jax.commands.domain import Batches
from ddib_jax.commands.train import machine
from ddib_jax.commands.umpire import Umpire, verdict
from ddib_jax.data import load_dataset
from ddib_jax.data.png import write_grid
from ddib_jax.nets import DCGANDiscriminator, DCGANGenerator
from ddib_jax.nets.dcgan import folded
from ddib_jax.training import Checkpoints, TrainState, fit, read_log


@dataclass(frozen=True)
class TrainDcgan:
    """Train a DCGAN on one domain; killed and started again by the same command, it resumes."""

    data: str
    """A data set (five, digits:3 ...) or a folder of images; their side, times `enlarge`, is 16, 32, 64 ..."""
    out: Path
    """Where the generator goes, with samples.png; checkpoints, log and previews go to OUT/training."""
    data_dir: Path | None = None
    """Where a data set's files are (MNIST's IDX files), if it is not bundled."""
    image_size: int | None = None
    """Crop and resize a folder's images to this size."""
    enlarge: int = 1
    """Repeat every pixel so often each way: 2 makes 64 of a digit's 32."""
    steps: int = 4000
    batch_size: int = 64
    learning_rate: float = 2e-4
    width: int = 32
    """Channels before the last layer; the paper has 64."""
    latent: int = 100
    seed: int = 0
    log_every: int = 20
    checkpoint_every: int = 500
    preview_every: int = 500

    def run(self) -> None:
        """Train, with previews, and write the generator."""
        source = load_dataset(self.data, "train", directory=self.data_dir, image_size=self.image_size)
        if len(source.image_shape) != 3 or source.image_shape[0] != source.image_shape[1]:
            raise ValueError(f"'{self.data}' has {' x '.join(map(str, source.image_shape))}; DCGAN makes square images.")
        size, channels = self.enlarge * source.image_shape[0], source.image_shape[2]
        axis = {"axis_name": parallel.BATCH_AXIS}
        generator = DCGANGenerator(size, channels, self.width, self.latent)
        discriminator = DCGANDiscriminator(size, self.width)
        params = dcgan_players(jax.random.key(self.seed), generator, discriminator)
        workshop = self.out / "training"
        free = ("out", "data_dir", "log_every", "checkpoint_every", "preview_every")
        checkpoints = Checkpoints(workshop, {name: value for name, value in dataclasses.asdict(self).items() if name not in free})
        tx = dcgan_optimiser(self.learning_rate)
        state = TrainState.create(params, tx)
        state = checkpoints.restore(state) or state
        if state.step:
            print(f"Resuming {self.out} at step {int(state.step)}.", flush=True)
        plain = generator.clone(normalised=False)
        batches, key = Batches(source, self.batch_size, self.seed), jax.random.key(self.seed)
        sampled = jax.jit(lambda params: DCGAN(params, network=plain).sample(key, 64))

        def batch(step: int) -> dict:
            made = batches(step)
            return made | {"image": made["image"].repeat(self.enlarge, axis=1).repeat(self.enlarge, axis=2)}

        def weights(state: TrainState) -> dict:
            return folded(state.params["generator"], state.params["stats"]["generator"])

        log = Umpire(workshop, lambda scalars: verdict(self.data, scalars["discriminator"], scalars["spread"]), start=int(state.step), steps=self.steps)
        try:
            state = fit(
                state, key, batch, grad_fn=dcgan_game(generator.clone(**axis), discriminator.clone(**axis)), tx=tx, steps=self.steps, ema_decay=0.0,
                checkpoints=checkpoints, checkpoint_every=self.checkpoint_every, log=log, log_every=self.log_every,
                watch=lambda step, state: write_grid(workshop / "previews" / f"{step:06d}.png", np.asarray(sampled(weights(state)))), watch_every=self.preview_every,
            )  # fmt: skip
        finally:
            log.close()
            checkpoints.close()
        training = {"command": shlex.join(["ddib", *sys.argv[1:]]), "steps_done": int(state.step), "machine": machine(), "jax": jax.__version__}
        training["seconds"] = round(sum(line["seconds"] for line in read_log(workshop / "log.jsonl")))
        facts = {"data": {"name": Path(self.data).name}, "training": training}
        pretrained.save_network(self.out, plain, weights(state), kind="sampler", image_shape=(size, size, channels), facts=facts)
        write_grid(self.out / "samples.png", np.asarray(sampled(weights(state))))
        print(f"The generator lies in {self.out}.")


"""`ddib train-classifier`: labelled digits in, a classifier of them out."""

import dataclasses
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ddib_jax import pretrained
from ddib_jax.commands.arguments import Count, DataName, Positive, Whole
from ddib_jax.commands.place import check_training_place
from ddib_jax.data import ImageSource, batch_at, load_dataset
from ddib_jax.evaluation import Classifier, classify
from ddib_jax.files import held
from ddib_jax.nets import DigitClassifier
from ddib_jax.parallel import machine
from ddib_jax.training import TrainingLog, TrainState, adamw, fit, gradients, read_log


@dataclass(frozen=True)
class TrainClassifier:
    """Train a classifier of digits, by which translations are measured.

    It takes minutes, so it does not checkpoint.
    """

    out: Path
    """The model directory to write; the log goes to OUT/training."""
    data: DataName = "digits"
    """A labelled data set: digits, digits:5,7, npz:FILE ..."""
    data_dir: Path | None = None
    """Where MNIST's IDX files are; all ten digits are not bundled."""
    steps: Count = 900
    """Steps of training."""
    batch_size: Count = 128
    """Images a step."""
    learning_rate: Positive = 2e-3
    """Peak learning rate of AdamW."""
    seed: Whole = 0
    """Seed of weights, batches and dropout."""

    def run(self) -> None:
        """Train, test, write the model directory."""
        check_training_place(self.out, (self.data,))
        train, test = (
            load_dataset(self.data, split=split, directory=self.data_dir)
            for split in ("train", "test")
        )
        most = DigitClassifier.classes
        unlabelled = train.labels is None or test.labels is None
        if unlabelled or len(train.image_shape) != 3 or len(train.classes) > most:
            raise ValueError(
                f"'{self.data}' has no images with labels of at most {most} classes; give digits,"
                " digits:5,7, or npz:FILE with labels."
            )
        work_dir = self.out / "training"
        with held(work_dir / "lock", "training"):
            self._run(train, test, work_dir)

    def _run(self, train: ImageSource, test: ImageSource, work_dir: Path) -> None:
        network = DigitClassifier()
        image = jnp.zeros((1, *train.image_shape))
        params = jax.jit(network.init)(jax.random.key(self.seed), image)["params"]
        tx = adamw(self.learning_rate, self.steps, warmup=100, weight_decay=0.05, clip_norm=1.0)

        def loss(params, key, batch, shared):
            logits, _ = network.apply(
                {"params": params}, batch["image"], train=True, rngs={"dropout": key}
            )
            return optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]).mean()

        def shifted_batch_at(step):
            images, labels = batch_at(train, step, batch_size=self.batch_size, seed=self.seed)
            rng = np.random.default_rng([self.seed, step, 2])
            return {"image": _shifted(images, rng), "label": labels}

        log = TrainingLog(work_dir, start=0, steps=self.steps)
        state = TrainState.create(params, tx)
        state = fit(
            jax.random.key(self.seed),
            state,
            shifted_batch_at,
            grad_fn=gradients(loss),
            tx=tx,
            steps=self.steps,
            ema_decay=0.99,
            log=log,
        )
        log.close()
        logits, _ = classify(Classifier(state.ema, network), test.take(range(len(test))))
        accuracy = float((logits.argmax(axis=1) == test.labels).mean())
        options = {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if name not in ("out", "data", "data_dir")
        }
        lines = read_log(work_dir / "log.jsonl")
        facts = {
            "data": {"name": self.data, "split": "train", "images": len(train)},
            "training": {
                "command": shlex.join(["ddib", *sys.argv[1:]]),
                **options,
                "test_accuracy": accuracy,
                "seconds": round(sum(line["seconds"] for line in lines)),
                "machine": machine(),
                "jax": jax.__version__,
            },
        }
        pretrained.save_network(
            self.out,
            network,
            state.ema,
            kind="classifier",
            image_shape=train.image_shape,
            facts=facts,
            dtype="float16",
        )
        print(
            f"The classifier lies in {self.out}; it calls {accuracy:.2%} of the {len(test)} test"
            " digits right."
        )


def _shifted(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The batch [n h w c] moved by up to two pixels each way, all images alike."""
    # What is rolled over the edge is background: digits have a border of two pixels.
    return np.roll(images, tuple(rng.integers(-2, 3, 2)), axis=(1, 2))

"""`train_classifier`: labelled digits in, a classifier of them out."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ddib_jax import pretrained
from ddib_jax.data import ImageSource, batch_at
from ddib_jax.evaluation import Classifier, classify
from ddib_jax.files import held
from ddib_jax.nets import DigitClassifier
from ddib_jax.options import Count, Positive, Whole, command_line, out_of_range
from ddib_jax.parallel import machine
from ddib_jax.trainer.place import check_place
from ddib_jax.training import TrainingLog, TrainState, adamw, fit, gradients, read_log


@dataclass(frozen=True, kw_only=True)
class ClassifierTraining:
    """Options of a classifier's training."""

    steps: Count = 900
    """Steps of training."""
    batch_size: Count = 128
    """Images a step."""
    learning_rate: Positive = 2e-3
    """Peak learning rate of AdamW."""
    seed: Whole = 0
    """Seed of weights, batches and dropout."""


def train_classifier(
    train: ImageSource,
    test: ImageSource,
    training: ClassifierTraining,
    out: str | Path,
    *,
    name: str = "",
) -> Classifier:
    """A classifier of labelled digits, trained, and written to the directory `out`.

    It is tested on `test`, whose share that it calls right is in the `model.json`. name: what
    `model.json` calls the data. The log goes to out/training. It takes minutes, so it does not
    checkpoint. Raises ValueError for options out of their ranges and images without labels of ten
    classes at most, OSError where `out` cannot be written, BlockingIOError where another training
    is at work there.
    """
    out, name = Path(out), name or "the data set"
    check_place(out)
    if said := out_of_range(training):
        raise ValueError(said)
    most = DigitClassifier.classes
    unlabelled = train.labels is None or test.labels is None
    if unlabelled or len(train.image_shape) != 3 or len(train.classes) > most:
        raise ValueError(
            f"'{name}' has no images with labels of at most {most} classes; give digits,"
            " digits:5,7, or npz:FILE with labels."
        )
    with held(out / "training" / "lock", "training"):
        return _trained(train, test, training, out, name)


def _trained(
    train: ImageSource, test: ImageSource, training: ClassifierTraining, out: Path, name: str
) -> Classifier:
    network = DigitClassifier()
    image = jnp.zeros((1, *train.image_shape))
    params = jax.jit(network.init)(jax.random.key(training.seed), image)["params"]
    tx = adamw(training.learning_rate, training.steps, warmup=100, weight_decay=0.05, clip_norm=1.0)

    def loss(params, key, batch, shared):
        logits, _ = network.apply(
            {"params": params}, batch["image"], train=True, rngs={"dropout": key}
        )
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]).mean()

    def shifted_batch_at(step: int) -> dict[str, Any]:
        size, seed = training.batch_size, training.seed
        images, labels = batch_at(train, step, batch_size=size, seed=seed)
        rng = np.random.default_rng([seed, step, 2])
        return {"image": _shifted(images, rng), "label": labels}

    work_dir = out / "training"
    log = TrainingLog(work_dir, start=0, steps=training.steps)
    state = fit(
        jax.random.key(training.seed),
        TrainState.create(params, tx),
        map(shifted_batch_at, range(training.steps)),
        grad_fn=gradients(loss),
        tx=tx,
        steps=training.steps,
        ema_decay=0.99,
        callbacks=[log.every(20)],
    )
    log.close()
    classifier = Classifier(state.ema, network)
    logits, _ = classify(classifier, test.take(range(len(test))))
    accuracy = float((logits.argmax(axis=1) == test.labels).mean())
    options = {field: getattr(training, field) for field in asdict(ClassifierTraining())}
    lines = read_log(work_dir / "log.jsonl")
    facts = {
        "data": {"name": name, "split": "train", "images": len(train)},
        "training": {
            "command": command_line(),
            **options,
            "test_accuracy": accuracy,
            "seconds": round(sum(line["seconds"] for line in lines)),
            "machine": machine(),
            "jax": jax.__version__,
        },
    }
    pretrained.save_network(
        out,
        network,
        state.ema,
        kind="classifier",
        image_shape=train.image_shape,
        facts=facts,
        dtype="float16",
    )
    print(
        f"The classifier lies in {out}; it calls {accuracy:.2%} of the {len(test)} test digits"
        " right."
    )
    return classifier


def _shifted(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The batch [n h w c] moved by up to two pixels each way, all images alike."""
    # What is rolled over the edge is background: digits have a border of two pixels.
    return np.roll(images, tuple(rng.integers(-2, 3, 2)), axis=(1, 2))

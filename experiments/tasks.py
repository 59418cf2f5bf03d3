"""The tasks of compare_methods.py, with the models and classifiers of each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

import ddib_jax
from ddib_jax import pretrained
from ddib_jax.data import mnist_idx
from ddib_jax.evaluation import Classifier, classify
from study import RUNS, load_classifier, places
from trained import classifier, cyclegan, diffusion

FIGURES = {
    "digits": (
        "called_target",
        "hue_error",
        "hue_error_p90",
        "thickness_correlation",
        "slant_correlation",
        "frechet",
        "cycle_error",
        "source_distance",
    ),
    "partners": ("label_kept", "partner_error", "frechet", "cycle_error", "source_distance"),
    "pictures": ("called_target", "frechet", "kernel_distance", "cycle_error", "source_distance"),
}
SPECIES = ("cats", "dogs")
RIDGE = 100.0
"""The regulariser of the linear classifier of cats and dogs."""
FEATURES = 256
"""Of EfficientNet's 1,280 features so many are compared: no more than there are images."""


@dataclass(frozen=True)
class Config:
    """Translate the same images by every method, compare."""

    mnist_m: Path | None = None
    """The folder of MNIST-M's files; with it, MNIST and MNIST-M are translated too."""
    mnist: Path | None = None
    """The folder of MNIST's IDX files."""
    cats_dogs: Path | None = None
    """The folder of pictures of cats and dogs; with it, cats and dogs are translated too."""
    efficientnet: Path | None = None
    """EfficientNet-Lite0's weights (.pth, .safetensors or .npz), which classifies them."""
    count: int = 256
    """Test images of each task."""
    methods: tuple[str, ...] = ()
    """Words of the names of methods; all by default."""
    one_model: str | None = "digits"
    """A model of ten classes, which makes rows of its own."""
    noise: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Noise levels that SDEdit starts from."""
    factor: int = 4
    """How many times ILVR shrinks the source."""
    meeting: float = 8.0
    """The noise level at which the bridges of a row of its own meet, instead of all the way up."""
    blur: float = 0.4
    """Pixels by which digits are blurred before DDIB encodes them, in rows of their own.

    Chosen on training fives (experiments/coloured_mnist.py).
    """
    couple: str = "low-pass:3"
    """How DDIB's bridges are coupled in a row of its own; 3 was chosen on training fives too."""
    steps: int = 30
    """Steps of the solver, each way."""
    solver: str = "dpmpp-2m"
    seeds: int = 1
    """Trainings of CycleGAN on digits, each a row."""
    diffusion_steps: int = 2400
    """Training steps of each diffusion model that is not shipped."""
    cyclegan_steps: int = 2000
    cyclegan_batch: int = 4
    cyclegan_width: int = 32
    pet_size: int = 32
    """Pixels of cats and dogs."""
    pet_cyclegan_steps: int = 6000
    batch_size: int = 64
    out: Path = RUNS / "compare_methods"

    def wants(self, name: str) -> bool:
        """Whether a method of this name is asked for."""
        return not self.methods or any(word.lower() in name.lower() for word in self.methods)

    @property
    def home(self) -> Path:
        """Where models are kept."""
        return self.out.with_name(self.out.name + "-models")

    @property
    def cyclegan(self) -> dict[str, int]:
        """Options of all CycleGANs."""
        return {
            "steps": self.cyclegan_steps,
            "batch_size": self.cyclegan_batch,
            "width": self.cyclegan_width,
            "blocks": 6,
            "layers": 2,
        }


class Task(NamedTuple):
    """Images to translate, the models that do it, and what is known of the truth."""

    title: str
    source: np.ndarray
    real: np.ndarray
    """Test images of the target, which translations are compared with."""
    pool: np.ndarray
    """Training images of the target."""
    models: tuple[str, str]
    """Diffusion models of source and target."""
    gans: dict[str, tuple[Path, str]]
    """Row's name -> (folder of a CycleGAN, its direction "ab" or "ba")."""
    classifier: Classifier
    truth: dict[str, Any]
    """Samples for `evaluate` that say what a translation should be."""
    figures: tuple[str, ...]
    """The metrics of the table."""
    blur: float | None = None
    classes: tuple[int, int] | None = None
    """Source and target among the classes of `Config.one_model`, where it knows them."""
    species: Callable | None = None
    """Features -> logits of two species, where the classifier's own classes are others."""
    note: str = ""


def digits(config: Config) -> Task:
    """Coloured fives into sevens."""
    load = ddib_jax.load_dataset
    fives, sevens = (load(name, split="test") for name in ("five", "seven"))
    others = load("seven", split="train")
    gans = {}
    for seed in range(config.seeds if config.wants("CycleGAN") else 0):
        home = config.home / (f"cyclegan-{seed}" if seed else "cyclegan")
        gan = cyclegan(home, "five", "seven", seed=seed, **config.cyclegan)
        gans[f"CycleGAN, seed {seed}" if seed else "CycleGAN"] = (gan, "ab")
    source = fives.take(range(min(config.count, len(fives))))
    real, pool = (data.take(range(len(data))) for data in (sevens, others))
    return Task(
        "Fives into sevens",
        source,
        real,
        pool,
        ("five", "seven"),
        gans,
        load_classifier(),
        {"target_class": 7},
        FIGURES["digits"],
        config.blur,
        (5, 7) if config.one_model else None,
    )


def partners(config: Config) -> list[Task]:
    """MNIST into MNIST-M and back; their pairs are known to the evaluation alone."""
    if config.mnist is None:
        raise ValueError("Name the folder of MNIST's IDX files too (--mnist).")
    folder = mnist_pairs(config.mnist_m, config.mnist, config.home / "mnist-m-data")
    names = {"MNIST": "mnist", "MNIST-M": "mnist_m"}
    for name in names.values():
        diffusion(config.home / name, f"npz:{folder / name}", steps=config.diffusion_steps)
    judge = load_classifier(classifier(config.home / "classifier", f"npz:{folder / 'both'}"))
    data = {title: f"npz:{folder / name}" for title, name in names.items()}
    gan = cyclegan(config.home / "cyclegan-mnist", *data.values(), **config.cyclegan)
    test, train = (
        {title: ddib_jax.load_dataset(name, split=split) for title, name in data.items()}
        for split in ("test", "train")
    )
    tasks = []
    for (source, target), way in zip(
        (tuple(names), tuple(reversed(names))), ("ab", "ba"), strict=True
    ):
        first, rest = places(config.count, test[target])
        truth = {
            "labels": test[source].labels[: config.count],
            "partner": test[target].take(first),
        }
        models = tuple(str(config.home / names[title]) for title in (source, target))
        tasks.append(
            Task(
                f"{source} into {target}",
                test[source].take(first),
                test[target].take(rest),
                train[target].take(range(len(train[target]))),
                models,
                {"CycleGAN": (gan, way)},
                judge,
                truth,
                FIGURES["partners"],
            )
        )
    return tasks


def mnist_pairs(mnist_m: Path, mnist: Path, folder: Path) -> Path:
    """MNIST-M and its digits in MNIST, stretched to 32 pixels: `mnist`, `mnist_m`, `both` there."""
    for split in ("train", "test"):
        files = sorted(mnist_m.glob(f"mnist_m_{split}*.npz"))
        if not files:
            raise FileNotFoundError(f"There is no mnist_m_{split}*.npz in {mnist_m}.")
        stored, grey = np.load(files[0]), mnist_idx(mnist, split)
        pictures = [Image.fromarray(image) for image in grey.pixels[stored["mnist_index"]]]
        plain = [picture.resize((32, 32), Image.Resampling.BILINEAR) for picture in pictures]
        plain = np.repeat(np.stack(plain)[..., None], 3, axis=-1)
        images = {
            "mnist": plain,
            "mnist_m": stored["images"],
            "both": np.concatenate([plain, stored["images"]]),
        }
        for name, pixels in images.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            np.savez(
                folder / name / f"{split}.npz",
                images=pixels,
                labels=np.resize(stored["labels"], len(pixels)),
            )
    return folder


def pets(config: Config) -> list[Task]:
    """Cats into dogs and back, pictures without partners."""
    if config.efficientnet is None:
        raise ValueError("Name the file of EfficientNet-Lite0's weights too (--efficientnet).")
    judge = Classifier(*pretrained.load_efficientnet(config.efficientnet))
    models = {name: config.home / name for name in SPECIES}
    training = {name: str(config.cats_dogs / "train" / name) for name in SPECIES}
    for name, start in zip(SPECIES, (None, str(models["cats"])), strict=True):
        diffusion(
            models[name],
            training[name],
            image_size=config.pet_size,
            init=start,
            steps=config.diffusion_steps,
            batch_size=32,
            model_channels=64,
            channel_mult=(1, 2, 2),
            noise_mean=0.0,
            reference=0,
            flip=True,
            checkpoint_every=200,
        )
    options = config.cyclegan | {"steps": config.pet_cyclegan_steps}
    gan = cyclegan(
        config.home / "cyclegan-pets",
        *training.values(),
        image_size=config.pet_size,
        flip=True,
        checkpoint_every=200,
        **options,
    )
    images = {}
    for name in SPECIES:
        images[name] = {}
        for split in ("train", "test"):
            pictures = ddib_jax.load_dataset(
                config.cats_dogs / split / name, split=split, image_size=config.pet_size
            )
            images[name][split] = pictures.take(range(len(pictures)))
    species, note = _species_classifier(judge, images)
    tasks = []
    for (source, target), way in zip((SPECIES, SPECIES[::-1]), ("ab", "ba"), strict=True):
        tasks.append(
            Task(
                f"{source} into {target}".capitalize(),
                images[source]["test"][: config.count],
                images[target]["test"][config.count :],
                images[target]["train"],
                (str(models[source]), str(models[target])),
                {"CycleGAN": (gan, way)},
                judge,
                {"target_class": SPECIES.index(target)},
                FIGURES["pictures"],
                species=species,
                note=note,
            )
        )
    return tasks


def _species_classifier(
    classifier: Classifier, images: dict[str, dict[str, np.ndarray]]
) -> tuple[Callable, str]:
    """A linear classifier of the two species on the classifier's features, and its worth in words.

    It is fitted to the training images by ridge regression and tested on the others.
    """
    features = {
        split: {name: classify(classifier, images[name][split])[1] for name in SPECIES}
        for split in ("train", "test")
    }
    both = np.concatenate([features["train"][name] for name in SPECIES])
    sides = np.repeat([-1.0, 1.0], [len(features["train"][name]) for name in SPECIES])
    centre = both.mean(axis=0)
    centred = both - centre
    gram = centred.T @ centred + RIDGE * np.eye(both.shape[1])
    weights = np.linalg.solve(gram, centred.T @ sides)

    def species(features: np.ndarray) -> np.ndarray:
        side = (features - centre) @ weights
        return np.stack([-side, side], axis=1)

    calls = [species(features["test"][name]).argmax(axis=1) for name in SPECIES]
    right = np.concatenate([call == label for label, call in enumerate(calls)])
    return species, f"; the classifier calls {right.mean():.1%} of {len(right)} real ones right"

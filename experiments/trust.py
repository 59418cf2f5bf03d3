"""Which images are strange to a model, and where a translation is wrong: how well it is told.

    python experiments/trust.py
    python experiments/trust.py --mnist-m DIR --mnist DIR

The score of the first model of fives is calibrated on test fives, and said of other fives, of
the same fives as USPS would have them (16 x 16 pixels, which the digit fills), of sevens and of
noise: the areas under the curves, and the shares above the threshold.

Then fives are translated into fives of other colours, whose truth is known: red is made brighter
by a square root and blue darker by a square, pixel by pixel. The target's model is the Gaussian of
such fives alone (`preconditioning.Wiener`), so that translations err. The error in the tenth of
all pixels whose deviation is highest is held beside the mean error, and so it is among the pixels
of the digits alone, which are easily told from the ground.

The second translates MNIST into MNIST-M and back besides, whose true partners are known
(`tasks.mnist_pairs` says what is read); both models are trained the first time, and kept in
`runs/trust-models/`. A picture of MNIST-M is the absolute difference of a digit and of a photograph
of which the digit says nothing, so that it can be calculated, too, how much anybody who knows this
but not the photograph could tell: the error to be expected of each pixel, over other photographs.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

import ddib_jax
from ddib_jax import DDIB, Bridge, DiffusionModel, runs
from ddib_jax.diagnosis.trust import Domain, deviations, domain_features
from ddib_jax.options import cli
from ddib_jax.preconditioning import Wiener
from ddib_jax.report import markdown_table
from ddib_jax.types import HostImages
from study import FIRST_PAIR, RUNS, Study
from tasks import mnist_pairs
from trained import diffusion


@dataclass(frozen=True)
class Config:
    """Options of the study."""

    out: Path = RUNS / "trust"
    calibrated: int = 400
    """Fives that the score is calibrated on."""
    scored: int = 200
    """Images of each kind that are scored."""
    pairs: int = 32
    members: int = 6
    """Translations of each image."""
    steps: int = 20
    mnist_m: Path | None = None
    """The folder of MNIST-M's files; with it, MNIST and MNIST-M are translated too."""
    mnist: Path | None = None
    """The folder of MNIST's IDX files."""
    photographs: int = 1000
    """Training pictures of MNIST-M whose photographs the expected error is over."""
    training_steps: int = 1200
    """Of the models of MNIST and of MNIST-M."""
    seed: int = 0


@dataclass(frozen=True)
class Nothing:
    """A network without weights that answers nothing, so that the prior alone is the denoiser."""

    def init(self, key, x, time, cond):
        """No variables."""
        return {"params": {}}

    def apply(self, variables, x, time, cond=None, **options):
        """Zeros [b h w 3]."""
        return jnp.zeros((*x.shape[:-1], 3), x.dtype)

    def condition_spec(self):
        """None."""


def other_colours(images: Float[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "n h w 3"]:
    """The true partners of images in [-1, 1]."""
    values = np.clip((images + 1) / 2, 0, 1)
    powers = np.asarray([0.5, 1.0, 2.0], np.float32)
    return (2 * values**powers - 1).astype(np.float32)


def as_usps(images: Float[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "n h w 3"]:
    """The digits cut out, each resized to 16 x 16 pixels, as USPS has them, and enlarged again."""
    size = (*images.shape[1:3], 3)
    made = []
    for image in images:
        drawn = image.max(axis=-1) > -0.5
        rows, columns = (np.flatnonzero(drawn.any(axis=axis)) for axis in (1, 0))
        digit = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        small = jax.image.resize(digit, (16, 16, 3), "linear")
        made.append(np.asarray(jax.image.resize(small, size, "linear")))
    return np.stack(made)


def area(own: Float[np.ndarray, " n"], others: Float[np.ndarray, " m"]) -> float:
    """The area under the curve of a score that should be higher of others."""
    higher = others[:, None] > own[None]
    return float(higher.mean() + 0.5 * (others[:, None] == own[None]).mean())


def main(config: Config) -> None:
    """Calibrate, score, translate, write a run and its page."""
    if (config.mnist_m is None) != (config.mnist is None):
        raise ValueError("Name the folders of MNIST-M and of MNIST, both (--mnist-m, --mnist).")
    study = Study("trust", "How well it is told what cannot be trusted", config)
    source = Bridge.over(ddib_jax.load(FIRST_PAIR[0]), steps=config.steps)
    rows = [*scored(source, config), *told(source, config)]
    if config.mnist_m and config.mnist:
        rows += partners_told(config.mnist_m, config.mnist, config)
    study.publish(
        shown=lambda run: markdown_table(run.tables["figures"]),
        tables={"figures": runs.Table(("", "value"), tuple(rows))},
    )


def scored(source: Bridge, config: Config) -> list[tuple[str, float]]:
    """Areas under curves, and shares above the threshold."""
    fives, sevens = (ddib_jax.load_dataset(name, split="test") for name in ("five", "seven"))
    noise = np.random.default_rng(config.seed).normal(0, 0.5, (config.scored, 32, 32, 3))
    look = lambda images, number: domain_features(
        source, images, key=jax.random.fold_in(jax.random.key(config.seed), number)
    )
    # drawn, for the second half of MNIST's test images is harder than the first
    drawn = np.random.default_rng(config.seed + 1).permutation(len(fives))
    own, others = np.split(drawn[: config.calibrated + config.scored], [config.calibrated])
    domain = Domain.of(look(fives.take(own), 0))
    kinds = {
        "other fives": fives.take(others),
        "USPS-like fives": as_usps(fives.take(others)),
        "sevens": sevens.take(range(config.scored)),
        "noise": np.clip(noise, -1, 1).astype(np.float32),
    }
    found = {
        name: domain.score(look(images, number))
        for number, (name, images) in enumerate(kinds.items(), 1)
    }
    rows = [
        (f"area under the curve, {name}", area(found["other fives"], found[name]))
        for name in list(found)[1:]
    ]
    shares = [
        (f"share above the threshold, {name}", float(np.mean(scores > domain.threshold)))
        for name, scores in found.items()
    ]
    return rows + shares


def told(source: Bridge, config: Config) -> list[tuple[str, float]]:
    """The error of the pixels of the highest deviations over that of all."""
    train, test = (ddib_jax.load_dataset("five", split=split) for split in ("train", "test"))
    prior = Wiener.fit(other_colours(train.take(range(2000))))
    model: DiffusionModel = replace(source.model, params={}, precondition=prior, network=Nothing())
    ddib = DDIB(source, replace(source, model=model))
    images = test.take(range(config.pairs))
    _, error, spread = _errors_and_spread(ddib, images, other_colours(images), config)
    digit = images.max(axis=-1) > -0.5
    return [
        ("mean absolute error of the translations", float(error.mean())),
        ("error in the tenth of the highest deviation, over the mean", _share(error, spread)),
        (
            "the same among the pixels of the digits alone",
            _share(error[digit], spread[digit]),
        ),
    ]


def partners_told(mnist_m: Path, mnist: Path, config: Config) -> list[tuple[str, float]]:
    """The same of MNIST into MNIST-M and back, by models that never saw a pair."""
    home = config.out.with_name(f"{config.out.name}-models")
    folder = mnist_pairs(mnist_m, mnist, home / "mnist-m-data")
    data = {
        title: f"npz:{folder / name}"
        for title, name in (("MNIST", "mnist"), ("MNIST-M", "mnist_m"))
    }
    halves, images, seen = {}, {}, {}
    for title, name in data.items():
        place = diffusion(home / title.lower(), name, steps=config.training_steps)
        halves[title] = Bridge.over(ddib_jax.load(place), steps=config.steps)
        images[title] = ddib_jax.load_dataset(name, split="test").take(range(config.pairs))
        train = ddib_jax.load_dataset(name)
        seen[title] = train.take(range(min(len(train), config.photographs)))
    rows = []
    for one, other in (("MNIST", "MNIST-M"), ("MNIST-M", "MNIST")):
        ddib = DDIB(halves[one], halves[other])
        made, error, spread = _errors_and_spread(ddib, images[one], images[other], config)
        rows += [
            (f"{one} into {other}: mean absolute error", float(error.mean())),
            (
                f"{one} into {other}: error in the tenth of the highest deviation, over the mean",
                _share(error, spread),
            ),
        ]
        if one == "MNIST":
            expected = expected_error(made, images[one], seen[one], seen[other])
            rows += [
                (
                    f"{one} into {other}: in that of the highest expected error",
                    _share(error, expected),
                )
            ]
    return rows


def expected_error(
    made: Float[np.ndarray, "n h w c"],
    digits: Float[np.ndarray, "n h w c"],
    seen_digits: Float[np.ndarray, "m h w c"],
    seen_pictures: Float[np.ndarray, "m h w c"],
) -> Float[np.ndarray, "n h w"]:
    """The mean error of translations of digits, were each before every other picture's photograph.

    All in [-1, 1]; the i-th of the seen pictures is of the i-th of the seen digits, whose
    photographs are found from both. Where a digit's edge is grey these are known roughly.
    """
    picture, digit = (seen_pictures + 1) / 2, (seen_digits + 1) / 2
    photographs = np.where(digit < 0.5, picture, 1 - picture)
    before = lambda image: 2 * np.abs(photographs - (image + 1) / 2) - 1
    errors = [np.abs(one - before(image)) for one, image in zip(made, digits, strict=True)]
    return np.stack([error.mean(axis=(0, -1)) for error in errors])


def _errors_and_spread(
    ddib: DDIB, images: HostImages, truth: HostImages, config: Config
) -> tuple[HostImages, np.ndarray, np.ndarray]:
    """The translations; of every pixel [n h w] their error, and the deviation over `members`."""
    made = ddib_jax.translate(ddib, images)
    key = jax.random.key(config.seed)
    spread = deviations(ddib, images, config.members, key=key)[..., 0]
    return made, np.abs(made - truth).mean(axis=-1), spread


def _share(error: np.ndarray, spread: np.ndarray) -> float:
    worst = spread >= np.quantile(spread, 0.9)
    return float(error[worst].mean() / error.mean())


if __name__ == "__main__":
    main(cli(Config))

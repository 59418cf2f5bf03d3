"""Optimal transport where two models meet: what unlike latents cost, and what aligning them brings.

    python experiments/interface.py                      # both parts
    python experiments/interface.py --parts mixtures     # a minute

`mixtures`: two mixtures of the plane, whose models are exact, meet at noise levels from low to
high. However exact both are, translations have another law than the target where the latents have:
an encoder stretches distances by no more than its largest stretch L, so that the Wasserstein
distance of translations to the target is at least that of the latents, divided by L (the lower
bound of OT-ALD, Wang et al. 2026). L is the largest over all pairs of one sample's points, which
makes the bound exact for the sample. Then latents are aligned by an `EntropicMap` of others.
`digits`: fives into sevens at the same levels, as they are, by the Gaussian switch and by transport
in few directions, with no switch, instead of it and after it; directions, levels and regularisation
were chosen on training fives. Transport is fitted to noisy training images alone: no network, no
pair. Needs the extra `studies`. Writes `runs/interface/`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np

import ddib_jax
from ddib_jax import parallel, runs, schedules
from ddib_jax.analytic import mixture_model
from ddib_jax.bridge import DDIB, Bridge
from ddib_jax.data.png import write_grid
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.evaluation import classify
from ddib_jax.options import cli
from ddib_jax.report import markdown_table
from ddib_jax.solvers import get_solver
from ddib_jax.translation import align
from ddib_jax.translation.aligning import noisy_latents
from ddib_jax.transport import EntropicMap, wasserstein, widest
from study import RUNS, Study, cell, load_classifier, measured

FIGURES = ("called_target", "hue_error", "frechet")


@dataclass(frozen=True)
class Config:
    """Let two models meet at several noise levels."""

    parts: tuple[str, ...] = ("mixtures", "digits")
    points: int = 1000
    """Points of each of a mixture's samples."""
    meetings: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 80.0)
    """Noise levels at which the mixtures meet."""
    levels: tuple[float, ...] = (80.0, 20.0, 5.0)
    """Noise levels at which the digits' models meet."""
    directions: int = 128
    """Directions that the digits' latents are transported in."""
    beyond: int = 64
    """Directions that they are transported in after the Gaussian switch."""
    brightness: tuple[int, ...] = (32, 64)
    """The same of brightness alone."""
    fraction: float = 0.01
    """The transport's regularisation, of the mean squared distance."""
    fitted: int = 5000
    """Training images of each digit that the transport is fitted to."""
    split: str = "test"
    count: int = 892
    """Fives that are translated."""
    steps: int = 20
    """Evaluations each way, to whatever level."""
    out: Path = RUNS / "interface"


def main(config: Config) -> Path:
    """Run the study; returns the path of its page."""
    study = Study("interface", "Optimal transport where two models meet", config)
    tables = {}
    for name in config.parts:
        tables[name] = PARTS[name](config)
        print(f"{name}\n\n{markdown_table(tables[name], digits=3)}", flush=True)
    return study.publish(shown=lambda run: "", tables=tables)


def mixtures(config: Config) -> runs.Table:
    """Distances of latents and of translations, and the lower bound, at each level."""
    pair = Mixtures(config)
    rows = []
    for level in config.meetings:
        source, target = (pair.bridge(model, level) for model in pair.models)
        here, aligning, there, others = (
            np.asarray(bridge.encode(jnp.asarray(cloud)) * bridge.scale)
            for bridge, cloud in zip((source, source, target, target), pair.clouds, strict=True)
        )
        apart = wasserstein(here, there)
        decode = lambda latents, target=target: np.asarray(
            target.decode(jnp.asarray(latents) / target.scale)
        )
        plain = decode(here)
        fitted = EntropicMap.fit(aligning, others, fraction=config.fraction)
        aligned = np.asarray(fitted(jnp.asarray(here), 1.0, None))
        bound = apart / stretch(plain, here, pair.clouds[2], there)
        rows.append(
            (
                level,
                apart,
                bound,
                wasserstein(plain, pair.clouds[2]),
                wasserstein(aligned, there),
                wasserstein(decode(aligned), pair.clouds[2]),
                wasserstein(pair.clouds[3], pair.clouds[2]),
            )
        )
    columns = ("the models meet at", "latents", "lower bound", "translations", "latents, aligned")
    columns += ("translations, aligned", "another sample of the target")
    caption = (
        f"Wasserstein distances to a sample of the target of {config.points} points, or to its"
        " latents; data of deviation about 1"
    )
    return runs.Table(columns, tuple(rows), caption)


class Mixtures:
    """Two mixtures of the plane, their exact models, and two samples of each."""

    def __init__(self, config: Config):
        angles = np.pi * np.array([0.5, 7 / 6, 11 / 6])
        triangle = np.stack([0.6 + np.cos(angles), np.sin(angles)], axis=1)
        cross = np.array([[1.4, 0.0], [-1.4, 0.0], [0.0, 0.6], [0.0, -0.6]])
        rng, schedule = np.random.default_rng(0), schedules.EDM(0.01, 100.0)
        self.models, clouds = [], []
        for means, deviation in ((triangle, 0.2), (cross, 0.15)):
            variances = jnp.full(len(means), deviation**2)
            self.models.append(mixture_model(jnp.asarray(means), variances, schedule=schedule))
            for _ in range(2):
                chosen = means[rng.integers(len(means), size=config.points)]
                noise = rng.normal(size=chosen.shape)
                clouds.append((chosen + deviation * noise).astype(np.float32))
        self.clouds = clouds

    def bridge(self, model: DiffusionModel, level: float) -> Bridge:
        """A bridge so fine that its error counts for nothing, up to a noise level."""
        return Bridge.over(model, steps=200, solver=get_solver("rk4")).up_to(jnp.float32(level))


def stretch(*pairs: np.ndarray) -> float:
    """The most by which the distance of two points grows on the way to their latents.

    pairs: points, their latents, other points, their latents, each [n d].
    """
    points, latents, others, their_latents = pairs
    distances = lambda here, there: np.linalg.norm(here[:, None] - there[None], axis=-1)
    return float(np.max(distances(latents, their_latents) / distances(points, others)))


def digits(config: Config) -> runs.Table:
    """What becomes of fives at each level, by each way to hand their latents over."""
    load = ddib_jax.load_dataset
    images = load("five", split=config.split).take(range(config.count))
    classifier = load_classifier()
    _, features = classify(classifier, load("seven", split=config.split).take(range(1000)))
    given = {"source": images, "target_class": 7, "target_features": features}
    training = [load(name, split="train").take(range(config.fitted)) for name in ("five", "seven")]
    rows, shown, figures = [], [images[:16]], []
    for level in config.levels:
        for way, ddib in ways(config, level, training):
            made = ddib_jax.translate(ddib, images)
            figures = measured(classifier, made, given, FIGURES)
            rows.append((level, way, *map(cell, figures)))
            print(*rows[-1], flush=True)
            shown.append(made[:16])
    columns = ("the models meet at", "latents", *(row.label for row in figures))
    config.out.mkdir(parents=True, exist_ok=True)
    write_grid(config.out.with_name(f"{config.out.name}.png"), np.concatenate(shown), columns=16)
    caption = f"{len(images)} fives of the {config.split} split into sevens"
    return runs.Table(columns, tuple(rows), caption)


def ways(config: Config, level: float, training: list[np.ndarray]) -> Iterator[tuple[str, DDIB]]:
    """Name and DDIB of each way to hand latents over at a noise level."""
    solver = get_solver("unipc-3")
    models = [ddib_jax.load(name) for name in ("five", "seven")]
    over = lambda model, **switch: Bridge.over(model, steps=config.steps, solver=solver, **switch)
    lowered = DDIB(*(over(model).up_to(jnp.float32(level)) for model in models))
    yield "as they are", lowered
    if level >= max(models[0].schedule.sigma_range):
        # The bridges end there, and no Gaussian is left to switch to.
        for count in config.brightness:
            ddib = align(lowered, *training, directions=count, fraction=config.fraction)
            yield f"transported in {count} of brightness", ddib
        return
    switched = DDIB(*(over(model, switch=level) for model in models))
    yield "Gaussian switch", switched
    yield f"transported in {config.directions} directions", transported(config, lowered, training)
    # Beyond its Gaussian a latent's deviation is the same in all directions, so that they are
    # chosen by the images: of the target's model, or of brightness alone.
    own = np.asarray(switched.target.switch.gaussian.directions)
    own = own.reshape(len(own), -1)[: config.beyond]
    words = f"the switch, then transported in {config.beyond} directions"
    yield words, transported(config, switched, training, own)
    for count in config.brightness:
        ddib = align(switched, *training, directions=count, fraction=config.fraction)
        yield f"the switch, then transported in {count} of brightness", ddib


def transported(
    config: Config, ddib: DDIB, training: list[np.ndarray], directions: np.ndarray | None = None
) -> DDIB:
    """The DDIB with latents aligned in these directions, or where noisy images vary most."""
    # The law of a noisy image is that of a state on the way: no network is asked.
    rng = np.random.default_rng(0)
    clouds = [
        noisy_latents(bridge, images, rng)
        for bridge, images in zip((ddib.source, ddib.target), training, strict=True)
    ]
    directions = widest(*clouds, count=config.directions) if directions is None else directions
    fitted = EntropicMap.fit(*clouds, directions=directions, fraction=config.fraction)
    return replace(ddib, perturb=fitted, coefficient=1.0)


PARTS: dict[str, Callable[[Config], runs.Table]] = {"mixtures": mixtures, "digits": digits}


if __name__ == "__main__":
    parallel.keep_compiled()
    main(cli(Config))

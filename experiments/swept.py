"""What perturbations.py sweeps: every perturbation, and sequences of them, with coefficients."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from ddib_jax.perturbations import get_perturbation


@dataclass(frozen=True)
class Experiment:
    """One perturbation, or a sequence of them, and the coefficients that it is swept over."""

    slug: str
    title: str
    words: tuple[str, ...]
    coefficients: tuple[float, ...] = ()

    @property
    def swept(self) -> tuple[float, ...]:
        """The coefficients, by default those that the registry suggests for what is swept."""
        swept = next(word for word in self.words if "=" not in word)
        return self.coefficients or get_perturbation(swept).sweep


N = "normalise=1"
EXPERIMENTS = (
    Experiment("none", "1. Nothing", ("none",)),
    Experiment(
        "normalise", "2. Normalise, then scale", ("normalise",), (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
    ),
    Experiment("noise-normalised", "3a. Noise added to the normalised latent", (N, "add-noise")),
    Experiment("noise", "3b. Noise added to the source latent", ("add-noise",)),
    Experiment("blend", "4a. Image blended into the source latent", ("blend-image",)),
    Experiment(
        "blend-normalised", "4b. Image blended into the normalised latent", (N, "blend-image")
    ),
    Experiment(
        "board-image", "5a. Checkerboard of image and source latent", ("checkerboard-image",)
    ),
    Experiment(
        "board-image-normalised",
        "5b. Checkerboard of image and normalised latent",
        (N, "checkerboard-image"),
    ),
    Experiment(
        "board-noise", "6a. Checkerboard of noise and source latent", ("checkerboard-noise",)
    ),
    Experiment(
        "board-noise-normalised",
        "6b. Checkerboard of noise and normalised latent",
        (N, "checkerboard-noise"),
    ),
    Experiment("local-rotation", "7a. Blocks of 2 x 2 turned, source latent", ("local-rotation",)),
    Experiment(
        "local-rotation-normalised",
        "7b. Blocks of 2 x 2 turned, normalised latent",
        (N, "local-rotation"),
    ),
    Experiment("blur-image", "8a. Image blurred before encoding", ("blur-image",)),
    Experiment("blur", "8b. Latent blurred", ("blur",)),
    Experiment("rotate", "8c. Latent rotated", ("rotate",)),
    Experiment(
        "rotate-blur", "8d. Latent rotated, then blurred by half a pixel", ("rotate", "blur=0.5")
    ),
    Experiment(
        "blur-twice",
        "8e. Latent blurred by half a pixel, then more strongly",
        ("blur=0.5", "blur"),
        (1.0, 2.0, 4.0),
    ),
    Experiment("slerp-noise", "9a. Along the sphere towards noise", ("slerp-noise",)),
    Experiment(
        "slerp-other", "9b. Along the sphere towards another image's latent", ("slerp-other",)
    ),
    Experiment("keep-low", "9c. Low spatial frequencies kept, the rest noise", ("keep-low",)),
    Experiment("keep-high", "9d. High spatial frequencies kept, the rest noise", ("keep-high",)),
    Experiment("phase", "9e. Fourier phases turned to those of noise", ("phase-of-noise",)),
    Experiment(
        "magnitude", "9f. Fourier magnitudes turned to those of noise", ("magnitude-of-noise",)
    ),
    Experiment("recolour", "9g. Channel statistics of another image's latent", ("recolour",)),
    Experiment("partial", "9h. Bridges that meet at a lower noise level", ("partial-noise",)),
    Experiment("gaussianise", "9i. Histogram made normal", ("gaussianise",)),
    Experiment(
        "noise-matched",
        "9j. Towards noise, then the channel statistics given back",
        ("slerp-noise", "match-channels=1"),
    ),
    Experiment(
        "low-matched",
        "9k. Low frequencies kept, then the channel statistics given back",
        ("keep-low", "match-channels=1"),
    ),
)


def experiments(only: Collection[str] = (), *, quick: bool = False) -> tuple[Experiment, ...]:
    """Those that are named, or all; ValueError for an unknown name.

    `none` and `rotate`, from which equivariance is computed, are always among them. quick: two
    coefficients each.
    """
    slugs = [experiment.slug for experiment in EXPERIMENTS]
    if unknown := set(only) - set(slugs):
        raise ValueError(
            f"Unknown experiment {', '.join(sorted(unknown))}; known are {', '.join(slugs)}."
        )
    selected = {*only, "none", "rotate"} if only else set(slugs)
    chosen = [experiment for experiment in EXPERIMENTS if experiment.slug in selected]
    if quick:
        chosen = [
            replace(e, coefficients=e.swept if len(e.swept) < 3 else (e.swept[1], e.swept[-1]))
            for e in chosen
        ]
    return tuple(chosen)


def note(experiment: Experiment) -> str:
    """The perturbations in words, as the command line takes them."""
    first, *rest = experiment.words
    steps = [get_perturbation(word.partition("=")[0]) for word in experiment.words]
    words = "; then ".join(step.description for step in steps).capitalize()
    then = f" --then {' '.join(rest)}" if rest else ""
    look = " --reference IMAGE" if any("reference" in step.needs for step in steps) else ""
    return f"{words}. ddib sweep --perturb {first}{then}{look}"

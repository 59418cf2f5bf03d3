"""`ddib diagnose`: a model in, a page out that says whether it is fit to bridge."""

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np
import tyro

from ddib_jax import diagnosis, pretrained, runs, translation
from ddib_jax.bridge import GRID, Bridge
from ddib_jax.cli.arguments import GridName, ImageSize, OptionalText
from ddib_jax.cli.conditions import Condition, size_of
from ddib_jax.cli.crossing import check_images, read_inputs
from ddib_jax.cli.pixels import scale_of
from ddib_jax.data import DATASETS
from ddib_jax.data.inputs import check_apart
from ddib_jax.data.png import to_bytes
from ddib_jax.diagnosis import Check, RoundTrip
from ddib_jax.diagnosis.verdict import advised, assessed, described, name_of
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.files import check_output
from ddib_jax.nets.precision import Precision
from ddib_jax.options import Count, Positive, Sizes, Whole
from ddib_jax.parallel import machine
from ddib_jax.progress import progress
from ddib_jax.report import write_report
from ddib_jax.solvers import get_solver

_TRIED = 8
"""Images that the solvers are tried on."""
_NOTED = ("error", "grid", "limit", "precision", "seed")


@dataclass(frozen=True)
class Diagnose:
    """Examine a model and say whether it is fit to bridge.

    The exit code is 1 where it is not.
    """

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    """A model directory or a shipped model."""
    images: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="[IMAGES ...]", help_behavior_hint=""),
    ] = ()
    """Real images of its domain: files, folders or a data set. Unless given, the test split of what
    it was trained on.
    """
    out: Path | None = None
    """The directory of the page to write; runs/diagnosis-MODEL unless given."""
    error: Positive = 1e-3
    """The largest relative error of encode -> decode that is fit."""
    latent_error: Positive = 0.05
    """The largest relative error of the latent, to that of a fine solution, that is fit: a solver
    may give images back and still not solve the ODE.
    """
    limit: Count = 64
    """How many images to examine, and how many samples to draw."""
    label: Annotated[str | None, tyro.conf.arg(name="class", metavar="CLASS|none")] = None
    """The class of the images, by name or number, where the model has classes."""
    prompt: OptionalText = None
    """What the images show, in words, for a text-conditional model; "" says nothing of them."""
    image_size: ImageSize = ()
    """Height and width of a latent model's images, or one number for both."""
    solvers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="SOLVER ...")] = (
        "ddim",
        "dpmpp-2m",
        "heun",
        "rk4",
        "implicit-midpoint",
        "rex-midpoint",
        "lattice-heun",
    )
    """Solvers to try; an unknown name gives the list."""
    evaluations: Sizes = (10, 20, 40, 100)
    """Network evaluations each way at which the solvers are tried."""
    grid: GridName = GRID
    """Noise levels: log-uniform, karras, log-normal, uniform in the model's time, ddim or
    ddim-trailing.
    """
    precision: Precision | None = None
    """How the network computes: float32, tf32 or bfloat16; unless given, as the model says and the
    device prefers.
    """
    split: Literal["train", "test"] = "test"
    """Which split of a data set, or of a folder that has splits."""
    seed: Whole = 0
    """Seed of the samples' latents."""

    def run(self) -> int:
        """Examine, print, write a page; returns 0 for a model that is fit to bridge, else 1."""
        started = datetime.datetime.now(datetime.UTC)
        self._check()
        directory = self.out or Path("runs") / f"diagnosis-{Path(self.model).name}"
        check_output(directory)
        check_apart(directory, self.images)
        checkpoint = pretrained.open(self.model, image_size=size_of(self.image_size))
        facts = checkpoint.facts
        model = Condition(self.label, self.prompt).model(checkpoint).at_precision(self.precision)
        check_images(model)
        inputs = self._inputs(facts)
        _, images = read_inputs(
            inputs,
            model.image_shape,
            split=self.split,
            limit=self.limit,
            scale=scale_of(checkpoint),
        )
        description = described(model, facts)
        print("\n".join(f"{name:16} {words}" for name, words in description), flush=True)

        latents, samples = self._latents_and_samples(model, images)
        checks = (*diagnosis.latent_checks(latents), *diagnosis.sample_checks(samples, images))
        print(f"\nIs it good enough to bridge? ({len(images)} images and as many samples)")
        for check in checks:
            print(
                f"  {'ok ' if check.passed else 'BAD'}  {check.label:48} {check.value:8.3f}  "
                f" wanted {check.low:g} to {check.high:g}"
            )

        print(
            "\nDoes the image come back? (trying the solvers takes some minutes the first time)",
            flush=True,
        )
        codec_error = diagnosis.codec_error(model, images[:_TRIED])
        if model.codec is not None:
            print(f"  the codec alone, without the ODE: error {codec_error:.2e}")
        trips = diagnosis.round_trips(
            model, images[:_TRIED], self.solvers, self.evaluations, grid=self.grid
        )
        for trip in trips:
            print(
                f"  {name_of(trip):28} {trip.evaluations:5d} evaluations each way   error"
                f" {trip.error:8.2e}   of the latent {trip.latent:8.2e}   {1e3 * trip.seconds:6.0f}"
                " ms an image"
            )
        plain, exact = (
            diagnosis.recommended(trips, self.error, self.latent_error, with_aux=with_aux)
            for with_aux in (False, True)
        )
        fit, conclusion = assessed(checks, plain, self.error)
        advice = advised(plain, exact, trips, error=self.error, grid=self.grid)

        batch = min(64, max(8, self.limit))
        weights, working = diagnosis.memory(model, get_solver("heun"), batch)
        cost = (
            ("Error of the codec's own round trip", codec_error),
            ("Weights, MB", weights / 1e6),
            ("Working memory an image, MB, by heun", working / 1e6),
        )
        print(f"\n{advice}\n" + "\n".join(f"{label}: {value:.3g}" for label, value in cost))

        run = runs.Run(
            name="diagnosis",
            title=f"Diagnosis of {Path(self.model).name}",
            **runs.circumstances("ddib", started, machine()),
            config={name: getattr(self, name) for name in _NOTED},
            tables={
                "checks": _checks_table(checks),
                "round_trips": _round_trips_table(trips),
                "cost": runs.Table(("", "Value"), cost),
                "model": runs.Table(("", ""), description),
            },
            texts={"summary": conclusion, "conclusion": conclusion, "recommended": advice},
            arrays={
                "images": to_bytes(images),
                "samples": to_bytes(samples),
                "latents": latents.astype(np.float16),
            },
        )
        runs.write_run(directory, run)
        page = write_report(directory)
        print(f"\nConclusion: {conclusion}\nThe page lies in {page}")
        return 0 if fit else 1

    def _check(self) -> None:
        """Raise ValueError for options that nothing can be examined by."""
        positive = self.error > 0 and self.latent_error > 0
        if not positive or not self.evaluations or min(self.evaluations) < 1 or self.limit < 2:
            raise ValueError(
                "The wanted errors must be positive, evaluations at least 1, and images at least 2."
            )
        for name in self.solvers:
            get_solver(name)

    def _inputs(self, facts: dict[str, Any]) -> tuple[str, ...]:
        """The images named, or the data set that the model was trained on."""
        name = str(facts.get("data", {}).get("name", ""))
        if not self.images and name.partition(":")[0] not in (*DATASETS, "tfds"):
            raise ValueError(
                f"'{self.model}' was not trained on a bundled data set; name some real images of"
                " its domain after the model."
            )
        return self.images or (name,)

    def _latents_and_samples(
        self, model: DiffusionModel, images: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Latents of the images, and as many samples of the model [n h w c]."""
        examined = Bridge.over(model, steps=20, grid=self.grid)
        encoding, sampling = jax.random.split(jax.random.key(self.seed))
        latents = diagnosis.noisy_latents(encoding, examined, images, progress=progress("encoding"))
        noise = np.asarray(jax.random.normal(sampling, latents.shape))
        return latents, translation.sample(examined, noise, progress=progress("sampling"))


def _checks_table(checks: tuple[Check, ...]) -> runs.Table:
    rows = [
        (check.label, check.value, check.low, check.high, "ok" if check.passed else "bad")
        for check in checks
    ]
    return runs.Table(("", "Value", "From", "To", ""), tuple(rows))


def _round_trips_table(trips: list[RoundTrip]) -> runs.Table:
    columns = (
        "solver",
        "auxiliary state",
        "steps",
        "evaluations",
        "error",
        "error of the latent",
        "seconds an image",
    )
    rows = [
        (
            trip.solver,
            "yes" if trip.with_aux else "no",
            trip.steps,
            trip.evaluations,
            trip.error,
            trip.latent,
            trip.seconds,
        )
        for trip in trips
    ]
    caption = (
        "Relative RMSE of encode → decode, and of the latent to that of a fine solution;"
        " evaluations, steps and seconds each way"
    )
    return runs.Table(columns, tuple(rows), caption)

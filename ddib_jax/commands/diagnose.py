"""`ddib diagnose`: what a model is, whether it is good enough to bridge, which solver gives the
image back, what it costs.
"""

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np
import tyro

from ddib_jax import bridge, diagnosis, pretrained, runs
from ddib_jax.bridge import GRID, Bridge
from ddib_jax.commands.conditions import Condition
from ddib_jax.commands.crossing import check_images, progress, read_inputs
from ddib_jax.commands.train import machine
from ddib_jax.data import DATASETS
from ddib_jax.data.png import to_bytes
from ddib_jax.diagnosis import Check, RoundTrip
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.report import write_report
from ddib_jax.report.tables import number
from ddib_jax.solvers import get_solver

CROSSED = 8


@dataclass(frozen=True)
class Diagnose:
    """Examine a model and say whether it is fit to bridge; exit code 1 where it is not."""

    model: tyro.conf.Positional[str]
    """A model directory or a shipped model."""
    images: tyro.conf.Positional[tuple[str, ...]] = ()
    """Real images of its domain: files, folders or a data set; by default the test split of what it
    was trained on.
    """
    out: Path | None = None
    """Where the page goes; by default runs/diagnosis-MODEL."""
    error: float = 1e-3
    """The relative error of encode -> decode that is wanted."""
    latent_error: float = 0.05
    """The relative error of the latent, to that of a fine solution, that is wanted: what gives
    images back may yet not solve the ODE.
    """
    limit: int = 64
    """How many images are looked at, and how many samples are drawn."""
    label: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """The class of the images, by name or number, where the model has classes."""
    solvers: tuple[str, ...] = (
        "ddim",
        "dpmpp-2m",
        "heun",
        "rk4",
        "implicit-midpoint",
        "rex-midpoint",
    )
    """Solvers to try; an unknown name gives the list."""
    evaluations: tuple[int, ...] = (10, 20, 40, 100)
    """Network evaluations each way at which the solvers are tried."""
    grid: str = GRID
    """Noise levels: karras, log-uniform, log-normal, or uniform in the model's time."""
    split: Literal["train", "test"] = "test"
    """Which split of a named data set."""
    seed: int = 0
    """Seed of the samples' latents."""

    def run(self) -> int:
        """Examine, print, write a page; returns 0 for a model that is fit to bridge, else 1."""
        started = datetime.datetime.now(datetime.UTC)
        if (
            not self.error > 0
            or not self.latent_error > 0
            or not self.evaluations
            or min(self.evaluations) < 1
            or self.limit < 2
        ):
            raise ValueError(
                "The wanted errors must be positive, evaluations at least 1, and images at least 2."
            )
        for name in self.solvers:
            get_solver(name)
        facts = pretrained.facts(self.model)
        model = Condition(self.label).model(self.model)
        check_images(model)
        _, images = read_inputs(
            self._inputs(facts), model.data_shape, split=self.split, limit=self.limit
        )
        about = described(model, facts)
        print("\n".join(f"{key:16} {value}" for key, value in about), flush=True)

        here = Bridge.over(model, steps=20, grid=self.grid)
        key = jax.random.key(self.seed)
        latents = diagnosis.noisy_latents(key, here, images, progress=progress("encoding"))
        noise = np.asarray(jax.random.normal(jax.random.fold_in(key, 1), latents.shape))
        samples = bridge.sample(here, noise, progress=progress("sampling"))
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
        trips = diagnosis.round_trips(
            model, images[:CROSSED], self.solvers, self.evaluations, grid=self.grid
        )
        for trip in trips:
            print(
                f"  {_name(trip):28} {trip.evaluations:5d} evaluations each way   error"
                f" {trip.error:8.2e}   of the latent {trip.latent:8.2e}   {1e3 * trip.seconds:6.0f}"
                " ms an image"
            )
        best = {
            carried: diagnosis.recommended(trips, self.error, self.latent_error, carried=carried)
            for carried in (False, True)
        }
        fit, conclusion = assessed(checks, best[False], self.error)
        advice = advised(best, trips, self.error, self.grid)
        weights, each = diagnosis.memory(model, get_solver("heun"), min(64, max(8, self.limit)))
        cost = (
            ("Weights, MB", weights / 1e6),
            ("Working memory an image, MB, by heun", each / 1e6),
        )
        print(f"\n{advice}\n" + "\n".join(f"{label}: {value:.3g}" for label, value in cost))
        page = self._write(
            started, model, about, checks, trips, cost, conclusion, advice, images, latents, samples
        )
        print(f"\nVerdict: {conclusion}\nThe page lies in {page}")
        return 0 if fit else 1

    def _inputs(self, facts: dict[str, Any]) -> tuple[str, ...]:
        name = str(facts.get("data", {}).get("name", ""))
        if not self.images and name.partition(":")[0] not in (*DATASETS, "tfds"):
            raise ValueError(
                f"'{self.model}' was not trained on a bundled data set; name some real images of"
                " its domain after the model."
            )
        return self.images or (name,)

    def _write(
        self,
        started,
        model,
        about,
        checks,
        trips,
        cost,
        conclusion,
        advice,
        images,
        latents,
        samples,
    ) -> Path:
        out = self.out or Path("runs") / f"diagnosis-{Path(self.model).name}"
        columns = (
            "solver",
            "carried",
            "steps",
            "evaluations",
            "error",
            "error of the latent",
            "seconds an image",
        )
        rows = tuple(
            (
                t.solver,
                "yes" if t.carried else "no",
                t.steps,
                t.evaluations,
                t.error,
                t.latent,
                t.seconds,
            )
            for t in trips
        )
        tables = {
            "checks": runs.Table(
                ("", "Value", "From", "To", ""),
                tuple((*_cells(check), "ok" if check.passed else "bad") for check in checks),
            ),
            "round_trips": runs.Table(
                columns,
                rows,
                "Relative RMSE of encode → decode, and of the latent to that of a fine solution;"
                " evaluations, steps and seconds each way",
            ),
            "cost": runs.Table(("", "Value"), cost),
            "model": runs.Table(("", ""), about),
        }
        run = runs.Run(
            name="diagnosis",
            title=f"Diagnosis of {Path(self.model).name}",
            **runs.circumstances("ddib", started, machine()),
            config={"error": self.error, "grid": self.grid, "limit": self.limit, "seed": self.seed},
            tables=tables,
            texts={"summary": conclusion, "conclusion": conclusion, "recommended": advice},
            arrays={
                "images": to_bytes(images),
                "samples": to_bytes(samples),
                "latents": latents.astype(np.float16),
            },
        )
        runs.write_run(out, run)
        return write_report(out)


def described(model: DiffusionModel, facts: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """What the model directory holds, a name and words a row."""
    count = sum(leaf.size for leaf in jax.tree.leaves(model.params))
    low, high = model.schedule.sigma_range
    trained, data = facts.get("training", {}), facts.get("data", {})
    return (
        (
            "Network",
            (
                f"{type(model.network).__name__}, {count / 1e6:.2f} M parameters, images of"
                f" {' x '.join(map(str, model.data_shape))}"
            ),
        ),
        (
            "Schedule",
            f"{type(model.schedule).__name__}, noise levels (sigma) from {low:g} to {high:g}",
        ),
        ("Preconditioning", type(model.precondition).__name__),
        (
            "Trained on",
            f"{data.get('name', 'unknown')}, {data.get('images', 'an unknown number of')} images",
        ),
        (
            "Trained for",
            (
                f"{trained.get('steps_done', 'an unknown number of')} steps of"
                f" {trained.get('batch_size', '?')}, loss {trained.get('loss', '?')}"
            ),
        ),
    )


def assessed(checks: tuple[Check, ...], best: RoundTrip | None, error: float) -> tuple[bool, str]:
    """Whether the model is fit to bridge, and why, in words for anybody."""
    bad = [check for check in checks if not check.passed]
    if not bad and best:
        return (
            True,
            (
                "this model is fit to bridge. It carries the images of its domain to noise that"
                " another model can read, makes images of its domain of such noise, and gives an"
                f" image back to {error:g}."
            ),
        )
    remedies = "; ".join(dict.fromkeys(check.remedy for check in bad))
    reasons = (
        [
            f"out of range are {', '.join(f'{c.label.lower()} ({number(c.value)})' for c in bad)};"
            f" {remedies}"
        ]
        if bad
        else []
    )
    if best is None:
        reasons.append(
            f"no solver tried gives the image back to {error:g} with nothing carried and a true"
            " latent; try more evaluations or a larger error"
        )
    return False, "this model is not fit to bridge yet: " + ". Also, ".join(reasons) + "."


def advised(
    best: dict[bool, RoundTrip | None], trips: list[RoundTrip], error: float, grid: str
) -> str:
    """Which solver and how many steps to take for the wanted error."""
    plain, carried = best[False], best[True]
    if plain is None:
        nearest = min(
            (trip for trip in trips if not trip.carried), key=lambda trip: trip.error, default=None
        )
        words = f"Of those tried none reaches {error:g}" + (
            f"; the nearest is {_name(nearest)} at {nearest.steps} steps, {nearest.error:.1e}."
            if nearest
            else "."
        )
    else:
        words = (
            f"For an error of {error:g}: --solver {plain.solver} --steps {plain.steps} --grid"
            f" {grid}, {plain.evaluations} evaluations and {1e3 * plain.seconds:.0f} ms an image"
            " each way."
        )
    if carried:
        words += (
            " To give an image back to the same model exactly, keep what a reversible solver"
            f" carries (`ddib encode --carry`): {carried.solver} does so in any number of steps,"
            f" {carried.error:.0e} in {carried.steps}."
        )
    return words


def _name(trip: RoundTrip) -> str:
    return trip.solver + (" + carry" if trip.carried else "")


def _cells(check: Check) -> tuple[str, float, float, float]:
    return check.label, check.value, check.low, check.high

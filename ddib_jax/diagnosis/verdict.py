"""What `ddib diagnose` says of a model, in words."""

from typing import Any

import jax

from ddib_jax.diagnosis import Check, RoundTrip
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.report.tables import number


def described(model: DiffusionModel, facts: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """What the model directory holds, a name and words a row."""
    count = sum(leaf.size for leaf in jax.tree.leaves(model.params))
    shape = " x ".join(map(str, model.image_shape))
    codes = "" if model.codec is None else f" as codes of {' x '.join(map(str, model.data_shape))}"
    low, high = model.schedule.sigma_range
    training, data = facts.get("training", {}), facts.get("data", {})
    network, schedule = type(model.network).__name__, type(model.schedule).__name__
    number_of_images = data.get("images", "an unknown number of")
    steps = training.get("steps_done", "an unknown number of")
    batch, loss = training.get("batch_size", "?"), training.get("loss", "?")
    return (
        ("Network", f"{network}, {count / 1e6:.2f} M parameters, images of {shape}{codes}"),
        ("Schedule", f"{schedule}, noise levels (sigma) from {low:g} to {high:g}"),
        ("Preconditioning", type(model.precondition).__name__),
        ("Precision", model.precision or "the network's own, with the device's products"),
        ("Trained on", f"{data.get('name', 'unknown')}, {number_of_images} images"),
        ("Trained for", f"{steps} steps of {batch}, loss {loss}"),
    )


def assessed(checks: tuple[Check, ...], best: RoundTrip | None, error: float) -> tuple[bool, str]:
    """Whether the model is fit to bridge, and why, in words for anybody.

    best: the round trip that is recommended, None where no solver reaches `error`.
    """
    failed = [check for check in checks if not check.passed]
    if not failed and best:
        return True, (
            "this model is fit to bridge. It carries the images of its domain to noise that"
            " another model can read, makes images of its domain of such noise, and gives an"
            f" image back to {error:g}."
        )
    reasons = []
    if failed:
        figures = ", ".join(f"{check.label.lower()} ({number(check.value)})" for check in failed)
        remedies = "; ".join(dict.fromkeys(check.remedy for check in failed))
        reasons.append(f"out of range are {figures}; {remedies}")
    if best is None:
        reasons.append(
            f"no solver tried gives the image back to {error:g} from its latent alone with a true"
            " latent; try more evaluations or a larger error"
        )
    return False, "this model is not fit to bridge yet: " + ". Also, ".join(reasons) + "."


def advised(
    plain: RoundTrip | None,
    exact: RoundTrip | None,
    trips: list[RoundTrip],
    *,
    error: float,
    grid: str,
) -> str:
    """Which solver and how many steps to take for an error of encode -> decode.

    plain, exact: the recommended round trips without and with the auxiliary state, None where there
    is none.
    """
    if plain is not None:
        advice = (
            f"For an error of {error:g}: --solver {plain.solver} --steps {plain.steps} --grid"
            f" {grid}, {plain.evaluations} evaluations and {1e3 * plain.seconds:.0f} ms an image"
            " each way."
        )
    else:
        advice = f"Of those tried none reaches {error:g}"
        from_latents = [trip for trip in trips if not trip.with_aux]
        if from_latents:
            nearest = min(from_latents, key=lambda trip: trip.error)
            advice += (
                f"; the nearest is {name_of(nearest)} at {nearest.steps} steps, {nearest.error:.1e}"
            )
        advice += "."
    if exact:
        advice += (
            " To give an image back to the same model exactly, keep a reversible solver's auxiliary"
            f" state (`ddib encode --aux`): {exact.solver} does so in any number of steps,"
            f" {exact.error:.0e} in {exact.steps}; lattice-heun does so to the bit, at any"
            " precision."
        )
    return advice


def name_of(trip: RoundTrip) -> str:
    """The solver of a round trip, in words."""
    return trip.solver + (" + auxiliary" if trip.with_aux else "")

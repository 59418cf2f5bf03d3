"""What the page is answered: pictures as PNG in text, and read-outs in words."""

from dataclasses import asdict
from typing import Any

import numpy as np

from ddib_jax import diagnosis, pretrained
from ddib_jax.bridge.couplings import COUPLINGS
from ddib_jax.evaluation import Classifier, classify
from ddib_jax.grids import GRIDS
from ddib_jax.lab.share import as_command, as_python
from ddib_jax.lab.sliders import all_sliders
from ddib_jax.lab.state import MOST_PERTURBATIONS, MOST_STEPS, State, couplings, solvers
from ddib_jax.lab.work import Lab
from ddib_jax.metrics import relative_rmse
from ddib_jax.metrics.digits import hue, hue_distance
from ddib_jax.metrics.latents import excess_kurtosis_of, moments, variance_of
from ddib_jax.pretrained import Checkpoint
from ddib_jax.report.sheets import latent_images
from ddib_jax.report.widgets import SMALL, png_uri
from ddib_jax.types import HostImages

_DIGITS = ("five", "seven", "digits")
"""Data sets of coloured digits, which the shipped classifier knows."""
_FRAMES = 24
"""Frames of a film each way at most."""


class Answers:
    """The answers to a page about one `Lab`; every method returns what JSON holds."""

    def __init__(self, lab: Lab):
        self.lab = lab
        self._classifier: Classifier | None = None

    def facts(self) -> dict[str, Any]:
        """What the page is built of: models, images, sliders, couplings, solvers and grids."""
        origin = self.lab.origin
        model = origin.source.model()
        side = min(model.data_shape[:2])
        made = all_sliders(highest=float(model.schedule.sigma_range[1]), side=side)
        images = origin.images.take(0, len(origin.images))
        return {
            "source": _side(origin.source),
            "target": _side(origin.target),
            "state": origin.first().to_query(),
            "shape": list(origin.shape),
            "small": max(origin.shape[:2]) <= SMALL,
            "images": [png_uri(image) for image in images],
            "names": origin.images.names,
            "sliders": [asdict(slider) for slider in made],
            "couplings": [
                {
                    "name": name,
                    "argument": COUPLINGS[name].argument,
                    "description": COUPLINGS[name].description,
                    "example": COUPLINGS[name].example,
                    "most": side // 2,
                }
                for name in couplings()
            ],
            "solvers": solvers(),
            "grids": list(GRIDS),
            "quick": self.lab.quick,
            "usual": {"steps": State.steps, "solver": State.solver, "grid": State.grid},
            "bounds": {"steps": MOST_STEPS, "perturbations": MOST_PERTURBATIONS},
        }

    def translation(self, state: State, *, quick: bool) -> dict[str, Any]:
        """Image, latent, perturbed latent and translation, and what is measured at once."""
        found = self.lab.translate(state, quick=quick)
        pictures = {
            "image": found.image,
            "latent": latent_images(found.latent),
            "perturbed": latent_images(found.perturbed),
            "translation": found.translation,
        }
        return {
            "pictures": {name: png_uri(_shown(value)) for name, value in pictures.items()},
            "figures": {
                "latent": _moments(found.latent),
                "perturbed": _moments(found.perturbed),
                "hue": _hues(found.image, found.translation),
            },
            "steps": min(state.steps, self.lab.quick) if quick else state.steps,
        }

    def back(self, state: State) -> dict[str, Any]:
        """The way back, and how far it ends from the image."""
        image, back = self.lab.image(state.image), self.lab.back(state)
        return {"picture": png_uri(_shown(back)), "error": float(relative_rmse(back, image)[0])}

    def row(self, state: State, place: int) -> dict[str, Any]:
        """One slider at seven values."""
        values, images = self.lab.row(state, place)
        return {
            "place": place,
            "values": list(values),
            "pictures": [png_uri(_channels(image)) for image in images],
        }

    def near(self, state: State) -> dict[str, Any]:
        """What a classifier calls image and translation, and the nearest training image.

        Each is left out where it is not known.
        """
        found = self.lab.translate(state)
        name = _data(self.lab.origin.target)
        answer: dict[str, Any] = {}
        if _of_digits(name) and found.translation.shape[1:] == (32, 32, 3):
            both = np.concatenate([found.image, found.translation])
            logits, _ = classify(self._digits(), np.clip(both, -1, 1))
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            odds /= odds.sum(axis=1, keepdims=True)
            answer["called"] = [
                {"word": str(row.argmax()), "probability": float(row.max())} for row in odds
            ]
        nearest = diagnosis.nearest_known(name, np.clip(found.translation, -1, 1))
        if nearest is not None:
            answer["nearest"] = {
                "picture": png_uri(nearest.images[0]),
                "distance": float(nearest.distance[0]),
                "searched": nearest.searched,
                "total": nearest.total,
            }
        return answer

    def film(self, state: State) -> dict[str, Any]:
        """Frames up from the image and down to the translation, with their noise levels."""
        sigmas, up, down = self.lab.film(state)
        rising = np.unique(np.linspace(0, len(sigmas) - 1, min(len(sigmas), _FRAMES)).astype(int))
        falling = [len(sigmas) - 1 - place for place in rising[::-1]]
        frames = [*(up[place] for place in rising), *(down[place] for place in falling[1:])]
        levels = [*sigmas[rising], *sigmas[::-1][falling[1:]]]
        return {
            "frames": [png_uri(_channels(frame)) for frame in frames],
            "sigmas": [float(level) for level in levels],
            "turn": len(rising) - 1,
        }

    def words(self, state: State) -> dict[str, str]:
        """The state as a query, a command line and Python."""
        origin = self.lab.origin
        return {
            "query": state.to_query(),
            "command": as_command(state, origin),
            "python": as_python(state, origin),
        }

    def _digits(self) -> Classifier:
        if self._classifier is None:
            path = pretrained.open("digit-classifier").path
            self._classifier = Classifier(*pretrained.load_network(path, "classifier"))
        return self._classifier


def _side(checkpoint: Checkpoint) -> dict[str, Any]:
    conditioner = checkpoint.conditioner
    words = () if conditioner is None else conditioner.vocabulary
    kind = "none" if conditioner is None else "classes" if words else "text"
    return {"name": checkpoint.name, "told": kind, "classes": list(words)}


def _shown(images: np.ndarray) -> np.ndarray:
    """The first of images, as a picture."""
    return _channels(images[0])


def _channels(image: np.ndarray) -> np.ndarray:
    """An array [h w c] with as many channels as a picture has: one or three."""
    return image[..., :3] if image.shape[-1] >= 3 else image[..., :1]


def _moments(latent: HostImages) -> dict[str, float | None]:
    raw = moments(latent)[0]
    return {"variance": _finite(variance_of(raw)), "kurtosis": _finite(excess_kurtosis_of(raw))}


def _hues(image: HostImages, translation: HostImages) -> dict[str, float | None] | None:
    """The hues of two pictures and their distance; None where they have no colours."""
    if image.shape[-1] != 3 or translation.shape[-1] != 3:
        return None
    before, after = hue(np.clip(image, -1, 1)), hue(np.clip(translation, -1, 1))
    return {
        "image": _finite(before[0]),
        "translation": _finite(after[0]),
        "distance": _finite(hue_distance(before, after)[0]),
    }


def _finite(value: float) -> float | None:
    """The value for JSON, which has no NaN."""
    return float(value) if np.isfinite(value) else None


def _data(checkpoint: Checkpoint) -> str:
    return str((checkpoint.facts.get("data") or {}).get("name", ""))


def _of_digits(name: str) -> bool:
    return name.partition(":")[0] in _DIGITS

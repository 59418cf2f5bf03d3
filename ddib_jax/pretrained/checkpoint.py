"""A checkpoint: what a name of a model stands for, found once."""

import hashlib
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ddib_jax.conditioning import Classes, Conditioner, Embeddings, Numbers
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.files import read_json
from ddib_jax.nets import DhariwalUNet, SongUNet, UNet, UNet2D
from ddib_jax.pretrained import hub
from ddib_jax.pretrained.formats import FORMATS, Format, format_of
from ddib_jax.pretrained.guided_diffusion import load_guided_diffusion
from ddib_jax.pretrained.identify import what_it_is
from ddib_jax.pretrained.native import describe
from ddib_jax.types import Network

SHIPPED = Path(__file__).parent / "models"
"""The directory of the models that come with the package."""

IN_A_CLONE = ("captioned", "first-five", "first-seven")
"""Shipped models that a clone of the repository has and a wheel, kept under 25 MB, has not."""

CLASSES = "classes.json"
"""The file of class names beside a checkpoint of another format."""

_BLOCK = 2**20  # bytes hashed at a time: weights may be larger than memory


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk, and what it holds; everything is read when it is first asked for.

    name: what the user calls it, for error sentences.
    """

    name: str
    path: Path
    format: Format
    weights: str | None = None
    """Which weights of a file that holds several."""
    image_size: tuple[int, int] | None = None
    """Height and width of the images of a latent model, where they are not its own."""

    def model(self) -> DiffusionModel:
        """Its diffusion model, under no condition, read once.

        Raises FileNotFoundError and ValueError as the format's own loader does.
        """
        return self._model

    @cached_property
    def _model(self) -> DiffusionModel:
        if self.image_size is not None:
            if self.format.at_size is None:
                raise ValueError(
                    f"'{self.name}' has images of one size; only those of a latent model may have"
                    " another one. Leave the image size out."
                )
            return self.format.at_size(self.path, image_size=self.image_size)
        if self.weights is None:
            return self.format.load(self.path)
        if self.format is not FORMATS["guided-diffusion"]:
            raise ValueError(
                f"'{self.name}' holds one set of weights; leave the choice ({self.weights}) out."
            )
        return load_guided_diffusion(self.path, weights=self.weights)

    @cached_property
    def conditioner(self) -> Conditioner | None:
        """What turns words into conditions of its model; None for a model that takes none.

        Raises ValueError where there are more names of classes than labels, and as `model` does.
        """
        find = self.format.conditioner
        texts = None if find is None else find(self.path, self.model(), f"'{self.name}'")
        if texts is not None:
            return texts
        return conditioner_of(self.model().network, self.classes, self.name)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The contents of its `model.json` (classes, data, training); {} for another format."""
        return describe(self.path) if self.format is FORMATS["ddib"] else {}

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of its classes, in the order of their labels; () where they have none.

        A checkpoint of another format has them in `classes.json`, a list of names, in its folder.
        Raises ValueError for a file of anything else.
        """
        file = (self.path if self.path.is_dir() else self.path.parent) / CLASSES
        if self.format is FORMATS["ddib"] or not file.is_file():
            return tuple(self.facts.get("classes") or ())
        names = read_json(file, "a list of the names of classes")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{file} is not a list of the names of classes.")
        return tuple(names)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that tell one model's weights from another's.

        They are written beside latents, which decode by the model that encoded them alone.
        """
        digest = hashlib.sha256()
        for part in self.format.weights(self.path):
            with part.open("rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
        if self.weights is not None:
            digest.update(self.weights.encode())
        return digest.hexdigest()[:16]


def open_checkpoint(
    name: str | Path,
    *,
    weights: str | None = None,
    image_size: tuple[int, int] | None = None,
) -> Checkpoint:
    """The checkpoint of that name: at a path, on the hub (`hf:owner/name`), or a shipped one.

    A path is a model directory, a folder of diffusers, or a file of guided-diffusion or of EDM; one
    that holds a model comes before a shipped model of that name, and a warning says which of the
    two is taken. weights: which ones of a file that holds several, such as "ema". image_size:
    height and width of the images of a latent model, by default those that it was trained on.
    Raises FileNotFoundError, with the names of the shipped models, where it is none of them,
    ValueError, which says what it is, for a path of something else, and as `hub.fetch` does.
    """
    path = _find(name)
    if said := what_it_is(path):
        raise ValueError(said)
    return Checkpoint(str(name), path, format_of(path), weights, image_size)


def load(name: str | Path) -> DiffusionModel:
    """The diffusion model of that name: "five", "seven", a path, or `hf:owner/name`.

    Raises as `open_checkpoint` and the format's own loader do.
    """
    return open_checkpoint(name).model()


def _find(name: str | Path) -> Path:
    word, path = str(name), Path(name)
    if word.startswith(hub.PREFIX):
        return hub.fetch(word)
    names = sorted(path.parent.name for path in SHIPPED.glob("*/model.json"))
    shipped = word in names and not isinstance(name, Path)
    if path.exists():
        holds_model = any(format.holds(path) for format in FORMATS.values())
        if not shipped or holds_model:
            if shipped:
                warnings.warn(
                    f"'{word}' is the model in the folder of that name here, not the shipped one.",
                    stacklevel=3,
                )
            return path
        warnings.warn(
            f"'{word}' is the shipped model; the folder of that name here holds none.",
            stacklevel=3,
        )
    if shipped:
        return SHIPPED / word
    if word in IN_A_CLONE:
        raise FileNotFoundError(
            f"The model '{word}' is not in this installation: it comes with a clone of the"
            f" repository alone. Give the folder ddib_jax/pretrained/models/{word} of one."
        )
    raise FileNotFoundError(
        f"There is no model '{word}': it is neither a path, nor hf:owner/name, nor a shipped model"
        f" ({', '.join(names) or 'none'})."
    )


def conditioner_of(network: Network, names: tuple[str, ...], name: str) -> Conditioner | None:
    """What turns words into conditions of one of our networks; None for one that takes none.

    names: of the classes, () where they have none. name: that of the model, for error sentences.
    Raises ValueError where there are more names than labels.
    """
    null, whose = None, f"'{name}'"
    match network:
        case UNet2D(class_embed_type="identity"):
            spec = network.condition_spec()
            return None if spec is None else Embeddings(spec.shape, whose=whose)
        case UNet2D(class_embed_type="timestep"):
            return Numbers(whose)
        case UNet(num_classes=int(labels)) | UNet2D(num_classes=int(labels)):
            pass
        case SongUNet(num_classes=int(labels)) | DhariwalUNet(num_classes=int(labels)):
            null = network.null_label
        case _:
            return None
    if len(names) > labels:
        raise ValueError(f"'{name}' has {labels} classes and {len(names)} names for them.")
    count = len(names) or labels
    # One label more than there are names is the null label of a model trained by `ddib train`.
    return Classes(names, count, count if labels == count + 1 else null, whose)

"""The package's own format: a model directory.

model.json            what the weights mean: network, schedule, preconditioning, shape of an
                      image, data, training
weights.safetensors   `params/...`, `preconditioning/...` and `text/...`, float16 or float32
                      (float32 for statistics that float16 would round)
tokenizer/            of a model that is told texts: files as CLIP's tokenizer has them
samples.png           a grid of samples, for people
"""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ddib_jax.conditioning import Prompts
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.files import drafted, read_json
from ddib_jax.nets import NETWORKS, example_condition
from ddib_jax.preconditioning import PRECONDITIONINGS
from ddib_jax.pretrained.description import array_fields, class_of, from_json, to_json
from ddib_jax.pretrained.shapes import first_line, parameter_shapes
from ddib_jax.pretrained.text_encoders import Encoders, TextEncoder
from ddib_jax.schedules import SCHEDULES
from ddib_jax.text import Tokenizer, read_tokenizer
from ddib_jax.types import Params

FORMAT = "ddib_jax model, version 1"

GROUPS = {
    "diffusion": ("params/", "preconditioning/", "text/"),
    "classifier": ("params/",),
    "generator": ("params/",),
    "sampler": ("params/",),
}
"""Kind of model -> what the names of its arrays begin with."""
_FAULTS_NAMED = 5


def save_model(
    directory: str | Path,
    model: DiffusionModel,
    *,
    facts: dict[str, Any],
    dtype: str = "float32",
    samples: Path | None = None,
    encoder: TextEncoder | None = None,
) -> Path:
    """Write a diffusion model as a model directory, whole or not at all; returns the directory.

    facts: what else `model.json` shall say (`data`, `training`), JSON values. dtype: of the stored
    weights. samples: a PNG to copy there. encoder: by which the model is told texts. An older model
    in the same place is replaced. Raises OSError where the disk does not take it and ValueError for
    weights that are not finite in `dtype` and a model with a codec; the older model is whole then.
    """
    if model.codec is not None:
        raise ValueError(
            f"A model directory holds no codec, and this model has a {type(model.codec).__name__};"
            " save the model of its codes (`model.replace(codec=None)`) and the codec apart."
        )
    fields = array_fields(type(model.precondition))
    statistics = {name: getattr(model.precondition, name) for name in fields}
    arrays = _prefixed("params/", flatten_dict(model.params, sep="/"))
    arrays |= _prefixed("preconditioning/", statistics)
    description = {
        "format": FORMAT,
        "kind": "diffusion",
        "image_shape": list(model.data_shape),
        "network": to_json(NETWORKS, model.network),
        "schedule": to_json(SCHEDULES, model.schedule),
        "preconditioning": to_json(PRECONDITIONINGS, model.precondition, arrays=fields),
        **facts,
    }
    if encoder is not None:
        arrays |= _prefixed("text/", flatten_dict(encoder.params, sep="/"))
        description["text"] = to_json(NETWORKS, encoder.network)
    tokenizer = None if encoder is None else encoder.tokenizer
    return _write(Path(directory), description, arrays, dtype, samples, tokenizer)


def save_network(
    directory: str | Path,
    network: Any,
    params: Params,
    *,
    kind: str,
    image_shape: tuple[int, ...],
    facts: dict[str, Any],
    dtype: str = "float32",
) -> Path:
    """Write a network that is no diffusion model as a model directory, as `save_model` does.

    kind: "classifier", "generator" (of images from images) or "sampler" (of images from latents).
    """
    arrays = _prefixed("params/", flatten_dict(params, sep="/"))
    description = {
        "format": FORMAT,
        "kind": kind,
        "image_shape": list(image_shape),
        "network": to_json(NETWORKS, network),
        **facts,
    }
    return _write(Path(directory), description, arrays, dtype, None)


def load_model(directory: str | Path) -> DiffusionModel:
    """The diffusion model of a model directory, parameters in float32.

    Raises FileNotFoundError for a missing directory or file and ValueError for a file that is cut
    short, another kind of model, or weights that are not exactly those that `model.json` describes
    (the keys and shapes are named).
    """
    directory = Path(directory)
    description, arrays = _read(directory, "diffusion")
    shape = _image_shape(directory, description)
    network = from_json(directory, NETWORKS, description, "network")
    schedule = from_json(directory, SCHEDULES, description, "schedule")
    statistics = _under("preconditioning/", arrays)
    expected = array_fields(class_of(directory, PRECONDITIONINGS, description, "preconditioning"))
    if set(expected) != statistics.keys():
        raise ValueError(
            f"{directory} does not hold the statistics of its preconditioning: expected"
            f" {sorted(expected) or 'none'}, found {sorted(statistics) or 'none'}."
        )
    precondition = from_json(
        directory,
        PRECONDITIONINGS,
        description,
        "preconditioning",
        arrays=jax.tree.map(jnp.asarray, statistics),
    )
    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    sigma = jax.ShapeDtypeStruct((), jnp.float32)
    try:
        inputs = jax.eval_shape(precondition.inputs, x, sigma)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The preconditioning of {directory} does not work on images of shape {shape}"
            f" ({first_line(error)}); the model is damaged."
        ) from error
    condition = example_condition(network)
    if "text" not in description and _under("text/", arrays):
        raise ValueError(f"{directory} holds a text encoder that its model.json does not describe.")
    params = _checked_params(directory, network, arrays, inputs, jnp.zeros(1), condition)
    return DiffusionModel(
        params, precondition, network=network, schedule=schedule, data_shape=shape
    )


def load_text_encoder(directory: str | Path) -> TextEncoder:
    """The text encoder of a model directory that has one, parameters in float32.

    Raises as `load_model` does, and as `read_tokenizer`.
    """
    directory = Path(directory)
    description, arrays = _read(directory, "diffusion")
    network = from_json(directory, NETWORKS, description, "text")
    tokenizer = read_tokenizer(directory / "tokenizer")
    if tokenizer.size > network.vocab_size:
        raise ValueError(
            f"{directory} holds a tokenizer of {tokenizer.size} tokens and a text encoder of"
            f" {network.vocab_size}; they are not of one model."
        )
    tokens = jnp.zeros((1, tokenizer.length), jnp.int32)
    return TextEncoder(
        network, _checked_params(directory, network, arrays, tokens, group="text/"), tokenizer
    )


def text_conditioner(directory: Path, model: DiffusionModel, whose: str) -> Prompts | None:
    """What makes conditions of prompts for a model that is told texts; None for another.

    whose: the subject of its error sentences. The encoder's files are read at the first prompt.
    """
    if "text" not in describe(directory):
        return None
    encoders = Encoders(lambda: (load_text_encoder(directory),))
    return encoders.prompts(blank=False, whose=whose)


def load_network(directory: str | Path, kind: str) -> tuple[Params, Any]:
    """The parameters and the network of a model directory of another kind.

    kind: "classifier", "generator" or "sampler". In the order in which `Classifier`, `CycleGAN` and
    `DCGAN` take them. Raises as `load_model` does.
    """
    directory = Path(directory)
    description, arrays = _read(directory, kind)
    network = from_json(directory, NETWORKS, description, "network")
    shape = (network.latent,) if kind == "sampler" else _image_shape(directory, description)
    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    return _checked_params(directory, network, arrays, x), network


def describe(directory: str | Path) -> dict[str, Any]:
    """The contents of `model.json`; raises FileNotFoundError or ValueError in one sentence."""
    path = Path(directory) / "model.json"
    if not path.is_file():
        raise FileNotFoundError(f"{directory} is not a model directory: it has no model.json.")
    description = read_json(path, "the description of a model")
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ValueError(f"{path} is not of the format '{FORMAT}'.")
    return description


def _read(directory: Path, kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The description and the arrays, float32, of a model directory of this kind."""
    description = describe(directory)
    if description.get("kind") != kind:
        raise ValueError(
            f"{directory} holds a {description.get('kind')} model; a {kind} model is needed here."
        )
    path = directory / "weights.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"{directory} has a model.json but no weights.safetensors.")
    try:
        arrays = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read ({error}); it is cut short or damaged.") from error
    strange = sorted(name for name in arrays if not name.startswith(GROUPS[kind]))
    if strange:
        raise ValueError(f"{path} holds arrays that no {kind} model has: {', '.join(strange[:5])}.")
    return description, {name: np.asarray(array, np.float32) for name, array in arrays.items()}


def _prefixed(prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}{name}": array for name, array in arrays.items()}


def _under(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    matching = (name for name in arrays if name.startswith(prefix))
    return {name.removeprefix(prefix): arrays[name] for name in matching}


def _image_shape(directory: Path, description: dict[str, Any]) -> tuple[int, ...]:
    shape = description.get("image_shape")
    # type and not isinstance: `true` of JSON is an int to isinstance.
    if not isinstance(shape, list) or not shape or any(type(n) is not int or n < 1 for n in shape):
        raise ValueError(
            f"{directory}/model.json gives the image shape {shape!r}; expected positive whole"
            " numbers."
        )
    return tuple(shape)


def _checked_params(
    directory: Path,
    network: Any,
    arrays: dict[str, np.ndarray],
    *inputs: Any,
    group: str = "params/",
) -> Params:
    """The parameters among the arrays; ValueError where they are not those of the network."""
    stored = _under(group, arrays)
    expected = parameter_shapes(network, inputs, f"{directory}/model.json describes")
    faults = [f"{name} is missing" for name in expected.keys() - stored.keys()]
    faults += [f"{name} is unknown" for name in stored.keys() - expected.keys()]
    faults += [
        f"{name} is {stored[name].shape}, not {expected[name].shape}"
        for name in expected.keys() & stored.keys()
        if stored[name].shape != expected[name].shape
    ]
    if faults:
        unnamed = len(faults) - _FAULTS_NAMED
        more = f"; and {unnamed} more" if unnamed > 0 else ""
        raise ValueError(
            f"The weights in {directory} are not those that its model.json describes:"
            f" {'; '.join(sorted(faults)[:_FAULTS_NAMED])}{more}."
        )
    return jax.tree.map(jnp.asarray, unflatten_dict(stored, sep="/"))


def _write(
    directory: Path,
    description: dict,
    arrays: dict[str, Any],
    dtype: str,
    samples: Path | None,
    tokenizer: Tokenizer | None = None,
) -> Path:
    # Order C: safetensors writes arrays of Fortran's order scrambled.
    weights = {
        name: _stored(name, np.asarray(leaf, order="C"), dtype) for name, leaf in arrays.items()
    }
    text = json.dumps(description, indent=1) + "\n"
    with drafted(directory) as draft:
        try:
            (draft / "weights.safetensors").write_bytes(save(weights))
            (draft / "model.json").write_text(text)
            if tokenizer is not None:
                tokenizer.save(draft / "tokenizer")
            if samples is not None:
                shutil.copyfile(samples, draft / "samples.png")
        except (OSError, SafetensorError) as error:
            raise OSError(
                f"The model could not be written to {directory} ({first_line(error)}); nothing"
                " there is changed."
            ) from error
    return directory


def _stored(name: str, array: np.ndarray, dtype: str) -> np.ndarray:
    """The array in `dtype`, or as it is where that would round statistics."""
    with np.errstate(over="ignore"):
        stored = array.astype(dtype)
    is_statistic = name.startswith("preconditioning/")
    if is_statistic and not np.array_equal(stored.astype(array.dtype), array):
        stored = array
    if not np.isfinite(stored).all():
        raise ValueError(f"The weights {name} are not finite in {dtype}; the model is not written.")
    return stored

"""The house's own format: a model directory of `model.json` and `weights.safetensors` (and a sample
grid).

model.json what the weights mean: network, schedule, preconditioning, shape of an image, data,
training weights.safetensors `params/...` and `preconditioning/...`, float16 or float32 (statistics
that float16 would round) samples.png a grid of samples, for eyes
"""

import dataclasses
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

from ddib_jax.diffusion import DiffusionModel
from ddib_jax.files import drafted
from ddib_jax.nets import NETWORKS, example_condition
from ddib_jax.preconditioning import PRECONDITIONINGS
from ddib_jax.schedules import SCHEDULES
from ddib_jax.types import Params

FORMAT = "ddib_jax model, version 1"

GROUPS = {
    "diffusion": ("params/", "preconditioning/"),
    "classifier": ("params/",),
    "generator": ("params/",),
    "sampler": ("params/",),
}
"""Kind of model -> what the names of its arrays begin with."""


def save_model(
    directory: str | Path,
    model: DiffusionModel,
    *,
    facts: dict[str, Any],
    dtype: str = "float32",
    samples: Path | None = None,
) -> Path:
    """Write a diffusion model as a model directory, whole or not at all; returns the directory.

    facts: what else `model.json` shall say (`data`, `training`), JSON values. dtype: of the stored
    weights. An older model in the same place is replaced. Raises OSError where the disk does not
    take it and ValueError for weights that are not finite in `dtype`; the older model is whole
    then.
    """
    arrays = {f"params/{name}": leaf for name, leaf in flatten_dict(model.params, sep="/").items()}
    arrays |= {
        f"preconditioning/{name}": leaf for name, leaf in _leaves(model.precondition).items()
    }
    description = {
        "format": FORMAT,
        "kind": "diffusion",
        "image_shape": list(model.data_shape),
        "network": _described(NETWORKS, model.network),
        "schedule": _described(SCHEDULES, model.schedule),
        "preconditioning": _described(PRECONDITIONINGS, model.precondition),
        **facts,
    }
    return _write(Path(directory), description, arrays, dtype, samples)


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
    """Write a network of images of another kind ("classifier", "generator" or "sampler") as a model
    directory, as `save_model` does.
    """
    arrays = {f"params/{name}": leaf for name, leaf in flatten_dict(params, sep="/").items()}
    description = {
        "format": FORMAT,
        "kind": kind,
        "image_shape": list(image_shape),
        "network": _described(NETWORKS, network),
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
    network = _made(directory, NETWORKS, description, "network")
    schedule = _made(directory, SCHEDULES, description, "schedule")
    statistics = {
        name.split("/", 1)[1]: leaf
        for name, leaf in arrays.items()
        if name.startswith("preconditioning/")
    }
    kind, _ = _entry(directory, PRECONDITIONINGS, description, "preconditioning")
    expected = {
        field.name for field in dataclasses.fields(kind) if field.metadata.get("pytree_node", True)
    }
    if expected != statistics.keys():
        raise ValueError(
            f"{directory} does not hold the statistics of its preconditioning: expected "
            f"{sorted(expected) or 'none'}, found {sorted(statistics) or 'none'}."
        )
    precondition = _made(
        directory,
        PRECONDITIONINGS,
        description,
        "preconditioning",
        jax.tree.map(jnp.asarray, statistics),
    )
    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    try:
        inputs = jax.eval_shape(precondition.inputs, x, jax.ShapeDtypeStruct((), jnp.float32))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The preconditioning of {directory} does not work on images of shape {shape}"
            f" ({_first_line(error)}); the model is damaged."
        ) from error
    params = _checked_params(
        directory, network, arrays, inputs, jnp.zeros(1), example_condition(network)
    )
    return DiffusionModel(
        params, precondition, network=network, schedule=schedule, data_shape=shape
    )


def load_network(directory: str | Path, kind: str) -> tuple[Any, Params]:
    """The network and parameters of a model directory of another kind ("classifier", "generator" or
    "sampler"); raises as `load_model` does.
    """
    directory = Path(directory)
    description, arrays = _read(directory, kind)
    network = _made(directory, NETWORKS, description, "network")
    shape = (network.latent,) if kind == "sampler" else _image_shape(directory, description)
    return network, _checked_params(
        directory, network, arrays, jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    )


def describe(directory: str | Path) -> dict[str, Any]:
    """The contents of `model.json`; raises FileNotFoundError or ValueError in one sentence."""
    path = Path(directory) / "model.json"
    if not path.is_file():
        raise FileNotFoundError(f"{directory} is not a model directory: it has no model.json.")
    try:
        description = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"{path} is not valid JSON ({error}); the model directory is damaged."
        ) from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ValueError(f"{path} is not of the format '{FORMAT}'.")
    return description


def _read(directory: Path, kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
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


def _image_shape(directory: Path, description: dict[str, Any]) -> tuple[int, ...]:
    shape = description.get("image_shape")
    if (
        not isinstance(shape, list)
        or not shape
        or not all(type(size) is int and size > 0 for size in shape)
    ):
        raise ValueError(
            f"{directory}/model.json gives the image shape {shape!r}; expected positive whole"
            " numbers."
        )
    return tuple(shape)


def _checked_params(
    directory: Path, network: Any, arrays: dict[str, np.ndarray], *inputs: Any
) -> Params:
    found = {
        name.removeprefix("params/"): leaf
        for name, leaf in arrays.items()
        if name.startswith("params/")
    }
    try:
        variables = jax.eval_shape(network.init, jax.random.key(0), *inputs)
    except (
        Exception
    ) as error:  # whatever the network's own modules raise on options that do not go together
        raise ValueError(
            f"The network that {directory}/model.json describes cannot be built:"
            f" {_first_line(error)}"
        ) from error
    expected = flatten_dict(variables["params"], sep="/")
    faults = [f"{name} is missing" for name in expected.keys() - found.keys()]
    faults += [f"{name} is unknown" for name in found.keys() - expected.keys()]
    faults += [
        f"{name} is {found[name].shape}, not {expected[name].shape}"
        for name in expected.keys() & found.keys()
        if found[name].shape != expected[name].shape
    ]
    if faults:
        shown = "; ".join(sorted(faults)[:5]) + (
            f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
        )
        raise ValueError(
            f"The weights in {directory} are not those that its model.json describes: {shown}."
        )
    return jax.tree.map(jnp.asarray, unflatten_dict(found, sep="/"))


def _described(registry: dict[str, type], value: Any) -> dict[str, Any]:
    name = next(name for name, kind in registry.items() if type(value) is kind)
    skipped = {"parent", "name"}
    static = {
        field.name: getattr(value, field.name)
        for field in dataclasses.fields(value)
        if field.name not in skipped and (field.metadata.get("pytree_node", "static") is not True)
    }
    leaves = _leaves(value) if name in PRECONDITIONINGS and registry is PRECONDITIONINGS else {}
    return {"name": name, **{key: option for key, option in static.items() if key not in leaves}}


def _leaves(value: Any) -> dict[str, Any]:
    return {
        f.name: getattr(value, f.name)
        for f in dataclasses.fields(value)
        if f.metadata.get("pytree_node", True)
    }


def _entry(
    directory: Path, registry: dict[str, type], description: dict[str, Any], part: str
) -> tuple[type, dict[str, Any]]:
    options = description.get(part)
    options = dict(options) if isinstance(options, dict) else {}
    name = options.pop("name", None)
    if not isinstance(name, str) or name not in registry:
        raise ValueError(
            f"{directory}/model.json names an unknown {part} {name!r}; known are"
            f" {', '.join(registry)}."
        )
    return registry[name], {
        key: tuple(v) if isinstance(v, list) else v for key, v in options.items()
    }


def _made(
    directory: Path,
    registry: dict[str, type],
    description: dict[str, Any],
    part: str,
    leaves: dict | None = None,
) -> Any:
    kind, options = _entry(directory, registry, description, part)
    try:
        return kind(**options, **(leaves or {}))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{directory}/model.json describes a {part} that cannot be made: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _write(
    directory: Path, description: dict, arrays: dict[str, Any], dtype: str, samples: Path | None
) -> Path:
    weights = {
        name: _stored(name, np.asarray(leaf, order="C"), dtype) for name, leaf in arrays.items()
    }
    text = json.dumps(description, indent=1) + "\n"
    with drafted(directory) as draft:
        try:
            (draft / "weights.safetensors").write_bytes(save(weights))
            (draft / "model.json").write_text(text)
            if samples is not None:
                shutil.copyfile(samples, draft / "samples.png")
        except (OSError, SafetensorError) as error:
            raise OSError(
                f"The model could not be written to {directory} ({_first_line(error)}); nothing"
                " there is changed."
            ) from error
    return directory


def _stored(name: str, array: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        stored = array.astype(dtype)
    if name.startswith("preconditioning/") and not np.array_equal(
        stored.astype(array.dtype), array
    ):
        stored = array
    if not np.isfinite(stored).all():
        raise ValueError(f"The weights {name} are not finite in {dtype}; the model is not written.")
    return stored

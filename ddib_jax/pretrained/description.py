"""Networks, schedules and preconditionings as the JSON objects of `model.json`, and back.

A part of a model is a frozen dataclass out of a registry. Its object has its `name` there and its
options by their fields: `{"name": "edm", "sigma_data": 0.5}`.
"""

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ddib_jax.pretrained.shapes import first_line

_LINEN_FIELDS = {"parent", "name"}  # what linen adds to every module's own options


def array_fields(kind: type) -> tuple[str, ...]:
    """The fields of a `flax.struct` dataclass that are arrays: all but those marked static."""
    fields = dataclasses.fields(kind)
    return tuple(field.name for field in fields if field.metadata.get("pytree_node", True))


def to_json(
    registry: Mapping[str, type], part: Any, *, arrays: Collection[str] = ()
) -> dict[str, Any]:
    """The object of a part of a model; `arrays` are fields that are stored elsewhere."""
    name = next(name for name, kind in registry.items() if type(part) is kind)
    aside = _LINEN_FIELDS | set(arrays)
    fields = [field for field in dataclasses.fields(part) if field.name not in aside]
    told = {field.name: getattr(part, field.name) for field in fields if not _left_out(part, field)}
    return {"name": name, **told}


def _left_out(part: Any, field: dataclasses.Field) -> bool:
    """Whether an option that came later is at its default: older releases then read the model."""
    marked = field.metadata.get("unless_default", False)
    return marked and getattr(part, field.name) == field.default


def class_of(
    directory: Path, registry: Mapping[str, type], description: Mapping[str, Any], part: str
) -> type:
    """The class that `description[part]` names; ValueError for none of the registry."""
    return _entry(directory, registry, description, part)[0]


def from_json(
    directory: Path,
    registry: Mapping[str, type],
    description: Mapping[str, Any],
    part: str,
    *,
    arrays: Mapping[str, Any] | None = None,
) -> Any:
    """The part of a model that `description[part]` describes, with its arrays.

    Raises ValueError for an unknown name and for options that the class does not take; `directory`
    is that of the model, for the error.
    """
    kind, options = _entry(directory, registry, description, part)
    try:
        return kind(**options, **(arrays or {}))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{directory}/model.json describes a {part} that cannot be made: {first_line(error)}"
        ) from error


def _entry(
    directory: Path, registry: Mapping[str, type], description: Mapping[str, Any], part: str
) -> tuple[type, dict[str, Any]]:
    value = description.get(part)
    options = dict(value) if isinstance(value, dict) else {}
    name = options.pop("name", None)
    if not isinstance(name, str) or name not in registry:
        raise ValueError(
            f"{directory}/model.json names an unknown {part} {name!r}; known are"
            f" {', '.join(registry)}."
        )
    # JSON knows no tuples, and a field must be one to be hashed.
    tuples = {key: tuple(v) if isinstance(v, list) else v for key, v in options.items()}
    return registry[name], tuples

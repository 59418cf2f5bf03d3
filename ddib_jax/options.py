"""Dataclasses of options as command lines: tyro, told how this package shows options.

What may be left out reads `INT|none` and `PATH|none`, and a help text is the field's docstring,
however many lines it takes in the source.
"""

import contextlib
import dataclasses
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import docstring_parser
import tyro
from tyro.constructors import (
    MISSING,
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

Options = TypeVar("Options")
_REGISTRY = ConstructorRegistry()
_SHOWN = {int: "INT", float: "FLOAT", str: "STR", Path: "PATH"}


def cli(
    options: type[Options],
    *,
    args: Sequence[str] | None = None,
    prog: str | None = None,
    description: str | None = None,
) -> Options:
    """An instance of the dataclass `options` from the command line, or from `args`.

    description: shown by --help; the class's docstring unless given. Raises SystemExit: 0 after
    --help, 2 for a wrong command line.
    """
    return tyro.cli(options, args=args, prog=prog, description=description, registry=_REGISTRY)


@_REGISTRY.struct_rule
def _dataclass(info: StructTypeInfo) -> StructConstructorSpec | None:
    """tyro's own rule for dataclasses, but for the line breaks of help texts.

    tyro keeps a line break before an indented line, as those of a docstring over several lines are.
    """
    if not (isinstance(info.type, type) and dataclasses.is_dataclass(info.type)):
        return None
    hints = get_type_hints(info.type, include_extras=True)
    documented = _documented(info.type)
    given = isinstance(info.default, info.type)
    return StructConstructorSpec(
        instantiate=info.type,
        fields=tuple(
            StructFieldSpec(
                name=field.name,
                type=hints[field.name],
                default=getattr(info.default, field.name) if given else _default(field),
                helptext=documented.get(field.name),
            )
            for field in dataclasses.fields(info.type)
            if field.init
        ),
    )


def _documented(options: type) -> dict[str, str]:
    """The docstrings of the fields of a dataclass and of those it inherits from, each one line."""
    found: dict[str, str] = {}
    for cls in reversed(options.__mro__[:-1]):
        # A class that was made without a file, as a notebook's are, has no source to read.
        with contextlib.suppress(OSError, TypeError):
            for param in docstring_parser.parse_from_object(cls).params:
                found[param.arg_name] = " ".join((param.description or "").split())
    return found


def _default(field: dataclasses.Field) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return MISSING if field.default_factory is dataclasses.MISSING else field.default_factory()


@_REGISTRY.primitive_rule
def _union(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Unions of plain types, choices and None; of a tuple of one plain type and None; no others."""
    if get_origin(info.type) not in (Union, types.UnionType):
        return None
    members = [member for member in get_args(info.type) if member is not types.NoneType]
    optional = len(members) < len(get_args(info.type))
    repeated = [get_args(member)[0] for member in members if _is_repeated(member)]
    if len(members) == len(repeated) == 1 and optional and repeated[0] in _SHOWN:
        plain, shown = repeated[0], _SHOWN[repeated[0]]
        return PrimitiveConstructorSpec(
            nargs="*",
            metavar=f"{shown} ...|none",
            instance_from_str=lambda words: _many(plain, words),
            is_instance=lambda value: value is None or isinstance(value, tuple),
            str_from_instance=lambda value: ["none"] if value is None else [str(v) for v in value],
        )
    if not all(member in _SHOWN or get_origin(member) is Literal for member in members):
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=_metavar(members, optional=optional),
        instance_from_str=lambda words: _one(members, words[0], optional=optional),
        is_instance=lambda value: value is None or isinstance(value, tuple(_SHOWN)),
        str_from_instance=lambda value: ["none" if value is None else str(value)],
    )


def _is_repeated(member: Any) -> bool:
    return get_origin(member) is tuple and get_args(member)[1:] == (Ellipsis,)


def _metavar(members: list, *, optional: bool) -> str:
    words = [_SHOWN[m] if m in _SHOWN else "|".join(map(str, get_args(m))) for m in members]
    return "|".join([*words, *["none"] * optional])


def _one(members: list, word: str, *, optional: bool) -> Any:
    """The word as the first member that takes it; None and choices come before all else."""
    if optional and word.lower() == "none":
        return None
    for member in members:
        if get_origin(member) is Literal and word in map(str, get_args(member)):
            return next(choice for choice in get_args(member) if str(choice) == word)
    for member in members:
        if member in _SHOWN:
            try:
                return member(word)
            except ValueError:
                continue
    raise ValueError(f"'{word}' is not {_metavar(members, optional=optional)}")


def _many(plain: type, words: list[str]) -> tuple | None:
    return None if [word.lower() for word in words] == ["none"] else tuple(map(plain, words))

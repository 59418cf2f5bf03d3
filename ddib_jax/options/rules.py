"""How fields of options are read and shown: rules of tyro's.

An option that may be left out reads `INT|none` or `PATH|none`, a tuple reads `INT ...`, and a help
text is the field's docstring, however many lines it takes in the source.
"""

import dataclasses
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import docstring_parser
from tyro.constructors import (
    MISSING,
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

REGISTRY = ConstructorRegistry()
_METAVARS = {int: "INT", float: "FLOAT", str: "STR", Path: "PATH"}


@REGISTRY.struct_rule
def _dataclass(info: StructTypeInfo) -> StructConstructorSpec | None:
    """tyro's own rule for dataclasses, but for the line breaks of help texts.

    tyro keeps a line break before an indented line, as those of a docstring over several lines are.
    """
    if not (isinstance(info.type, type) and dataclasses.is_dataclass(info.type)):
        return None
    hints = get_type_hints(info.type, include_extras=True)
    help_texts = _help_texts(info.type)
    has_instance = isinstance(info.default, info.type)
    return StructConstructorSpec(
        instantiate=info.type,
        fields=tuple(
            StructFieldSpec(
                name=field.name,
                type=hints[field.name],
                default=getattr(info.default, field.name) if has_instance else _default(field),
                helptext=help_texts.get(field.name),
            )
            for field in dataclasses.fields(info.type)
            if field.init
        ),
    )


def _help_texts(options: type) -> dict[str, str]:
    """Name -> docstring, in one line, of a dataclass's fields, inherited ones included."""
    texts = {}
    for cls in reversed(options.__mro__[:-1]):
        try:
            docstring = docstring_parser.parse_from_object(cls)
        except TypeError:  # its module has no file, as that of a script that runpy has run
            docstring = docstring_parser.parse(cls.__doc__ or "")
        for param in docstring.params:
            texts[param.arg_name] = " ".join((param.description or "").split())
    return texts


def _default(field: dataclasses.Field) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return MISSING if field.default_factory is dataclasses.MISSING else field.default_factory()


@REGISTRY.primitive_rule
def _tuple(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """A tuple of any number of one plain type."""
    plain = _repeated(info.type)
    if plain is None:
        return None
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=f"{_METAVARS[plain]} ...",
        instance_from_str=lambda words: tuple(map(plain, words)),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [str(member) for member in value],
    )


@REGISTRY.primitive_rule
def _optional_tuple(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """A tuple of any number of one plain type, or None."""
    members, optional = _members(info.type)
    plain = _repeated(members[0]) if len(members) == 1 and optional else None
    if plain is None:
        return None
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=f"{_METAVARS[plain]} ...|none",
        instance_from_str=lambda words: _many(plain, words),
        is_instance=lambda value: value is None or isinstance(value, tuple),
        str_from_instance=lambda value: ["none"] if value is None else [str(v) for v in value],
    )


@REGISTRY.primitive_rule
def _union(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """A union of plain types, choices and None."""
    members, optional = _members(info.type)
    plain_or_choice = [member in _METAVARS or get_origin(member) is Literal for member in members]
    if not members or not all(plain_or_choice):
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=_metavar(members, optional=optional),
        instance_from_str=lambda words: _one(members, words[0], optional=optional),
        is_instance=lambda value: value is None or isinstance(value, tuple(_METAVARS)),
        str_from_instance=lambda value: ["none" if value is None else str(value)],
    )


def _members(union: Any) -> tuple[list, bool]:
    """The types of a union but for None, and whether None is one; no types for another type."""
    if get_origin(union) not in (Union, types.UnionType):
        return [], False
    members = [member for member in get_args(union) if member is not types.NoneType]
    return members, len(members) < len(get_args(union))


def _repeated(kind: Any) -> type | None:
    """The plain type that a tuple repeats any number of times; None for another type."""
    if get_origin(kind) is not tuple or get_args(kind)[1:] != (Ellipsis,):
        return None
    plain = get_args(kind)[0]
    return plain if plain in _METAVARS else None


def _metavar(members: list, *, optional: bool) -> str:
    words = [_METAVARS[m] if m in _METAVARS else "|".join(map(str, get_args(m))) for m in members]
    return "|".join([*words, *["none"] * optional])


def _one(members: list, word: str, *, optional: bool) -> Any:
    """The word as the first member that takes it; None and choices come before all else."""
    if optional and word.lower() == "none":
        return None
    for member in members:
        if get_origin(member) is Literal and word in map(str, get_args(member)):
            return next(choice for choice in get_args(member) if str(choice) == word)
    for member in members:
        if member in _METAVARS:
            try:
                return member(word)
            except ValueError:
                continue
    raise ValueError(f"'{word}' is not {_metavar(members, optional=optional)}")


def _many(plain: type, words: list[str]) -> tuple | None:
    return None if [word.lower() for word in words] == ["none"] else tuple(map(plain, words))

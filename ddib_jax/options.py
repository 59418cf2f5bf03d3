"""Dataclasses of options as command lines: tyro, with this package's way of showing options.

An option that may be left out reads `INT|none` or `PATH|none`, a tuple reads `INT ...`, and a help
text is the field's docstring, however many lines it takes in the source.
"""

import dataclasses
import os
import shlex
import sys
import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

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
_HUGE = float("inf")
_REGISTRY = ConstructorRegistry()
_METAVARS = {int: "INT", float: "FLOAT", str: "STR", Path: "PATH"}


def cli(
    options: type[Options],
    *,
    args: Sequence[str] | None = None,
    prog: str | None = None,
    description: str | None = None,
) -> Options:
    """An instance of the dataclass `options` from the command line, or from `args`.

    description: shown by --help; the class's docstring unless given. Raises SystemExit: 0 after
    --help, 2 for a wrong command line, an empty word in it, and a number that is not `Within` its
    option's range.
    """
    words = [_at_home(word) for word in (sys.argv[1:] if args is None else args)]
    parsed = None
    if not (said := _empty(words)):
        parsed = tyro.cli(
            options, args=words, prog=prog, description=description, registry=_REGISTRY
        )
        said = out_of_range(parsed)
    if said or parsed is None:
        print(f"{prog or 'options'}: {said}", file=sys.stderr)
        sys.exit(2)
    return parsed


def _empty(words: Sequence[str]) -> str:
    """What is wrong where a word of a command line, or of an option's value, is empty; or "".

    A path that is empty would be the working directory.
    """
    for before, word in zip(("", *words), words, strict=False):
        option, equals, value = word.partition("=")
        if not word or (option.startswith("--") and equals and not value):
            where = option or before
            of = f" of {where}" if where.startswith("--") else ""
            return f"The value{of} is empty; is a variable of the shell not set?"
    return ""


def _at_home(word: str) -> str:
    """The word with a home folder's ~ in full where shells leave it, as in --out=~/folder."""
    option, equals, value = word.partition("=")
    if option.startswith("--") and equals and value.startswith("~"):
        return f"{option}={os.path.expanduser(value)}"
    return word


@dataclasses.dataclass(frozen=True)
class Within:
    """The range of a number or of each of several: a part of an option's annotation.

    above: whether `low` itself is outside of it. below: whether `high` is.
    """

    low: float | int = -_HUGE
    high: float | int = _HUGE
    above: bool = False
    below: bool = False

    def fault(self, value: Any) -> str:
        """What is wrong with a number, or with one of several; "" for nothing."""
        for number in value if isinstance(value, tuple | list) else (value,):
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            inside = self.low <= number <= self.high  # not so of NaN
            if (
                not inside
                or (self.above and number == self.low)
                or (self.below and number == self.high)
            ):
                shown = f"{number:g}" if isinstance(number, float) else str(number)
                return f"is {shown}; expected {self.words()}"
        return ""

    def words(self) -> str:
        """The range in words."""
        low = f"a number {'above' if self.above else 'from'} {self.low:g}"
        if self.low == -_HUGE:
            low = "a finite number" if self.high == _HUGE else "a number"
        if self.high == _HUGE:
            return low
        return f"{low} {'to below' if self.below else 'up to'} {self.high:g}"


Count = Annotated[int, Within(1)]
"""A whole number from 1."""
OptionalCount = Annotated[int | None, Within(1)]
Size = Annotated[int, Within(1, 2**16)]
"""Pixels of a side, channels, blocks: what memory grows with."""
OptionalSize = Annotated[int | None, Within(1, 2**16)]
Sizes = Annotated[tuple[int, ...], Within(1, 2**16)]
Whole = Annotated[int, Within(0)]
"""A whole number from 0."""
OptionalWhole = Annotated[int | None, Within(0)]
Positive = Annotated[float, Within(0, 1e6, above=True)]
OptionalPositive = Annotated[float | None, Within(0, 1e6, above=True)]
NonNegative = Annotated[float, Within(0, 1e6)]
Signed = Annotated[float, Within(-1e6, 1e6)]
OptionalSigned = Annotated[float | None, Within(-1e6, 1e6)]
Portion = Annotated[float, Within(0, 1, below=True)]
"""A number from 0 to below 1."""

OptionalModelName = Annotated[str | None, tyro.conf.arg(metavar="MODEL|none")]
"""A model by name or path, as `pretrained.open` takes it, or none."""


def one_of(names: Iterable[str]) -> PrimitiveConstructorSpec[str]:
    """The names of a registry as the choices of an option: a part of a string's annotation."""
    choices = tuple(names)

    def chosen(words: list[str]) -> str:
        if words[0] not in choices:
            raise ValueError(f"'{words[0]}' is none of {', '.join(choices)}")
        return words[0]

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="{" + ",".join(choices) + "}",
        instance_from_str=chosen,
        is_instance=lambda value: value in choices,
        str_from_instance=lambda value: [value],
        choices=choices,
    )


_ANY, _WHOLE = Within(-1e30, 1e30), Within(-(2**31) + 1, 2**31 - 1)


def out_of_range(options: Any) -> str:
    """Which option of a dataclass of options, and of those within it, is out of its range; or "".

    A number without a `Within` must be finite, and a whole one below 2^31; a word is one of the
    choices (`one_of`) where there are some.
    """
    hints = get_type_hints(type(options), include_extras=True)
    for field in dataclasses.fields(options):
        value, hint = getattr(options, field.name), hints[field.name]
        if dataclasses.is_dataclass(value):
            if said := out_of_range(value):
                return said
            continue
        marks = getattr(hint, "__metadata__", ())
        ranges = [mark for mark in marks if isinstance(mark, Within)]
        each = value if isinstance(value, tuple) else (value,)
        ranges.append(_WHOLE if all(isinstance(number, int) for number in each) else _ANY)
        names = [name for mark in marks if (name := getattr(mark, "name", None))]
        option = f"--{(names or [field.name])[0].replace('_', '-')}"
        for each_range in ranges:
            if said := each_range.fault(value):
                return f"{option} {said}."
        for choices in filter(None, (getattr(mark, "choices", None) for mark in marks)):
            if value not in choices:
                return f"{option} is {value!r}; expected one of {', '.join(choices)}."
    return ""


def defaults(options: type) -> dict[str, Any]:
    """The defaults of a dataclass of options, by name; those that must be given have none."""
    return {
        field.name: field.default
        for field in dataclasses.fields(options)
        if field.default is not dataclasses.MISSING
    }


def command_line() -> str:
    """The command that started this process, as one writes it in a shell."""
    program = Path(sys.argv[0]).name
    ours = program in ("ddib", "__main__.py")
    return shlex.join(["ddib"] * ours + ["python", program] * (not ours) + sys.argv[1:])


@_REGISTRY.struct_rule
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


@_REGISTRY.primitive_rule
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


@_REGISTRY.primitive_rule
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


@_REGISTRY.primitive_rule
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

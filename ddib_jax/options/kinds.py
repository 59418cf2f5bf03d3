"""Kinds of options: numbers of a range, words of a registry; and what is out of them."""

import dataclasses
from collections.abc import Iterable
from typing import Annotated, Any, get_type_hints

import tyro
from tyro.constructors import PrimitiveConstructorSpec

_HUGE = float("inf")


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


class Text:
    """What marks an option whose words may be "", for they say something: a part of its annotation.

    Of any other option an empty word is taken for a variable of the shell that is not set.
    """


def texts(options: type) -> set[str]:
    """The names of the options of a dataclass, and of those within it, that are marked `Text`."""
    plain, marked = get_type_hints(options), get_type_hints(options, include_extras=True)
    found = set()
    for field in dataclasses.fields(options):
        if dataclasses.is_dataclass(plain[field.name]):
            found |= texts(plain[field.name])
        if Text in getattr(marked[field.name], "__metadata__", ()):
            found.add(field.name)
    return found


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
OptionalPortion = Annotated[float | None, Within(0, 1, above=True)]
"""A number above 0, up to 1, or none."""

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

"""The state of the page: what is translated and how, as an address keeps it."""

import dataclasses
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from ddib_jax.bridge import GRID, SOLVER, STEPS
from ddib_jax.bridge.couplings import COUPLINGS
from ddib_jax.grids import GRIDS
from ddib_jax.perturbations import check_coefficient, get_perturbation, parse_perturbation
from ddib_jax.solvers import SOLVERS, LatticeHeun

MOST_STEPS = 400
"""Steps of a grid at most: a page has others waiting."""
MOST_PERTURBATIONS = 12
MOST_CHARACTERS = 8192
"""Characters of an address at most."""
_WORDS = 1000
"""Characters of a prompt or a class at most."""
_ARGUMENTS = ("N", "A-B", "LAYER")
"""What the argument of a coupling may stand for here; any other kind reads a file."""
_IMAGE = re.compile(r"\d{1,9}|picture-[0-9a-f]{16}")
_DIGITS = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Side:
    """What one of the two models is told: a class or a prompt, and the guidance towards it."""

    label: str | None = None
    prompt: str | None = None
    negative: str | None = None
    guidance: float | None = None


@dataclass(frozen=True)
class State:
    """What the page shows: an image, perturbations in order with their values, a coupling, the ODE.

    image: the number of one of the images that the page was opened with, from 0, or
    picture-FINGERPRINT of one that was dropped or drawn; reference, too. The other fields are those
    of the options of `ddib translate` of their names. Raises ValueError, in one sentence, for a
    value that does not suit.
    """

    image: str = "0"
    perturb: tuple[tuple[str, float | int], ...] = ()
    couple: str | None = None
    couple_strength: float = 1.0
    until: float | None = None
    steps: int = STEPS
    solver: str = SOLVER
    grid: str = GRID
    source: Side = Side()
    target: Side = Side()
    reference: str | None = None
    seed: int = 0

    def __post_init__(self):
        for word in (self.image, *(() if self.reference is None else (self.reference,))):
            if not _IMAGE.fullmatch(word):
                raise ValueError(
                    f"'{word[:40]}' is no image; write the number of one, or picture-FINGERPRINT."
                )
        if len(self.perturb) > MOST_PERTURBATIONS:
            raise ValueError(
                f"There are {len(self.perturb)} perturbations; {MOST_PERTURBATIONS} are as many as"
                " a page has room for."
            )
        for name, value in self.perturb:
            check_coefficient(name, get_perturbation(name), value)
        parse_perturbation([f"{name}={value!r}" for name, value in self.perturb], ())
        if self.couple is None and (self.until is not None or self.couple_strength != 1):
            raise ValueError(
                "There is no coupling whose end or strength could be set; name one, or leave them"
                " out."
            )
        if self.couple is not None:
            _check_coupling(self.couple)
        _within("strength of the coupling", self.couple_strength, 0, 1e6)
        _within("end of the coupling", self.until, 0, 1e6)
        _within("number of steps", self.steps, 1, MOST_STEPS)
        _within("seed", self.seed, 0, 2**31 - 1)
        if self.solver not in SOLVERS or isinstance(SOLVERS[self.solver], LatticeHeun):
            raise ValueError(
                f"'{self.solver[:40]}' is no solver of this page; known are {', '.join(solvers())}."
            )
        if self.grid not in GRIDS:
            raise ValueError(f"Unknown grid '{self.grid[:40]}'; known are {', '.join(GRIDS)}.")
        for side in (self.source, self.target):
            _within("guidance", side.guidance, -1e6, 1e6)
            for said in (side.label, side.prompt, side.negative):
                if said is not None and len(said) > _WORDS:
                    raise ValueError(
                        f"A text has {len(said)} characters; {_WORDS} are as many as are taken."
                    )
            if side.label is not None and ("/" in side.label or side.label.endswith(".npy")):
                raise ValueError("A class is named by its name or number, not by a file.")

    @classmethod
    def from_query(cls, text: str) -> "State":
        """The state that an address has after its question mark.

        Raises ValueError for a name that is not known or given twice, and a value that is none.
        """
        if len(text) > MOST_CHARACTERS:
            raise ValueError(
                f"The address has {len(text)} characters; {MOST_CHARACTERS} are as many as are"
                " read."
            )
        fields: dict[str, Any] = {"source": {}, "target": {}}
        perturb, seen = [], set()
        for name, value in parse_qsl(text, keep_blank_values=True):
            if name == "perturb":
                perturb.append(_perturbation(value))
                continue
            if name in seen or name not in _READ:
                said = "has twice" if name in seen else "has a name that this page does not know:"
                raise ValueError(f"The address {said} '{name[:40]}'; known are {_known()}.")
            seen.add(name)
            side, _, field = name.partition("-")
            if side in ("source", "target"):
                fields[side][_FIELD.get(field, field)] = _READ[name](name, value)
            else:
                fields[name.replace("-", "_")] = _READ[name](name, value)
        sides = {side: Side(**fields.pop(side)) for side in ("source", "target")}
        return cls(perturb=tuple(perturb), **sides, **fields)

    def to_query(self) -> str:
        """The state for an address: what differs from the defaults, always in one order."""
        return urlencode(list(self._words()))

    def _words(self) -> Iterator[tuple[str, str]]:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "perturb":
                yield from (("perturb", f"{name}={value!r}") for name, value in value)
            elif isinstance(value, Side):
                for part in dataclasses.fields(value):
                    said = getattr(value, part.name)
                    if said is not None:
                        yield f"{field.name}-{_OPTION.get(part.name, part.name)}", _text(said)
            elif value != field.default:
                yield field.name.replace("_", "-"), _text(value)

    @property
    def moved(self) -> tuple[tuple[str, float | int], ...]:
        """The perturbations that are not at their neutral value, at which they do nothing."""
        return tuple(
            (name, value) for name, value in self.perturb if value != get_perturbation(name).neutral
        )


def solvers() -> tuple[str, ...]:
    """The solvers of the page: all but lattices, whose bits need options of the process."""
    return tuple(name for name, solver in SOLVERS.items() if not isinstance(solver, LatticeHeun))


def couplings() -> tuple[str, ...]:
    """The couplings of the page: all that read no file."""
    return tuple(name for name, kind in COUPLINGS.items() if kind.argument in _ARGUMENTS)


def _check_coupling(word: str) -> None:
    name, _, argument = word.partition(":")
    if name in COUPLINGS and name not in couplings():
        raise ValueError(
            f"'{name}' reads files, which a page may not ask for; take `ddib translate --couple"
            f" {name}:{COUPLINGS[name].argument}`."
        )
    if name not in COUPLINGS or not argument or len(argument) > 100:
        known = ", ".join(f"{known}:{COUPLINGS[known].argument}" for known in couplings())
        raise ValueError(f"'{word[:40]}' is no coupling; known are {known}.")


def _within(what: str, value: float | int | None, low: float | int, high: float | int) -> None:
    if value is not None and not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"The {what} is {value:g}; expected is a number from {low:g} to {high:g}.")


def _perturbation(word: str) -> tuple[str, float]:
    name, equals, value = word.partition("=")
    get_perturbation(name[:40])
    if not equals:
        raise ValueError(f"Say how much: write the perturbation as {name}=VALUE.")
    return name, _number(name, value)


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"'{text[:40]}' is no number for {name}.")
    return value


def _whole(name: str, text: str) -> int:
    if not _DIGITS.fullmatch(text):
        raise ValueError(f"'{text[:40]}' is no whole number for {name}.")
    return int(text)


def _said(name: str, text: str) -> str:
    return text


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)


_FIELD = {"class": "label"}
_OPTION = {"label": "class"}
_READ = {
    "image": _said,
    "reference": _said,
    "couple": _said,
    "couple-strength": _number,
    "until": _number,
    "steps": _whole,
    "solver": _said,
    "grid": _said,
    "seed": _whole,
    **{
        f"{side}-{field}": _number if field == "guidance" else _said
        for side in ("source", "target")
        for field in ("class", "prompt", "negative", "guidance")
    },
}


def _known() -> str:
    return ", ".join(("perturb", *_READ))

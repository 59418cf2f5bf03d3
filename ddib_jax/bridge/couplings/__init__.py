"""Couplings: source and target are rows of one ODE, and the source's steers the target's."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ddib_jax.bridge.couplings.coupling import (
    Coupling,
    Rows,
    SideBySide,
    StraightPath,
    check_no_switch,
    decode_coupled,
)
from ddib_jax.bridge.couplings.features import InjectFusion
from ddib_jax.bridge.couplings.linear import Cosines, Linear, Pixels, Resized, waves
from ddib_jax.data import load_dataset, read_images

_FEW = 256
"""Images whose spectra are taken for a domain's."""


@dataclass(frozen=True)
class Kind:
    """One row of `COUPLINGS`.

    make: (argument, shape [h w c] of an image, strength) -> the coupling; raises ValueError for an
    argument that does not suit. argument: what the word after the colon stands for. example: one
    for a test.
    """

    make: Callable[[str, tuple[int, ...], float], Coupling]
    argument: str
    description: str
    example: str


def _low_pass(argument, shape, strength):
    return Linear(Cosines.band(shape, 0, _whole(argument)), strength)


def _high_pass(argument, shape, strength):
    return Linear(Cosines.band(shape, _whole(argument), max(shape[:2])), strength)


def _band(argument, shape, strength):
    low, _, high = argument.partition("-")
    return Linear(Cosines.band(shape, _whole(low), _whole(high)), strength)


def _agreement(argument, shape, strength):
    names = argument.split(",")
    if len(names) != 2:
        raise ValueError(
            f"Frequencies agree between two data sets, SOURCE,TARGET; '{argument}' names"
            f" {len(names)}."
        )
    sets = []
    for name in names:
        data = load_dataset(name, split="train", image_size=shape[0])
        some = data.take(range(min(len(data), _FEW)))
        if some.shape[1:] != shape:
            raise ValueError(
                f"'{name}' has images of {some.shape[1:]}; the model's are of {shape}."
            )
        sets.append(some)
    return Linear(Cosines.agreement(*sets), strength)


def _mask(argument, shape, strength):
    picture = read_images([argument], image_size=shape[0])[0]
    return Linear(Pixels((picture.mean(axis=-1, keepdims=True) + 1) / 2), strength)


def _inject(argument, shape, strength):
    return InjectFusion(argument, strength)


COUPLINGS: Mapping[str, Kind] = MappingProxyType(
    {
        "low-pass": Kind(
            _low_pass,
            "N",
            "the N lowest frequencies each way are the source's: 1 keeps the mean colour, 2 or 3"
            " broad shades too",
            example="2",
        ),
        "high-pass": Kind(
            _high_pass,
            "N",
            "all but the N lowest frequencies are the source's: its fine structure",
            example="4",
        ),
        "band": Kind(
            _band,
            "A-B",
            "the frequencies from A up to below B are the source's",
            example="2-5",
        ),
        "agreement": Kind(
            _agreement,
            "SOURCE,TARGET",
            "each frequency is the source's as far as the training images of two data sets have"
            " equal power in it",
            example="five,seven",
        ),
        "mask": Kind(
            _mask,
            "FILE",
            "the picture is the source's where FILE is white, the target's where it is black",
            example="mask.png",
        ),
        "inject": Kind(
            _inject,
            "LAYER",
            "the features of this layer, or of the bottleneck, turn towards those that the source's"
            " network has (InjectFusion)",
            example="bottleneck",
        ),
    }
)
"""Name -> kind of coupling, as `low-pass:3` names one on the command line."""


def parse_coupling(word: str, shape: tuple[int, ...], *, strength: float = 1.0) -> Coupling:
    """The coupling that is written NAME:ARGUMENT, for images of `shape` [h w c].

    Raises ValueError for an unknown name, with the list, an argument that does not suit, and data
    that are not images.
    """
    if len(shape) != 3:
        raise ValueError("Couplings are of images; points have no frequencies and no places.")
    name, _, argument = word.partition(":")
    if name not in COUPLINGS or not argument:
        known = ", ".join(f"{name}:{kind.argument}" for name, kind in COUPLINGS.items())
        raise ValueError(f"'{word}' is no coupling; known are {known}.")
    return COUPLINGS[name].make(argument, shape, strength)


def _whole(word: str) -> int:
    if not word.isdecimal():
        raise ValueError(f"Frequencies are counted in whole numbers, not '{word}'.")
    return int(word)


__all__ = [
    "COUPLINGS",
    "Cosines",
    "Coupling",
    "InjectFusion",
    "Kind",
    "Linear",
    "Pixels",
    "Resized",
    "Rows",
    "SideBySide",
    "StraightPath",
    "check_no_switch",
    "decode_coupled",
    "parse_coupling",
    "waves",
]

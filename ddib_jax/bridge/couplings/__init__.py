"""Couplings: source and target are rows of one ODE, and the source's steers the target's."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ddib_jax.bridge.couplings.coupling import Coupling, Rows, StraightPath, decode_coupled
from ddib_jax.bridge.couplings.features import InjectFusion
from ddib_jax.bridge.couplings.linear import Cosines, Linear, Pixels, Resized, waves
from ddib_jax.data import load_dataset, read_images
from ddib_jax.types import Images


@dataclass(frozen=True)
class Kind:
    """One row of `COUPLINGS`.

    make: (argument, shape [h w c] of an image, the source's images [n h w c], strength) -> the
    coupling; raises ValueError for an argument that does not suit. argument: what the word after
    the colon stands for. example: one for a test. order_kept: whether a solver keeps its order.
    """

    make: Callable[[str, tuple[int, ...], Images, float], Coupling]
    argument: str
    description: str
    example: str
    order_kept: bool = True


def _low_pass(argument, shape, images, strength):
    return Linear(Cosines.band(shape, 0, _whole(argument)), strength)


def _high_pass(argument, shape, images, strength):
    return Linear(Cosines.band(shape, _whole(argument), max(shape[:2])), strength)


def _band(argument, shape, images, strength):
    low, _, high = argument.partition("-")
    return Linear(Cosines.band(shape, _whole(low), _whole(high)), strength)


def _agreement(argument, shape, images, strength):
    target = load_dataset(argument, split="train", image_size=shape[0])
    some = target.take(range(min(len(target), 256)))
    if some.shape[1:] != shape:
        raise ValueError(
            f"'{argument}' has images of {some.shape[1:]}; the model's are of {shape}."
        )
    return Linear(Cosines.agreement(images, some), strength)


def _mask(argument, shape, images, strength):
    picture = read_images([argument], image_size=shape[0])[0]
    return Linear(Pixels((picture.mean(axis=-1, keepdims=True) + 1) / 2), strength)


def _inject(argument, shape, images, strength):
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
            "DATA",
            "each frequency is the source's as far as the source's images and DATA, images of the"
            " target, have equal power in it",
            example="seven",
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


def parse_coupling(
    word: str, shape: tuple[int, ...], images: Images, *, strength: float = 1.0
) -> Coupling:
    """The coupling that is written NAME:ARGUMENT, for images [n h w c] of `shape` [h w c].

    Raises ValueError for an unknown name, with the list, an argument that does not suit, and data
    that are not images.
    """
    if len(shape) != 3:
        raise ValueError("Couplings are of images; points have no frequencies and no places.")
    name, _, argument = word.partition(":")
    if name not in COUPLINGS or not argument:
        known = ", ".join(f"{name}:{kind.argument}" for name, kind in COUPLINGS.items())
        raise ValueError(f"'{word}' is no coupling; known are {known}.")
    return COUPLINGS[name].make(argument, shape, images, strength)


def _whole(word: str) -> int:
    if not word.isdigit():
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
    "StraightPath",
    "decode_coupled",
    "parse_coupling",
    "waves",
]

"""Data sets by name: `five`, `digits:1,2,3`, `lab:photo.png`, `tfds:cifar10`, a folder."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from ddib_jax.data.arrays import ArrayImages
from ddib_jax.data.captioned_digits import CaptionedDigits
from ddib_jax.data.crops import crop_folder
from ddib_jax.data.digit_sets import find_digits, parse_digits
from ddib_jax.data.digits import ColouredDigits
from ddib_jax.data.folder import image_folder
from ddib_jax.data.pictures import MAX_PIXELS
from ddib_jax.data.pixels import COLOUR_SPACES, PixelCloud
from ddib_jax.data.points import SHAPES, Points
from ddib_jax.data.sources import SPLITS, ImageSource, check_split
from ddib_jax.data.tfds_sets import tfds_images
from ddib_jax.data.walk import DOMAINS, HALVES, part_of


def _coloured(argument: str, split: str, directory: str | Path | None, seed: int) -> ImageSource:
    return ColouredDigits(find_digits(parse_digits(argument), split, directory=directory), seed)


def _captioned(argument: str, split: str, directory: str | Path | None, seed: int) -> ImageSource:
    return CaptionedDigits(find_digits(parse_digits(argument), split, directory=directory), seed)


def _grey(argument: str, split: str, directory: str | Path | None, seed: int) -> ImageSource:
    return find_digits(parse_digits(argument), split, directory=directory)


def _arrays(argument: str, split: str, directory: str | Path | None, seed: int) -> ImageSource:
    if not argument:
        raise ValueError("'npz' names no file: write npz:FILE, or npz:FOLDER with its test.npz.")
    path = Path(argument)
    return ArrayImages(path / f"{split}.npz" if path.is_dir() else path)


def _pixels(space: str) -> Callable[..., ImageSource]:
    def load(argument: str, split: str, directory: str | Path | None, seed: int) -> ImageSource:
        return PixelCloud(argument, space=space)

    return load


def _points(shape: str) -> Callable[..., ImageSource]:
    def load(argument: str, split: str, directory: str | Path | None, seed: int) -> ImageSource:
        # Two seeds for each of the caller's, so that no seed's test points are another's training
        # points.
        return Points(shape, seed=2 * seed + SPLITS.index(split))

    return load


def _one_digit(digit: str) -> Callable[..., ImageSource]:
    def load(argument: str, split: str, directory: str | Path | None, seed: int) -> ImageSource:
        if argument:
            raise ValueError(
                "This data set takes nothing after its name: write"
                f" digits:{argument} for other digits."
            )
        return _coloured(digit, split, directory, seed)

    return load


DATASETS: dict[str, Callable[[str, str, str | Path | None, int], ImageSource]] = {
    "five": _one_digit("5"),
    "seven": _one_digit("7"),
    "digits": _coloured,
    "captioned": _captioned,
    "mnist": _grey,
    "npz": _arrays,
    **{shape: _points(shape) for shape in SHAPES},
    **{space: _pixels(space) for space in COLOUR_SPACES},
}
"""Name -> loader (argument, split, directory, seed) -> source.

The argument is what follows the colon in `digits:1,2,3` and `lab:photo.png`, "" without a colon.
"""

_FORMS = (
    "digits:1,2,3",
    "captioned:1,2,3",
    "mnist:1,2,3",
    "npz:FILE",
    "lab:FILE",
    "rgb:FILE",
    "tfds:NAME",
    *(f"{prefix}:FOLDER" for prefix in (*HALVES, *DOMAINS)),
)


def load_dataset(
    name: str | Path,
    *,
    split: str = "train",
    directory: str | Path | None = None,
    seed: int = 0,
    image_size: int | None = None,
    crop: str = "centre",
    skip_unreadable: bool = False,
    max_pixels: int = MAX_PIXELS,
    declared: Sequence[str] = (),
) -> ImageSource:
    """Load a data set by name, or a folder of images by its path.

    A word is a data set's name before it is a folder's, which is then named in a warning; a `Path`
    and ./NAME are always the folder.

    Names:

        five, seven                 one digit of MNIST, coloured as by Gushchin et al. (ENOT,
                                    NeurIPS 2023)
        digits, digits:1,2,3        all digits or some, coloured
        captioned, captioned:1,2,3  all digits or some, of many looks and with captions
        mnist, mnist:1,2,3          all digits or some, grey
        moons, checkerboard, ...    points of the plane, a shape of `SHAPES`
        lab:FILE, rgb:FILE          the pixels of an image as points of a colour space
        npz:FILE, npz:FOLDER        images in a NumPy file, or in a folder's train.npz and test.npz
        tfds:NAME                   what tensorflow-datasets has prepared (see `tfds_images`)
        FOLDER                      images in FOLDER/train or FOLDER/test (or val) where these are
                                    its splits (see `split_folder`), otherwise all images in
                                    FOLDER, for either split
        left:FOLDER, right:FOLDER   one half of pictures that hold two side by side (pix2pix)
        A:FOLDER, B:FOLDER          a domain of CycleGAN's layout: trainA, testA, trainB, testB

    `split` is "train" or "test". `directory` holds MNIST's IDX files (see `find_digits`) or the
    data of tensorflow-datasets. `seed` fixes the hues of coloured digits in evaluation and the
    points of a shape. `image_size` crops images to a square and resizes them to that side; with
    `crop` "random" instead of "centre", training draws a random part of the square, and with
    "window" a part of that size of the whole picture as it is (see `crop_folder`).
    `skip_unreadable`, `max_pixels` and `declared` are of folders, as in `image_folder`.

    Raises:
        ValueError: the name or the split is unknown, the size or the crop does not suit, a range
            is declared for what is no folder, or a folder holds two domains.
        FileNotFoundError: the data are missing.
    """
    check_split(split)
    kind, _, argument = str(name).partition(":")
    if declared and (is_named(name) or (kind == "tfds" and not Path(name).exists())):
        raise ValueError(
            f"The data set '{name}' has a range of its own; a range is declared for a folder of"
            " files. Leave --range out."
        )
    if is_named(name):
        source = DATASETS[kind](argument, split, directory, seed)
        _check_whole(kind, source, image_size, crop)
        return source
    if kind == "tfds" and argument and not isinstance(name, Path):
        data_dir = None if directory is None else str(directory)
        return tfds_images(argument, split, data_dir=data_dir, image_size=image_size, crop=crop)
    part = part_of(str(name), split)
    if part is None and Path(name).is_file():
        raise ValueError(f"'{name}' is a file: give its folder, or npz:FILE for a NumPy file.")
    if part is None:
        raise ValueError(
            f"Unknown data set '{name}'; known are the path of a folder of images,"
            f" {', '.join(sorted(DATASETS))}, {', '.join(_FORMS)}."
        )
    folder, half = part
    options = {
        "image_size": image_size,
        "half": half,
        "skip_unreadable": skip_unreadable,
        "max_pixels": max_pixels,
        "declared": declared,
    }
    if crop == "window":
        return crop_folder(folder, **options)
    return image_folder(folder, crop=crop, **options)


def is_named(name: str | Path) -> bool:
    """Whether a word is the name of one of `DATASETS`; warns where it is a folder's, too."""
    if isinstance(name, Path) or name.partition(":")[0] not in DATASETS:
        return False
    if Path(name).is_dir():
        warnings.warn(
            f"'{name}' is the data set of that name; write ./{name} for the folder.", stacklevel=3
        )
    return True


def _check_whole(kind: str, source: ImageSource, image_size: int | None, crop: str) -> None:
    """Refuse a size or a crop for data that have one size and are never cropped."""
    side = source.image_shape[0]
    items = "images" if len(source.image_shape) == 3 else "points"
    if image_size is not None and (image_size != side or items == "points"):
        raise ValueError(
            f"Data set '{kind}' has {items} of {side}, not of {image_size}: leave the image size"
            " out."
        )
    if crop != "centre":
        raise ValueError(f"Data set '{kind}' is never cropped: leave the crop out.")

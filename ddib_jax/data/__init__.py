"""Data sets on the host: digits, coloured digits, folders of images, points of the plane and of
colour spaces, and batches of them.
"""

from collections.abc import Callable
from pathlib import Path

from ddib_jax.data.arrays import ArrayImages
from ddib_jax.data.batches import batch_at
from ddib_jax.data.colouring import enot_colour
from ddib_jax.data.digit_sets import bundled_digits, find_digits, parse_digits
from ddib_jax.data.digits import ColouredDigits, Digits
from ddib_jax.data.folder import image_folder, read_images
from ddib_jax.data.idx import mnist_idx
from ddib_jax.data.pictures import Pictures
from ddib_jax.data.pixels import COLOUR_SPACES, PixelCloud, colour_space, to_pixels, to_points
from ddib_jax.data.points import SHAPES, Points, draw_points
from ddib_jax.data.sources import ALL, SPLITS, ImageSource, check_split
from ddib_jax.data.tfds_sets import tfds_digits, tfds_images
from ddib_jax.data.workers import in_workers

__all__ = [
    "ALL",
    "COLOUR_SPACES",
    "DATASETS",
    "SHAPES",
    "ArrayImages",
    "ColouredDigits",
    "Digits",
    "ImageSource",
    "Pictures",
    "PixelCloud",
    "Points",
    "batch_at",
    "bundled_digits",
    "colour_space",
    "draw_points",
    "enot_colour",
    "image_folder",
    "in_workers",
    "load_dataset",
    "mnist_idx",
    "read_images",
    "tfds_digits",
    "tfds_images",
    "to_pixels",
    "to_points",
]


def _coloured(argument: str, split: str, directory: str | Path | None, seed: int) -> ImageSource:
    return ColouredDigits(find_digits(parse_digits(argument), split, directory), seed)


def _grey(argument: str, split: str, directory: str | Path | None, seed: int) -> ImageSource:
    return find_digits(parse_digits(argument), split, directory)


def _arrays(argument: str, split: str, directory: str | Path | None, seed: int) -> ImageSource:
    path = Path(argument)
    return ArrayImages(path / f"{split}.npz" if path.is_dir() else path)


def _pixels(space: str) -> Callable[..., ImageSource]:
    def load(argument: str, split: str, directory: str | Path | None, seed: int) -> ImageSource:
        return PixelCloud(argument, space)

    return load


def _points(shape: str) -> Callable[..., ImageSource]:
    def load(argument: str, split: str, directory: str | Path | None, seed: int) -> ImageSource:
        return Points(shape, seed=2 * seed + SPLITS.index(split))

    return load


def _one_digit(digit: str) -> Callable[..., ImageSource]:
    def load(argument: str, split: str, directory: str | Path | None, seed: int) -> ImageSource:
        if argument:
            raise ValueError(
                f"this data set takes nothing after its name: write digits:{argument} for other"
                " digits"
            )
        return _coloured(digit, split, directory, seed)

    return load


DATASETS: dict[str, Callable[[str, str, str | Path | None, int], ImageSource]] = {
    "five": _one_digit("5"),
    "seven": _one_digit("7"),
    "digits": _coloured,
    "mnist": _grey,
    "npz": _arrays,
    **{shape: _points(shape) for shape in SHAPES},
    **{space: _pixels(space) for space in COLOUR_SPACES},
}
"""Name -> (argument, split, directory, seed) -> source. The argument is what follows a colon:
`digits:1,2,3`, `lab:photo.png`.
"""


HALVES, SIDES = ("left", "right"), ("A", "B")


def load_dataset(
    name: str | Path,
    split: str = "train",
    *,
    directory: str | Path | None = None,
    seed: int = 0,
    image_size: int | None = None,
    crop: str = "centre",
) -> ImageSource:
    """Load a data set by name, or a folder of images by its path.

    Names: `five`, `seven`, `digits` and `digits:1,2,3` are MNIST in the colouring of Gushchin et
    al. (ENOT, NeurIPS 2023), `mnist` and `mnist:1,2,3` are grey; `seed` fixes the evaluation hues
    and `directory` holds MNIST's IDX files (see `find_digits`). `moons`, `checkerboard` and the
    other `SHAPES` are points of the plane, `lab:photo.png` and `rgb:photo.png` the pixels of an
    image as points of a colour space; `npz:FILE` is a NumPy file of images, or a folder of
    train.npz and test.npz; `tfds:NAME` is what tensorflow-datasets has prepared in `directory` (see
    `tfds_images`). `split` is "train" or "test". A folder that has subfolders named after splits is
    read from the one asked for, any other whole for either split; `left:FOLDER` and `right:FOLDER`
    are one half of pictures that hold two side by side, as pix2pix has them; `A:FOLDER` and
    `B:FOLDER` are a domain of CycleGAN's layout (trainA, testA ...). `image_size` crops and resizes
    the images, with `crop` "random" to a random part of them in training. Raises ValueError on an
    unknown name, split or size, FileNotFoundError where data are missing.
    """
    check_split(split)
    kind, _, argument = str(name).partition(":")
    if kind in DATASETS:
        source = DATASETS[kind](argument, split, directory, seed)
        side, kinds = source.image_shape[0], "images" if len(source.image_shape) == 3 else "points"
        if image_size is not None and (image_size != side or kinds == "points"):
            raise ValueError(
                f"data set {kind!r} has {kinds} of {side}, not of {image_size}: leave the image"
                " size out"
            )
        if crop != "centre":
            raise ValueError(f"data set {kind!r} is taken whole: leave the crop out")
        return source
    if kind in HALVES and Path(argument).is_dir():
        return image_folder(_split_folder(Path(argument), split), image_size, half=kind, crop=crop)
    if kind in SIDES and Path(argument).is_dir():
        return image_folder(Path(argument) / f"{split}{kind}", image_size, crop=crop)
    if kind == "tfds" and argument:
        return tfds_images(
            argument, split, None if directory is None else str(directory), image_size, crop
        )
    if Path(name).is_dir():
        return image_folder(_split_folder(Path(name), split), image_size, crop=crop)
    raise ValueError(
        f"unknown data set {str(name)!r}: expected {', '.join(sorted(DATASETS))}, digits:1,2,3,"
        " mnist:1,2,3, npz:FILE, tfds:NAME, lab:photo.png, left:FOLDER, right:FOLDER, A:FOLDER,"
        " B:FOLDER or the path of a folder of images"
    )


def _split_folder(folder: Path, split: str) -> Path:
    present = [name for name in SPLITS if (folder / name).is_dir()]
    if present and split not in present:
        raise FileNotFoundError(
            f"{folder} has a folder {present[0]} but none named {split}: add it, or name another"
        )
    return folder / split if present else folder

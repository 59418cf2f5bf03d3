"""Data sets on the host (no jax): digits, folders of images, points; and batches of them."""

from ddib_jax.data.arrays import ArrayImages
from ddib_jax.data.batches import batch_at, captions_at
from ddib_jax.data.captioned_digits import CaptionedDigits
from ddib_jax.data.captions import CaptionedPictures, CaptionFiles
from ddib_jax.data.colouring import enot_colour
from ddib_jax.data.crops import Crops, crop_folder
from ddib_jax.data.datasets import DATASETS, is_named, load_dataset
from ddib_jax.data.digit_sets import bundled_digits, find_digits, parse_digits
from ddib_jax.data.digits import ColouredDigits, Digits
from ddib_jax.data.folder import image_folder, read_images, write_unreadable
from ddib_jax.data.idx import mnist_idx
from ddib_jax.data.pictures import MAX_PIXELS, Pictures
from ddib_jax.data.pixels import COLOUR_SPACES, PixelCloud, colour_space, to_pixels, to_points
from ddib_jax.data.points import SHAPES, Points, draw_points
from ddib_jax.data.sources import ALL, SPLITS, Captioned, ImageSource, check_split
from ddib_jax.data.tfds_sets import tfds_digits, tfds_images
from ddib_jax.data.walk import image_files, part_of, split_folder, suffixes
from ddib_jax.data.workers import in_workers

__all__ = [
    "ALL",
    "COLOUR_SPACES",
    "DATASETS",
    "MAX_PIXELS",
    "SHAPES",
    "SPLITS",
    "ArrayImages",
    "CaptionFiles",
    "Captioned",
    "CaptionedDigits",
    "CaptionedPictures",
    "ColouredDigits",
    "Crops",
    "Digits",
    "ImageSource",
    "Pictures",
    "PixelCloud",
    "Points",
    "batch_at",
    "bundled_digits",
    "captions_at",
    "check_split",
    "colour_space",
    "crop_folder",
    "draw_points",
    "enot_colour",
    "find_digits",
    "image_files",
    "image_folder",
    "in_workers",
    "is_named",
    "load_dataset",
    "mnist_idx",
    "parse_digits",
    "part_of",
    "read_images",
    "split_folder",
    "suffixes",
    "tfds_digits",
    "tfds_images",
    "to_pixels",
    "to_points",
    "write_unreadable",
]

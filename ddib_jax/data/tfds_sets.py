"""Data sets of tensorflow-datasets, prepared as array_record and read without TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ddib_jax.data.digits import Digits
from ddib_jax.data.pictures import Pictures, View
from ddib_jax.data.sources import check_split

_SPLITS = {"train": ("train",), "test": ("test", "validation")}


@cache
def tfds_digits(split: str, data_dir: str | None = None) -> Digits:
    """Read a split of MNIST that tensorflow-datasets has prepared as array_record, through
    `tfds.data_source`.

    Nothing is downloaded and TensorFlow is not needed; `data_dir` is where tensorflow-datasets
    keeps its data, its own default if None. The images come in tensorflow-datasets' shuffled order,
    so `positions` (and the evaluation hues that follow from them) are those of that order, not of
    the IDX files. Decoding takes some 20 s for "train" and is done once a process. Raises
    ModuleNotFoundError without the package, FileNotFoundError if MNIST has not been prepared there.
    """
    check_split(split)
    pixels, labels = zip(
        *(
            (record["image"][..., 0], record["label"])
            for record in _records("mnist", split, data_dir)
        ),
        strict=True,
    )
    return Digits(np.stack(pixels), np.array(labels, np.int32), np.arange(len(labels)), split)


def tfds_images(
    name: str,
    split: str,
    data_dir: str | None = None,
    image_size: int | None = None,
    crop: str = "centre",
) -> Pictures:
    """The pictures of any data set of tensorflow-datasets, "cifar10" or "oxford_iiit_pet:4.0.0",
    converted, cropped and kept in memory as those of a folder.

    Its feature `image` is read, and `label` where it has one. "test" is the split of that name, or
    `validation` where there is none. Raises as `tfds_digits`, and ValueError for a data set without
    images of 8 bits, or without the split.
    """
    check_split(split)
    records = _records(name, split, data_dir)
    features = records.dataset_info.features
    image, label = (features.get(key, None) for key in ("image", "label"))
    if image is None or np.dtype(image.np_dtype) != np.uint8 or len(image.shape) != 3:
        raise ValueError(
            f"'{name}' of tensorflow-datasets has no feature `image` of bytes [h, w, c]; it has"
            f" {', '.join(features)}."
        )
    labels, classes = None, tuple(getattr(label, "names", None) or ())
    if classes:
        labels = np.asarray(
            [record["label"] for record in _records(name, split, data_dir, skip="image")], np.int32
        )
    return Pictures(
        range(len(records)),
        View(image_size, crop=crop),
        _Record(records),
        labels=labels,
        classes=classes,
    )


@dataclass(frozen=True)
class _Record:
    """The picture of a record, fitted."""

    records: Sequence[Any]

    def __call__(self, index: int, view: View) -> UInt8[np.ndarray, "h w 3"]:
        pixels = self.records[index]["image"]
        return view.fitted(Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def _records(name: str, split: str, data_dir: str | None, skip: str | None = None) -> Sequence[Any]:
    """The records of a prepared data set, a feature of them left undecoded."""
    try:
        import tensorflow_datasets as tfds
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed: pip install 'ddib_jax[tfds]' to read {name} from"
            " tensorflow-datasets"
        ) from error
    where = {"data_dir": data_dir, "download": False}
    try:
        known = tfds.data_source(name, **where)
    except ImportError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed: pip install 'ddib_jax[tfds]' to read {name} from"
            " tensorflow-datasets"
        ) from error
    except (
        Exception
        # whatever it raises on a name it does not know, or on data that are not there or of another
        # kind
    ) as error:
        raise FileNotFoundError(
            f"tensorflow-datasets has no {name} as array_record in"
            f" {data_dir or 'its default folder'} ({type(error).__name__}): prepare it once with"
            f" `tfds build {name} --file_format=array_record`"
        ) from error
    there = next((each for each in _SPLITS[split] if each in known), None)
    if there is None:
        raise ValueError(
            f"'{name}' of tensorflow-datasets has no split {' or '.join(_SPLITS[split])}; it has"
            f" {', '.join(known)}."
        )
    return (
        known[there]
        if skip is None
        else tfds.data_source(
            name, split=there, decoders={skip: tfds.decode.SkipDecoding()}, **where
        )
    )

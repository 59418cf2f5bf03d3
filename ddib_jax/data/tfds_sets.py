"""Data sets of tensorflow-datasets, prepared as array_record and read without TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ddib_jax.data.digits import Digits
from ddib_jax.data.pictures import Pictures, View
from ddib_jax.data.sources import check_split

_SPLITS = {"train": ("train",), "test": ("test", "validation")}


@cache
def tfds_digits(split: str, *, data_dir: str | None = None) -> Digits:
    """Read a split of MNIST that tensorflow-datasets has prepared as array_record.

    Nothing is downloaded and TensorFlow is not needed; `data_dir` is where tensorflow-datasets
    keeps its data, its own default if None. The images come in tensorflow-datasets' shuffled order,
    so `positions` (and the evaluation hues that follow from them) are those of that order, not of
    the IDX files. Decoding takes some 20 s for "train" and is done once a process.

    Raises:
        ModuleNotFoundError: tensorflow-datasets is not installed.
        FileNotFoundError: MNIST has not been prepared there.
    """
    check_split(split)
    pixels, labels = [], []
    for record in _records("mnist", split, data_dir):
        pixels.append(record["image"][..., 0])
        labels.append(record["label"])
    return Digits(np.stack(pixels), np.array(labels, np.int32), np.arange(len(labels)), split)


def tfds_images(
    name: str,
    split: str,
    *,
    data_dir: str | None = None,
    image_size: int | None = None,
    crop: str = "centre",
) -> Pictures:
    """The pictures of a data set of tensorflow-datasets, "cifar10" or "oxford_iiit_pet:4.0.0".

    They are converted, cropped and kept in memory as by `image_folder`. The feature `image` is
    read, and `label` where there is one. "test" is the split of that name, or `validation` where
    there is none. Raises as `tfds_digits`, and ValueError for a data set without images of 8 bits,
    or without the split.
    """
    check_split(split)
    records = _records(name, split, data_dir)
    features = dict(cast(Any, records).dataset_info.features.items())
    image, label = (features.get(key) for key in ("image", "label"))
    if image is None or np.dtype(image.np_dtype) != np.uint8 or len(image.shape) != 3:
        raise ValueError(
            f"'{name}' of tensorflow-datasets has no feature `image` of bytes [h, w, c]; it has"
            f" {', '.join(features)}."
        )
    labels, classes = None, tuple(getattr(label, "names", None) or ())
    if classes:
        undecoded = _records(name, split, data_dir, skip="image")
        labels = np.asarray([record["label"] for record in undecoded], np.int32)
    view = View(image_size, crop=crop)
    indices = range(len(records))
    return Pictures(indices, view, _Record(records), labels=labels, classes=classes)


@dataclass(frozen=True)
class _Record:
    """Reads and fits the picture of a record; data rather than a closure, so that it pickles."""

    records: Sequence[Any]

    def __call__(self, index: int, view: View) -> UInt8[np.ndarray, "h w 3"]:
        pixels = self.records[index]["image"]
        return view.fitted(Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def _records(name: str, split: str, data_dir: str | None, skip: str | None = None) -> Sequence[Any]:
    """The records of a prepared data set; their feature `skip` is left undecoded."""
    options = {"data_dir": data_dir, "download": False}
    try:
        import tensorflow_datasets as tfds
    except ModuleNotFoundError as error:
        raise _not_installed(error, name) from error
    try:
        splits = tfds.data_source(name, **options)
    except ImportError as error:
        raise _not_installed(error, name) from error
    # It has no error of its own for an unknown name, or for data that are missing or of another
    # file format.
    except Exception as error:
        raise _not_prepared(name, data_dir, type(error).__name__) from error
    if not splits:  # a data set that is known, and of which nothing is there
        raise _not_prepared(name, data_dir, "it has no splits")
    present = next((candidate for candidate in _SPLITS[split] if candidate in splits), None)
    if present is None:
        raise ValueError(
            f"'{name}' of tensorflow-datasets has no split {' or '.join(_SPLITS[split])}; it has"
            f" {', '.join(splits)}."
        )
    if skip is None:
        return cast(Sequence[Any], splits[present])
    decoders = {skip: tfds.decode.SkipDecoding()}
    undecoded = tfds.data_source(name, split=present, decoders=decoders, **options)
    return cast(Sequence[Any], undecoded)


def _not_prepared(name: str, data_dir: str | None, why: str) -> FileNotFoundError:
    return FileNotFoundError(
        f"tensorflow-datasets has no {name} as array_record in {data_dir or 'its default folder'}"
        f" ({why}): prepare it once with `tfds build {name} --file_format=array_record`."
    )


def _not_installed(error: ImportError, name: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"{error.name} is not installed: pip install 'ddib_jax[tfds]' to read {name} from"
        " tensorflow-datasets."
    )

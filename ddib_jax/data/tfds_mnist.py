"""MNIST through tensorflow-datasets, read without TensorFlow."""

from functools import cache

import numpy as np

from ddib_jax.data.digits import Digits
from ddib_jax.data.sources import check_split

_PREPARE = "tfds build mnist --file_format=array_record"


@cache
def tfds_digits(split: str, data_dir: str | None = None) -> Digits:
    """Read a split of MNIST that tensorflow-datasets has prepared as array_record, through `tfds.data_source`.

    Nothing is downloaded and TensorFlow is not needed; `data_dir` is where tensorflow-datasets keeps its data, its
    own default if None. The images come in tensorflow-datasets' shuffled order, so `positions` (and the evaluation
    hues that follow from them) are those of that order, not of the IDX files. Decoding takes some 20 s for "train" and
    is done once a process. Raises ModuleNotFoundError without the package, FileNotFoundError if MNIST has not been
    prepared there.
    """
    check_split(split)
    try:
        import tensorflow_datasets as tfds
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed: pip install 'ddib_jax[tfds]' to read MNIST from tensorflow-datasets"
        ) from error
    try:
        records = tfds.data_source("mnist", split=split, data_dir=data_dir, download=False)
    except (AssertionError, FileNotFoundError, ValueError, NotImplementedError) as error:
        raise FileNotFoundError(
            f"tensorflow-datasets has no MNIST as array_record in {data_dir or 'its default folder'}:"
            f" prepare it once with `{_PREPARE}`"
        ) from error
    pixels, labels = zip(*((record["image"][..., 0], record["label"]) for record in records), strict=True)
    return Digits(np.stack(pixels), np.array(labels, np.int32), np.arange(len(labels)), split)

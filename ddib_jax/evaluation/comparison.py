"""Two sets of pictures beside each other: figures of pairs and of sets, one picture at a time."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from PIL import Image

from ddib_jax.evaluation.perceptual import Perceptual
from ddib_jax.evaluation.rows import Classifier, classify, metric_row
from ddib_jax.metrics.fidelity_rows import FIDELITY, PAIRS, dice_above, value_distributions
from ddib_jax.metrics.metric import Metric
from ddib_jax.nets.efficientnet import SIZE
from ddib_jax.runs import MetricRow

Picture = Float[np.ndarray, "_ _ _"]
"""A picture [h w c] in [-1, 1], of any size."""
_BATCH = 16
_FEWEST = 5
"""Pictures of a set at least whose distribution can be told from another's."""


@runtime_checkable
class NamedSet(Protocol):
    """Pictures by index, with their names."""

    @property
    def names(self) -> Sequence[str]:
        """One for each picture."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Picture: ...


@dataclass(frozen=True)
class Comparison:
    """What was measured of two sets of pictures.

    rows: the figures, each with its interval. values: name of a metric of pairs -> one value for
    each pair [n], NaN where it is not measured; empty where nothing is paired.
    """

    rows: tuple[MetricRow, ...]
    values: dict[str, Float[np.ndarray, " n"]]


def compare(
    results: Iterable[Picture],
    references: Iterable[Picture],
    *,
    paired: bool = True,
    data_range: float = 255.0,
    low: float = 0.0,
    thresholds: Sequence[float] = (),
    features: tuple[np.ndarray, np.ndarray] | None = None,
    perceptual: Perceptual | None = None,
    names: Sequence[str] | None = None,
    files: tuple[Sequence[int], Sequence[int]] | None = None,
) -> Comparison:
    """Every figure of two sets of pictures [h w c] in [-1, 1], each with its 95 % interval.

    paired: whether the n-th result should equal the n-th reference; pairs are then measured one by
    one (`metrics.FIDELITY`), and may be of different sizes. data_range: the width of the range of
    values that [-1, 1] stands for, in whose unit errors are stated, and low what -1 is there.
    thresholds: in that unit, for Dice's coefficient. features: of results [n d] and references
    [m d], by one network, for Frechet and kernel distances, precision and recall. names: of the
    pairs, for errors. files: of each result [n] and of each reference [m] the number of its file;
    pictures of one file, slices of a volume, are not independent of each other, and count together
    as one, their mean, but for their features.

    Both iterables are taken once and one picture at a time.

    Raises:
        ValueError: the pictures of a pair differ in shape, those of a set in their number of
            channels, paired sets in number, or a set is empty.
    """
    pairwise = {name: metric for name, metric in FIDELITY.items() if metric.group == PAIRS}
    if perceptual is None:
        del pairwise["lpips"]
    pairwise |= {f"dice_{threshold:g}": dice_above(threshold, low=low) for threshold in thresholds}
    values: dict[str, list[float]] = {name: [] for name in pairwise} if paired else {}
    samples: dict[str, Any] = {"data_range": data_range, "perceptual": perceptual}
    distributions: tuple[list, list] = ([], [])
    if paired:
        for index, (result, reference) in enumerate(zip(results, references, strict=True)):
            _check_pair(result, reference, str(index) if names is None else names[index])
            pair = {"result": result, "reference": reference}
            found = {name: _scaled(picture, data_range) for name, picture in pair.items()}
            found |= samples | {f"{name}_unit": picture[None] for name, picture in pair.items()}
            for name, metric in pairwise.items():
                values[name].append(_value(metric, found))
            _distributed(distributions[0], found["result"], data_range)
            _distributed(distributions[1], found["reference"], data_range)
    else:
        for part, pictures in zip(distributions, (results, references), strict=True):
            for picture in pictures:
                _distributed(part, _scaled(picture, data_range), data_range)
    counts = tuple(map(len, distributions))
    if 0 in counts:
        raise ValueError(f"There are {counts[0]} results and {counts[1]} references to compare.")
    rows = [
        metric_row(name, pairwise[name], _estimate(pairwise[name], found, files and files[0]))
        for name, found in values.items()
    ]
    if min(counts if files is None else [len(set(own)) for own in files]) >= _FEWEST:
        kinds = ("result_distributions", "reference_distributions")
        for kind, part, own in zip(kinds, distributions, files or (None, None), strict=True):
            samples[kind] = _by_file(_joined(part), own)
        if features is not None:
            samples |= dict(zip(("result_features", "reference_features"), features, strict=True))
        for name, metric in FIDELITY.items():
            if metric.group != PAIRS and metric.available(samples):
                rows.append(metric_row(name, metric, metric(samples)))
    return Comparison(tuple(rows), {name: np.asarray(found) for name, found in values.items()})


def network_features(
    network: Classifier, pictures: NamedSet, *, progress: Callable = iter
) -> Float[np.ndarray, "n d"]:
    """The features [n d] of pictures [h w c] in [-1, 1] of any size, resized to 224 x 224.

    Grey is repeated. Pictures are resized with an antialiasing bilinear filter to the size of
    `nets.EfficientNetLite0`, so that one program serves all.
    """
    found = []
    for start in progress(range(0, len(pictures), _BATCH)):
        stop = min(start + _BATCH, len(pictures))
        batch = np.stack([_resized(pictures[index]) for index in range(start, stop)])
        full = np.resize(batch, (_BATCH, *batch.shape[1:]))
        found.append(classify(network, full, batch_size=_BATCH)[1][: len(batch)])
    return np.concatenate(found)


def _check_pair(result: np.ndarray, reference: np.ndarray, name: str) -> None:
    if np.shape(result) != np.shape(reference):
        found, expected = (" x ".join(map(str, np.shape(each))) for each in (result, reference))
        raise ValueError(
            f"The pair '{name}' has a result of {found} and a reference of {expected}; give both in"
            " one size."
        )


def _resized(picture: Picture) -> Float[np.ndarray, "k l 3"]:
    if picture.shape[2] not in (1, 3):
        raise ValueError(
            f"The network's features are of grey and RGB pictures, and these have"
            f" {picture.shape[2]} channels; leave the features out."
        )
    channels = np.broadcast_to(picture, (*picture.shape[:2], 3))
    planes = [
        Image.fromarray(np.ascontiguousarray(channels[..., c], np.float32)).resize(
            (SIZE, SIZE), Image.Resampling.BILINEAR
        )
        for c in range(3)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def _scaled(picture: Picture, data_range: float) -> Float[np.ndarray, "1 h w c"]:
    """A picture of values from 0 to `data_range`, as a set of one."""
    return (np.asarray(picture, np.float64)[None] + 1) / 2 * data_range


def _value(metric: Metric, samples: dict[str, Any]) -> float:
    return float(metric.measure(*(samples[name] for name in metric.takes))[0])


def _estimate(metric: Metric, values: Sequence[float], files: Sequence[int] | None) -> Any:
    assert metric.summarise is not None
    return metric.summarise(_by_file(np.asarray(values)[:, None], files)[:, 0])


def _by_file(
    rows: Float[np.ndarray, "n ..."], files: Sequence[int] | None
) -> Float[np.ndarray, "m ..."]:
    """The means of rows by their file; of values that are not finite none where others are."""
    if files is None or len(set(files)) == len(files):
        return rows
    found = []
    for file in dict.fromkeys(files):
        own = rows[np.asarray(files) == file]
        finite = np.isfinite(own).reshape(len(own), -1).all(axis=1)
        found.append(own[finite].mean(axis=0) if finite.any() else own[0])
    return np.stack(found)


def _distributed(found: list, picture: np.ndarray, data_range: float) -> None:
    """Add the distribution of a picture's values; grey has that of three equal channels."""
    distribution = value_distributions(picture, data_range=data_range)
    if distribution.shape[2] == 1:
        distribution = np.broadcast_to(distribution, (*distribution.shape[:2], 3))
    found.append(distribution.astype(np.float32))


def _joined(distributions: Sequence[np.ndarray]) -> np.ndarray:
    """Distributions [1 bins c] as one array; ValueError for unlike numbers of channels."""
    if len(channels := {each.shape[2] for each in distributions}) > 1:
        found = " and ".join(map(str, sorted(channels)))
        raise ValueError(
            f"The pictures of one set have {found} channels, grey ones counted as 3; compare those"
            " of each number by themselves."
        )
    return np.concatenate(distributions)

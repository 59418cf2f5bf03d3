"""Tensors of a file, one at a time, without torch.

Files are safetensors, or those of `torch.save`, whose pickle is read by an unpickler that runs
nothing.
"""

import json
import pickle
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open

from ddib_jax.pretrained.torch_legacy import is_legacy, read_legacy
from ddib_jax.pretrained.wrapped import contained, unwrapped

INDEX = ".index.json"
"""What the name of an index of several safetensors files ends in."""

_STORAGES = {
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": jnp.bfloat16,
    "DoubleStorage": np.float64,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
"""torch's class of a storage -> its numbers' type."""
_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": jnp.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
"""safetensors' name of a type -> the type."""
_UNREADABLE = (ValueError, KeyError, EOFError, RuntimeError, OverflowError, zlib.error)
"""What reading a damaged entry of a zip file raises, besides BadZipFile."""
_UNPICKLABLE = (TypeError, AttributeError, pickle.UnpicklingError, *_UNREADABLE)
"""What an unpickler raises on bytes that are no pickle, or one that is refused."""


class _Tensor(NamedTuple):
    """Where a tensor lies: elements of an entry of the zip file, by offset and strides."""

    entry: str
    dtype: Any
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def _rebuilt(
    storage: tuple[str, Any], offset: int, shape: Sequence[int], stride: Sequence[int], *rest: Any
) -> _Tensor:
    """What torch's `_rebuild_tensor_v2` is called with, as a record."""
    return _Tensor(*storage, offset, tuple(shape), tuple(stride))


class _Unpickler(pickle.Unpickler):
    """An unpickler of state dicts that runs no code.

    A pickle calls whatever it names. This one knows the names that a dict of tensors needs, gives
    functions of our own for them, and refuses every other one before it is called.
    """

    def __init__(self, file: Any):
        super().__init__(file)
        self.dtypes: dict[str, Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuilt
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, *rest: data
        if module == "torch" and name in _STORAGES:
            return name
        raise ValueError(f"it wants to run {module}.{name}, which no file of weights needs")

    def persistent_load(self, reference: tuple) -> tuple[str, Any]:
        """The entry of a storage and its type, in place of the storage."""
        _, storage, entry, *_ = reference
        self.dtypes[entry] = _STORAGES[storage]
        return entry, _STORAGES[storage]


class TorchFile(Mapping):
    """A state dict that `torch.save` wrote, as zip files or as before torch 1.6.

    It may lie within another dict, as a training keeps it (`contained`). A tensor is read from disk
    when it is asked for. Raises ValueError for a damaged file, one that
    holds anything but named tensors, and one whose pickle wants to run code; nothing is run.
    weights: which of its members, where several are dicts of tensors.
    """

    def __init__(self, path: Path, weights: str | None = None):
        self.path, self._root = path, ""
        self._places: dict[str, tuple[int, int]] | None = None
        try:
            state = self._load()
        except zipfile.BadZipFile as error:
            raise ValueError(f"{path} cannot be read: it is cut short ({error}).") from error
        except _UNPICKLABLE as error:
            raise ValueError(f"{path} is refused: {error}.") from error
        if not isinstance(state, dict):
            raise ValueError(f"{path} is no state dict: its top is no tensor.")
        is_tensor = lambda value: isinstance(value, _Tensor)
        state = contained(state, is_tensor, path, weights)
        strange = [
            str(name)
            for name, value in state.items()
            if not isinstance(value, _Tensor) or not isinstance(name, str)
        ]
        if strange:
            raise ValueError(
                f"{path} is no state dict: {', '.join(strange[:5])}"
                f" {'is no tensor' if len(strange) == 1 else 'are no tensors'}."
            )
        self._tensors: dict[str, _Tensor] = dict(state)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def _load(self) -> Any:
        """The pickled object, with records in place of tensors."""
        if is_legacy(self.path):
            state, self._places = read_legacy(self.path, _Unpickler)
            return state
        with zipfile.ZipFile(self.path) as archive:
            names = archive.namelist()
            pickled = next((name for name in names if name.endswith("/data.pkl")), None)
            if pickled is None:
                raise ValueError("it is a zip file that torch did not write")
            self._root = pickled.removesuffix("data.pkl")
            with archive.open(pickled) as file:
                return _Unpickler(file).load()

    def _stored(self, entry: str) -> bytes:
        """The values of a storage."""
        if self._places is None:
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(f"{self._root}data/{entry}")
        offset, length = self._places[entry]
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def __getitem__(self, name: str) -> np.ndarray:
        tensor = self._tensors[name]
        try:
            flat = np.frombuffer(self._stored(tensor.entry), tensor.dtype)
        except (zipfile.BadZipFile, *_UNREADABLE) as error:
            raise ValueError(
                f"{self.path} is damaged: '{name}' cannot be read ({error})."
            ) from error
        # as_strided checks nothing: a wrong shape or stride would read memory beyond the tensor.
        strides = zip(tensor.shape, tensor.stride, strict=True)
        last = tensor.offset + sum((size - 1) * stride for size, stride in strides)
        negative = tensor.offset < 0 or min(tensor.stride, default=0) < 0
        if negative or (0 not in tensor.shape and last >= len(flat)):
            raise ValueError(
                f"{self.path} is damaged: '{name}' is larger than what is stored of it."
            )
        return np.lib.stride_tricks.as_strided(
            flat[tensor.offset :],
            tensor.shape,
            tuple(stride * flat.itemsize for stride in tensor.stride),
            writeable=False,
        )


class SafetensorsFile(Mapping):
    """The tensors of a safetensors file, read when asked for, and the file's `metadata`.

    Raises ValueError for a damaged file.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            with safe_open(path, framework="numpy") as file:
                self._names, self.metadata = list(file.keys()), file.metadata() or {}
            # The format: eight bytes of the header's length, the header (JSON), then the tensors.
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                self._header = json.loads(file.read(length))
            self._start = 8 + length
        except (SafetensorError, ValueError) as error:
            raise ValueError(f"{path} is not a whole safetensors file ({error}).") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._header:
            raise KeyError(name)
        entry = self._header[name]
        if entry["dtype"] not in _DTYPES:
            raise ValueError(
                f"'{name}' of {self.path} is of the type {entry['dtype']}, which is not read."
            )
        first, last = entry["data_offsets"]
        # Read and not mapped, as safe_open would: mapped pages stay in memory while the next
        # tensors are read.
        with self.path.open("rb") as file:
            file.seek(self._start + first)
            flat = np.frombuffer(file.read(last - first), _DTYPES[entry["dtype"]])
        return flat.reshape(entry["shape"])


class Shards(Mapping):
    """The tensors of several safetensors files, by their index (`NAME.safetensors.index.json`).

    The index says which file holds each tensor. Raises FileNotFoundError for a missing file and
    ValueError for an index that is damaged or at odds with its files.
    """

    def __init__(self, index: Path):
        self._files = _weight_map(index)
        self._parts = {path.name: open_weights(path) for path in shard_files(index)}
        for name, part in self._parts.items():
            listed = {key for key, file in self._files.items() if file == name}
            if odd := sorted(listed ^ set(part)):
                raise ValueError(f"{index} and {name} do not agree on {', '.join(odd[:5])}.")

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._parts[self._files[name]][name]


def shard_files(index: Path) -> list[Path]:
    """The files that an index names, sorted; ValueError for one that does not lie beside it."""
    names = sorted(set(_weight_map(index).values()))
    # An index from elsewhere must not make us read files anywhere.
    if outside := [name for name in names if Path(name).name != name]:
        raise ValueError(f"{index} names the file {outside[0]}, which does not lie beside it.")
    return [index.with_name(name) for name in names]


def _weight_map(index: Path) -> dict[str, str]:
    """Name of a tensor -> name of its file."""
    try:
        weight_map = dict(json.loads(index.read_text())["weight_map"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{index} is no index of safetensors files.") from error
    if not all(isinstance(name, str) for name in weight_map.values()):
        raise ValueError(f"{index} is no index of safetensors files.")
    return weight_map


def open_weights(path: str | Path, *, weights: str | None = None) -> Mapping[str, Any]:
    """The named tensors of a file of weights, or of all those of an index, in torch's layouts.

    Prefixes that wrappers put before all names are taken away (`unwrapped`). weights: which ones,
    where the file holds several. Raises FileNotFoundError where there is none, ValueError where it
    is damaged or wants to run code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of weights {path}.")
    if path.suffix == ".json":
        return Shards(path)
    file = SafetensorsFile(path) if path.suffix == ".safetensors" else TorchFile(path, weights)
    return unwrapped(file, path, weights)

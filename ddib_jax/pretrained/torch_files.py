"""Tensors of a file, one at a time, without torch: safetensors, and the zip files of `torch.save`
read by an unpickler that runs nothing.
"""

import json
import pickle
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open

INDEX = ".index.json"

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


class _Tensor(NamedTuple):
    entry: str
    dtype: Any
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Reader(pickle.Unpickler):
    """Knows the names that a state dict of tensors needs, and refuses every other one before it is
    called.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, stride, *rest: _Tensor(
                *storage, offset, tuple(shape), tuple(stride)
            )
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, *rest: data
        if module == "torch" and name in _STORAGES:
            return name
        raise ValueError(f"it wants to run {module}.{name}, which no file of weights needs")

    def persistent_load(self, reference: tuple) -> tuple[str, Any]:
        _, storage, entry, *_ = reference
        return entry, _STORAGES[storage]


class TorchFile(Mapping):
    """A state dict that `torch.save` wrote (torch 1.6 and later); a tensor is read from disk when
    it is asked for.

    Raises ValueError for a damaged file, one that holds anything but named tensors, and one whose
    pickle wants to run code; nothing is run.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                table = next(
                    (name for name in archive.namelist() if name.endswith("/data.pkl")), None
                )
                if table is None:
                    raise ValueError("it is a zip file that torch did not write")
                self._root = table.removesuffix("data.pkl")
                with archive.open(table) as file:
                    found = _Reader(file).load()
        except zipfile.BadZipFile as error:
            raise ValueError(
                f"{path} cannot be read: it is cut short, or not of torch 1.6 or later ({error})."
            ) from error
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            EOFError,
            RuntimeError,
            OverflowError,
            zlib.error,
            pickle.UnpicklingError,
        ) as error:
            raise ValueError(f"{path} is refused: {error}.") from error
        strange = (
            [
                str(name)
                for name, value in found.items()
                if not isinstance(value, _Tensor) or not isinstance(name, str)
            ]
            if isinstance(found, dict)
            else ["its top"]
        )
        if strange:
            raise ValueError(
                f"{path} is no state dict: {', '.join(strange[:5])}"
                f" {'is no tensor' if len(strange) == 1 else 'are no tensors'}."
            )
        self._tensors: dict[str, _Tensor] = dict(found)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __getitem__(self, name: str) -> np.ndarray:
        tensor = self._tensors[name]
        try:
            with zipfile.ZipFile(self.path) as archive:
                flat = np.frombuffer(archive.read(f"{self._root}data/{tensor.entry}"), tensor.dtype)
        except (
            zipfile.BadZipFile,
            KeyError,
            ValueError,
            EOFError,
            RuntimeError,
            OverflowError,
            zlib.error,
        ) as error:
            raise ValueError(
                f"{self.path} is damaged: '{name}' cannot be read ({error})."
            ) from error
        last = tensor.offset + sum(
            (n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True)
        )
        if (
            tensor.offset < 0
            or min(tensor.stride, default=0) < 0
            or (0 not in tensor.shape and last >= len(flat))
        ):
            raise ValueError(
                f"{self.path} is damaged: '{name}' is larger than what is stored of it."
            )
        steps = tuple(step * flat.itemsize for step in tensor.stride)
        return np.lib.stride_tricks.as_strided(
            flat[tensor.offset :], tensor.shape, steps, writeable=False
        )


class SafetensorsFile(Mapping):
    """The tensors of a safetensors file, read when asked for, and the file's `metadata`; raises
    ValueError for a damaged one.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            with safe_open(path, framework="numpy") as file:
                self._names, self.metadata = list(file.keys()), file.metadata() or {}
            with path.open("rb") as file:
                self._start = 8 + (length := int.from_bytes(file.read(8), "little"))
                self._places = json.loads(file.read(length))
        except (SafetensorError, ValueError) as error:
            raise ValueError(f"{path} is not a whole safetensors file ({error}).") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._places:
            raise KeyError(name)
        place = self._places[name]
        if place["dtype"] not in _DTYPES:
            raise ValueError(
                f"'{name}' of {self.path} is of the type {place['dtype']}, which is not read."
            )
        first, last = place["data_offsets"]
        with self.path.open(
            "rb"
        ) as file:  # not mapped: mapped pages stay in memory while the next ones are read
            file.seek(self._start + first)
            return np.frombuffer(file.read(last - first), _DTYPES[place["dtype"]]).reshape(
                place["shape"]
            )


class Shards(Mapping):
    """The tensors of several safetensors files, by the index that says which of them holds each
    (`NAME.safetensors.index.json`).

    Raises FileNotFoundError for a missing part and ValueError for an index that is damaged or at
    odds with its parts.
    """

    def __init__(self, index: Path):
        self._files = _weight_map(index)
        self._parts = {
            name: open_weights(path)
            for name, path in zip(
                sorted(set(self._files.values())), shard_files(index), strict=True
            )
        }
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
    """The parts of which an index tells, beside it, by name; raises ValueError for one that lies
    elsewhere.
    """
    names = sorted(set(_weight_map(index).values()))
    if strange := [name for name in names if Path(name).name != name]:
        raise ValueError(f"{index} names the file {strange[0]}, which does not lie beside it.")
    return [index.with_name(name) for name in names]


def _weight_map(index: Path) -> dict[str, str]:
    try:
        found = dict(json.loads(index.read_text())["weight_map"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{index} is no index of safetensors files.") from error
    if not all(isinstance(name, str) for name in found.values()):
        raise ValueError(f"{index} is no index of safetensors files.")
    return found


class Renamed(Mapping):
    """Tensors under other names: `names` has, for each of them, the one it is stored under."""

    def __init__(self, weights: Mapping, names: Mapping[str, str]):
        self._weights, self._names = weights, names

    def __getitem__(self, name: str) -> np.ndarray:
        return self._weights[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


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


def open_weights(path: str | Path) -> TorchFile | SafetensorsFile | Shards:
    """The named tensors of a file of weights, or of all those of an index, in torch's layouts.

    Raises FileNotFoundError where there is none, ValueError where it is damaged or wants to run
    code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of weights {path}.")
    if path.name.endswith(INDEX):
        return Shards(path)
    return SafetensorsFile(path) if path.suffix == ".safetensors" else TorchFile(path)

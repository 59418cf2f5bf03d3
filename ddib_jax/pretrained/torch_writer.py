"""State dicts as `torch.save` writes them, without torch.

The file is a zip file of raw tensors and a pickle that says how to read them. The pickle is written
opcode by opcode, since pickling it would take torch's own classes.
"""

import struct
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

# Opcodes of pickle's protocol 2 (see pickletools).
_PROTOCOL = b"\x80\x02"
_MARK, _TUPLE, _REDUCE, _FALSE = b"(", b"t", b"R", b"\x89"
_PERSISTENT_ID, _SET_ITEMS, _STOP = b"Q", b"u", b"."
_ORDERED_DICT = b"ccollections\nOrderedDict\n)R"  # global, empty tuple, call
_FLOAT_STORAGE = b"ctorch\nFloatStorage\n"
_REBUILD_TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
_ROOT = "archive"


def save_state_dict(path: Path, state: Mapping[str, np.ndarray]) -> None:
    """Write a state dict to a file that `torch.load(path, weights_only=True)` reads.

    state: key -> array in torch's layout; stored as float32.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{_ROOT}/data.pkl", _pickled(state))
        archive.writestr(f"{_ROOT}/byteorder", "little")
        for index, array in enumerate(state.values()):
            data = np.ascontiguousarray(array, "<f4").data.cast("B")
            archive.writestr(f"{_ROOT}/data/{index}", data)
        archive.writestr(f"{_ROOT}/version", "3\n")


def _pickled(state: Mapping[str, np.ndarray]) -> bytes:
    """The pickle of an OrderedDict of calls `_rebuild_tensor_v2(storage, 0, shape, stride ...)`."""
    parts = [_PROTOCOL, _ORDERED_DICT, _MARK]
    for index, (key, array) in enumerate(state.items()):
        # In elements and not in bytes, as torch counts.
        stride = np.cumprod([1, *array.shape[:0:-1]])[::-1].tolist() if array.ndim else []
        storage = [_text("storage"), _FLOAT_STORAGE, _text(str(index)), _text("cpu")]
        storage = _MARK + b"".join([*storage, _integer(array.size)]) + _TUPLE + _PERSISTENT_ID
        arguments = [storage, _integer(0), _integers(array.shape), _integers(stride)]
        call = _REBUILD_TENSOR + _MARK + b"".join([*arguments, _FALSE, _ORDERED_DICT])
        parts += [_text(key), call, _TUPLE, _REDUCE]
    return b"".join([*parts, _SET_ITEMS, _STOP])


def _text(text: str) -> bytes:
    encoded = text.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _integer(number: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", number)


def _integers(numbers: Iterable[int]) -> bytes:
    return _MARK + b"".join(_integer(number) for number in numbers) + _TUPLE

"""State dicts as `torch.save` writes them, without torch: a zip file of raw tensors and a pickle,
spelled out, that says how to read them.
"""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_ORDERED = b"ccollections\nOrderedDict\n)R"
_ROOT = "archive"


def save_state_dict(path: Path, state: Mapping[str, np.ndarray]) -> None:
    """Write float32 arrays, as torch lays them out, to a file that `torch.load(path,
    weights_only=True)` reads.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{_ROOT}/data.pkl", _pickled(state))
        archive.writestr(f"{_ROOT}/byteorder", "little")
        for place, array in enumerate(state.values()):
            archive.writestr(
                f"{_ROOT}/data/{place}", np.ascontiguousarray(array, "<f4").data.cast("B")
            )
        archive.writestr(f"{_ROOT}/version", "3\n")


def _pickled(state: Mapping[str, np.ndarray]) -> bytes:
    """The pickle (protocol 2) of an OrderedDict of `_rebuild_tensor_v2(storage, 0, shape, stride,
    False, OrderedDict())`.
    """
    parts = [b"\x80\x02", _ORDERED, b"("]
    for place, (key, array) in enumerate(state.items()):
        stride = np.cumprod([1, *array.shape[:0:-1]])[::-1] if array.ndim else ()
        storage = (
            b"("
            + _text("storage")
            + b"ctorch\nFloatStorage\n"
            + _text(str(place))
            + _text("cpu")
            + _whole(array.size)
            + b"tQ"
        )
        call = storage + _whole(0) + _wholes(array.shape) + _wholes(stride) + b"\x89" + _ORDERED
        parts += [_text(key), b"ctorch._utils\n_rebuild_tensor_v2\n(", call, b"tR"]
    return b"".join([*parts, b"u."])


def _text(words: str) -> bytes:
    encoded = words.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _whole(number: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", number)


def _wholes(numbers) -> bytes:
    return b"(" + b"".join(_whole(int(number)) for number in numbers) + b"t"

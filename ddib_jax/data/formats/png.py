"""PNG files of 8 and 16 bits, each with 1 to 4 channels, read and written exactly."""

import base64
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ddib_jax.data.formats.header import Header, Plain, Values, in_units, stored

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}
"""Channels -> colour type: grey, grey and alpha, RGB, RGB and alpha."""
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_KEPT = (b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME")
"""Chunks that go from a source to its result as they are."""


class PNG(Plain):
    """PNG; transparency is a channel, and a palette is looked up."""

    suffixes = (".png",)

    def header(self, path: Path) -> Header:
        """Type, shape and the chunks that are kept."""
        kept, size = [], None
        for kind, data in _chunks(path):
            if kind == b"IHDR":
                size = struct.unpack(">IIBBBBB", data)
            elif kind in _KEPT:
                kept.append([kind.decode(), base64.b64encode(data).decode()])
        if size is None:
            raise ValueError("it has no header: it is cut short or damaged")
        width, height, depth, colour = size[:4]
        channels = {number: count for count, number in _COLOUR.items()}.get(colour)
        if depth < 8 or channels is None:  # a palette, or grey of a few bits
            with Image.open(path) as image:
                channels = len(_unpacked(image).getbands())
        dtype = "uint16" if depth == 16 else "uint8"
        return Header("png", ".png", dtype, (height, width, channels), fields={"chunks": kept})

    def read(self, path: Path, header: Header) -> Values:
        """The picture as one slice."""
        channels = header.shape[2]
        if header.dtype == "uint8":
            with Image.open(path) as image:
                raw = np.asarray(_unpacked(image))
        elif channels == 1:
            with Image.open(path) as image:
                raw = np.asarray(image)
        elif channels == 2:
            raw = _as_bytes(path, header.shape)
        else:
            # Pillow gives one byte of such a value at a time: the higher one, and the lower one.
            high, low = (_byte(path, f"{_MODES[channels]};16{end}") for end in "BL")
            raw = high.astype(np.uint16) << 8 | low
        return in_units(header, raw.reshape(1, *header.shape))

    def takes(self, dtype: str, channels: int) -> bool:
        """8 and 16 bits, up to four channels."""
        return dtype in ("uint8", "uint16") and channels in _COLOUR

    def write(self, path: Path, header: Header, values: Values) -> None:
        """Write one picture."""
        [pixels] = stored(header, values)
        height, width, channels = pixels.shape
        depth = 8 * pixels.itemsize
        rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
        above = np.zeros_like(rows)
        above[1:] = rows[:-1]
        # Every row as its difference to that above (filter 2), which packs well.
        lines = np.concatenate([np.full((height, 1), 2, np.uint8), rows - above], axis=1)
        kept = [(k.encode(), base64.b64decode(data)) for k, data in header.fields.get("chunks", ())]
        size = struct.pack(">IIBBBBB", width, height, depth, _COLOUR[channels], 0, 0, 0)
        chunks = [(b"IHDR", size), *kept, (b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b"")]
        with path.open("wb") as file:
            file.write(_SIGNATURE)
            for kind, data in chunks:
                check = zlib.crc32(kind + data)
                file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check))


def _chunks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a file but for its pixels; ValueError where it ends too early."""
    with path.open("rb") as file:
        if file.read(8) != _SIGNATURE:
            raise ValueError("it is no PNG file, whatever its name says")
        while True:
            start = file.read(8)
            if len(start) < 8:
                raise ValueError("it is cut short")
            length, kind = struct.unpack(">I4s", start)
            if kind == b"IEND":
                return
            if kind == b"IDAT":
                file.seek(length, 1)
            else:
                yield kind, file.read(length)
            file.seek(4, 1)


def _unpacked(image: Image.Image) -> Image.Image:
    """An 8-bit picture without a palette."""
    if image.mode == "P":
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image.convert("L") if image.mode == "1" else image


def _as_bytes(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Grey and alpha of 16 bits, which Pillow cuts to 8, read as RGB and alpha of 8: as many bytes.

    A row's bytes and their distance to those of the next pixel, which filters go by, are the same.
    """
    data = path.read_bytes()
    head = b"IHDR" + data[16:24] + bytes([8, _COLOUR[4]]) + data[26:29]
    seen = data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]
    with Image.open(io.BytesIO(seen)) as image:
        pairs = np.asarray(image).reshape(*shape, 2).astype(np.uint16)
    return pairs[..., 0] << 8 | pairs[..., 1]


def _byte(path: Path, raw_mode: str) -> np.ndarray:
    """One byte of every 16-bit value, as Pillow's decoder gives it in a raw mode of 16 bits."""
    with Image.open(path) as image:
        image.tile = [(*tile[:3], raw_mode) for tile in image.tile]  # pyright: ignore
        image.load()
        return np.asarray(image)

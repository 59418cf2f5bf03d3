"""DICOM files, and series of them as volumes, through pydicom."""

import base64
import dataclasses
import io
import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from ddib_jax.data.formats.header import Header, Values, in_units, stored
from ddib_jax.data.resizing import Window

_MAKER = "ddib_jax"
_UNEVEN = 0.01
"""Share by which the distances of slices may differ before it is said."""


class DICOM:
    """DICOM: units by rescale slope and intercept; files of one series are slices of a volume.

    Results are files of the same names and attributes, but for what says that they are new images:
    their own UIDs, the image type DERIVED, values without compression.
    """

    suffixes = (".dcm", ".dicom", ".ima")

    def header(self, path: Path) -> Header:
        """Type, shape, slope and intercept, and all attributes but the values."""
        data = _opened(path, values=False)
        try:
            bits, signed = int(data.BitsAllocated), int(data.PixelRepresentation)
            height, width = int(data.Rows), int(data.Columns)
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"it holds no picture, or it is cut short ({error})") from error
        channels = int(data.get("SamplesPerPixel", 1))
        colours = str(data.get("PhotometricInterpretation", "MONOCHROME2"))
        if bits not in (8, 16, 32) or not (colours.startswith("MONOCHROME") or colours == "RGB"):
            raise ValueError(
                f"its values are {colours} of {bits} bits: expected grey or RGB of 8, 16 or 32"
            )
        slope, intercept = (
            float(data.get(name, default))
            for name, default in (("RescaleSlope", 1), ("RescaleIntercept", 0))
        )
        padding = data.get("PixelPaddingValue", None)
        return Header(
            "dicom",
            path.suffix,
            f"{'int' if signed else 'uint'}{bits}",
            (height, width, channels),
            int(data.get("NumberOfFrames", 1) or 1),
            slope,
            intercept,
            nodata=None if padding is None else float(padding) * slope + intercept,
            fields={"files": [_file(path, data, slope, intercept)]},
        )

    def joined(self, files: Sequence[tuple[Path, Header]]) -> list[tuple[Path, Header]]:
        """The files, those of one series as one volume, ordered along the patient.

        Raises ValueError for a series whose slices are not of one size and type; warns where their
        distances differ.
        """
        series = defaultdict(list)
        for path, header in files:
            uid = header.fields["files"][0]["series"]
            series[uid if uid and header.slices == 1 else str(path)].append((path, header))
        return [_volume(uid, members) for uid, members in series.items()]

    def read(self, path: Path, header: Header) -> Values:
        """All slices, each in the units of its own slope and intercept."""
        slices = []
        for entry in header.fields["files"]:
            try:
                raw = np.asarray(_opened(Path(entry["path"])).pixel_array)
            except Exception as error:  # decoders of many packages
                raise ValueError(f"{entry['path']}: {_said(error)}") from error
            own = dataclasses.replace(header, slope=entry["slope"], intercept=entry["intercept"])
            slices.append(in_units(own, raw.reshape(-1, *header.shape)))
        return np.concatenate(slices)

    def takes(self, dtype: str, channels: int) -> bool:
        """Grey of 8, 16 or 32 bits, or RGB of 8."""
        kind = np.dtype(dtype)
        grey = channels == 1 and kind.kind in "iu" and kind.itemsize <= 4
        return grey or (channels == 3 and dtype == "uint8")

    def moved(self, header: Header, window: Window) -> Header:
        """The header of the window; pixel spacing and positions are as they are there."""
        rows, columns = window.height / window.shape[0], window.width / window.shape[1]
        entries = []
        for entry in header.fields["files"]:
            data = _data(entry)
            spacing = [float(number) for number in data.get("PixelSpacing", None) or ()]
            place = _position(data)
            if len(spacing) == 2:
                if place is not None:
                    origin, right, down = place
                    origin = (
                        origin
                        + right * spacing[1] * (window.left + columns / 2 - 0.5)
                        + down * spacing[0] * (window.top + rows / 2 - 0.5)
                    )
                    data.ImagePositionPatient = [_number(value) for value in origin]
                data.PixelSpacing = [_number(spacing[0] * rows), _number(spacing[1] * columns)]
            entries.append({**entry, "data": _bytes(data)})
        return dataclasses.replace(
            header, shape=(*window.shape, header.shape[2]), fields={"files": entries}
        )

    def write(self, path: Path, header: Header, values: Values) -> None:
        """Write a file; of a series a folder of files, under their own names."""
        entries = header.fields["files"]
        first = entries[0]
        own_slopes = (header.slope, header.intercept) == (first["slope"], first["intercept"])
        if len(entries) > 1:
            path.mkdir(parents=True, exist_ok=True)
        count = len(values) // len(entries)
        for number, entry in enumerate(entries):
            part = header
            if own_slopes:
                slope, intercept = entry["slope"], entry["intercept"]
                part = dataclasses.replace(header, slope=slope, intercept=intercept)
            place = path / Path(entry["path"]).name if len(entries) > 1 else path
            _write(place, entry, part, stored(part, values[number * count : (number + 1) * count]))


def _pydicom() -> Any:
    try:
        import pydicom
    except ImportError as error:
        raise ImportError("DICOM needs pydicom: install ddib_jax[dicom]") from error
    return pydicom


def _opened(path: Path, *, values: bool = True) -> Any:
    pydicom = _pydicom()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of attributes that other software filled oddly
            return pydicom.dcmread(path, stop_before_pixels=not values)
    except (pydicom.errors.InvalidDicomError, EOFError, OSError, ValueError) as error:
        raise ValueError(f"it is no DICOM file, or it is cut short ({_said(error)})") from error


def _file(path: Path, data: Any, slope: float, intercept: float) -> dict[str, Any]:
    return {
        "path": str(path),
        "series": str(data.get("SeriesInstanceUID", "")),
        "slope": slope,
        "intercept": intercept,
        "data": _bytes(data),
    }


def _bytes(data: Any) -> str:
    """A data set without values, with the head of its file, in base64."""
    buffer = io.BytesIO()
    _pydicom().dcmwrite(buffer, data)
    return base64.b64encode(buffer.getvalue()).decode()


def _data(entry: dict[str, Any]) -> Any:
    return _pydicom().dcmread(io.BytesIO(base64.b64decode(entry["data"])), force=True)


def _position(data: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Where the first pixel lies in the patient, and the directions of a row and of a column."""
    origin, along = (
        data.get("ImagePositionPatient", None),
        data.get("ImageOrientationPatient", None),
    )
    if not origin or not along:
        return None
    axes = np.asarray(along, np.float64)
    return np.asarray(origin, np.float64), axes[:3], axes[3:]


def _volume(uid: str, members: list[tuple[Path, Header]]) -> tuple[Path, Header]:
    """The files of one series as one."""
    if len(members) == 1:
        return members[0]
    kinds: dict[str, Path] = {}
    for path, header in members:
        height, width, _ = header.shape
        kinds.setdefault(f"{width}x{height}, {header.kind}", path)
    if len(kinds) > 1:
        found = "; ".join(f"{path} ({kind})" for kind, path in list(kinds.items())[:3])
        raise ValueError(
            f"The slices of one series are not of one size and type: {found}; part the files into"
            " folders, or remove those that do not belong there."
        )
    keys, along = [], []
    for path, header in members:
        data = _data(header.fields["files"][0])
        place = _position(data)
        distance = 0.0
        if place is not None:
            distance = float(place[0] @ np.cross(place[1], place[2]))
            along.append(distance)
        keys.append((distance, int(data.get("InstanceNumber", 0) or 0), path.name))
    order = sorted(range(len(members)), key=keys.__getitem__)
    steps = np.diff(sorted(along))
    if len(along) == len(members) > 2 and np.ptp(steps) > _UNEVEN * max(np.median(steps), 1e-9):
        warnings.warn(
            f"The slices of the series in {members[0][0].parent} lie {steps.min():g} to"
            f" {steps.max():g} mm apart: one may be missing, or be there twice.",
            stacklevel=5,
        )
    path, header = members[order[0]]
    files = [members[place][1].fields["files"][0] for place in order]
    return path, dataclasses.replace(header, suffix="", slices=len(files), fields={"files": files})


def _write(
    path: Path, entry: dict[str, Any], header: Header, array: Shaped[np.ndarray, "s h w c"]
) -> None:
    pydicom = _pydicom()
    data = _data(entry)
    array = array if len(array) > 1 else array[0]
    array = array if array.shape[-1] == 3 else array[..., 0]
    bits = 8 * array.itemsize
    highest = max(int(array.max()), -int(array.min()) - 1)
    needed = highest.bit_length() + (array.dtype.kind == "i")
    if int(data.BitsAllocated) != bits or int(data.get("BitsStored", bits)) < needed:
        data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(array.dtype.kind == "i")
    data.Rows, data.Columns = header.shape[:2]
    if int(data.get("SamplesPerPixel", 1)) != header.shape[2]:
        data.SamplesPerPixel = header.shape[2]
        data.PhotometricInterpretation = "RGB" if header.shape[2] == 3 else "MONOCHROME2"
    if header.shape[2] == 3:
        data.PlanarConfiguration = 0
    if "RescaleSlope" in data or (header.slope, header.intercept) != (1, 0):
        if float(data.get("RescaleSlope", 1)) != header.slope:
            data.RescaleSlope = _number(header.slope)
        if float(data.get("RescaleIntercept", 0)) != header.intercept or "RescaleSlope" not in data:
            data.RescaleIntercept = _number(header.intercept)
    for name in ("SmallestImagePixelValue", "LargestImagePixelValue"):  # of other values
        if name in data:
            delattr(data, name)
    data.ImageType = ["DERIVED", *list(data.get("ImageType", ["", "SECONDARY"]) or ["", ""])[1:]]
    for name in ("SOPInstanceUID", "SeriesInstanceUID"):
        old = str(data.get(name, "")) or path.name
        setattr(data, name, pydicom.uid.generate_uid(entropy_srcs=[_MAKER, name, old]))
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.PixelData = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    if len(data.PixelData) % 2:
        data.PixelData += b"\0"
    data["PixelData"].VR = "OB" if bits == 8 else "OW"
    pydicom.dcmwrite(path, data, implicit_vr=False, little_endian=True)


def _number(value: float) -> str:
    """A number as DICOM's decimal strings hold it: at most 16 signs."""
    text = repr(float(value))
    return text if len(text) <= 16 else f"{value:.9g}"


def _said(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__

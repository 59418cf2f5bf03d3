"""NIfTI volumes, .nii and .nii.gz, through nibabel."""

import base64
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ddib_jax.data.formats.header import Header, Plain, Values, checked_dtype, in_units, stored
from ddib_jax.data.resizing import Window


class NIfTI(Plain):
    """NIfTI-1 and -2: slices along the third axis [x y z], a fourth axis as channels.

    Rows of a slice are y, columns x. The header with its affines, units and extensions is kept.
    """

    suffixes = (".nii", ".nii.gz")

    def header(self, path: Path) -> Header:
        """Type, shape, slope and intercept, and the header's own bytes."""
        image = _opened(path)
        shape = tuple(map(int, image.shape))
        if not 2 <= len(shape) <= 4 or min(shape) < 1:
            raise ValueError(f"its array is {shape}: expected [x y], [x y z] or [x y z channels]")
        width, height, slices, channels = (*shape, 1, 1)[:4]
        slope, intercept = (float(number) for number in (image.dataobj.slope, image.dataobj.inter))
        extensions = [
            [int(one.get_code()), base64.b64encode(one.content).decode()]
            for one in _extensions(image)
        ]
        fields = {
            "axes": len(shape),
            "block": base64.b64encode(image.header.binaryblock).decode(),
            "order": image.header.endianness,
            "version": 2 if int(image.header["sizeof_hdr"]) == 540 else 1,
            "extensions": extensions,
        }
        suffix = ".nii.gz" if path.name.lower().endswith(".gz") else ".nii"
        dtype = checked_dtype(image.header.get_data_dtype(), path)
        return Header(
            "nifti",
            suffix,
            dtype,
            (height, width, channels),
            slices,
            slope,
            intercept,
            fields=fields,
        )

    def read(self, path: Path, header: Header) -> Values:
        """All slices, in the units that slope and intercept give."""
        try:
            raw = np.asanyarray(_opened(path).dataobj.get_unscaled())
        except (OSError, EOFError, ValueError) as error:
            raise ValueError(f"it is cut short or damaged ({error})") from error
        height, width, channels = header.shape
        volume = raw.reshape(width, height, header.slices, channels)
        return in_units(header, volume.transpose(2, 1, 0, 3))

    def takes(self, dtype: str, channels: int) -> bool:
        """Whole numbers and floats, of any number of channels."""
        return dtype != "float16"

    def moved(self, header: Header, window: Window) -> Header:
        """The header of the window; affines and voxel sizes are as they are there."""
        found = _own(header)
        scale = window.width / window.shape[1], window.height / window.shape[0]
        # The centre of a new voxel, in old ones.
        within = np.diag([*scale, 1.0, 1.0])
        within[:2, 3] = [
            start + size / 2 - 0.5
            for start, size in zip((window.left, window.top), scale, strict=True)
        ]
        for get, put in (
            (found.get_sform, found.set_sform),
            (found.get_qform, found.set_qform),
        ):
            affine, code = get(coded=True)
            if code:
                put(affine @ within, code=int(code))
        zooms = np.asarray(found.get_zooms(), np.float64)
        zooms[:2] *= scale
        found.set_data_shape((window.shape[1], window.shape[0], *found.get_data_shape()[2:]))
        found.set_zooms(zooms)
        block = base64.b64encode(found.binaryblock).decode()
        return dataclasses.replace(
            header,
            shape=(*window.shape, header.shape[2]),
            fields={**header.fields, "block": block},
        )

    def write(self, path: Path, header: Header, values: Values) -> None:
        """Write the volume, with as many axes as it had where the channels allow."""
        nibabel = _nibabel()
        array = stored(header, values).transpose(2, 1, 0, 3)
        axes = header.fields["axes"]
        if array.shape[3] == 1 and axes < 4:
            array = array[..., 0]
            array = array[..., 0] if axes == 2 and array.shape[2] == 1 else array
        own = _own(header)
        zooms = [*own.get_zooms(), 1.0, 1.0][: array.ndim]
        own.set_data_dtype(array.dtype)
        own.set_data_shape(array.shape)
        own.set_zooms(zooms)
        plain = header.slope == 1 and header.intercept == 0
        own.set_slope_inter(1.0 if plain else header.slope, header.intercept)
        kind = nibabel.Nifti2Image if header.fields["version"] == 2 else nibabel.Nifti1Image
        image = kind(array, None, own)
        # With the slope set, nibabel stores the numbers as they are.
        image.header.set_slope_inter(1.0 if plain else header.slope, header.intercept)
        nibabel.save(image, path)


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise ImportError("NIfTI needs nibabel: install ddib_jax[nifti]") from error
    return nibabel


def _opened(path: Path) -> Any:
    nibabel = _nibabel()
    try:
        return nibabel.load(path)
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, ValueError) as error:
        raise ValueError(f"it is no NIfTI file, or it is cut short ({error})") from error


def _extensions(image: Any) -> list[Any]:
    return list(image.header.extensions)


def _own(header: Header) -> Any:
    """The header as nibabel has it."""
    nibabel = _nibabel()
    version = header.fields["version"]
    kind = nibabel.Nifti2Header if version == 2 else nibabel.Nifti1Header
    own = kind(base64.b64decode(header.fields["block"]), endianness=header.fields["order"])
    extension = nibabel.nifti1.Nifti1Extension
    for code, content in header.fields["extensions"]:
        own.extensions.append(extension(code, base64.b64decode(content)))
    return own

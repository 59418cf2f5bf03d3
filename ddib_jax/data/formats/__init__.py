"""Files of pictures and volumes as they are: values in their own units, type and header kept."""

from ddib_jax.data.formats.dicom import DICOM
from ddib_jax.data.formats.header import Box, FileFormat, Header, Parts, Values, rescaled, stored
from ddib_jax.data.formats.nifti import NIfTI
from ddib_jax.data.formats.numpy_files import NPY, NPZ
from ddib_jax.data.formats.pictures import Picture
from ddib_jax.data.formats.png import PNG
from ddib_jax.data.formats.registry import (
    FORMATS,
    PictureFile,
    Slice,
    can_be_parted,
    find_files,
    format_named,
    is_file,
    read_file,
    read_part,
    slices_of,
    stem,
    write_file,
)
from ddib_jax.data.formats.tiff import TIFF

__all__ = [
    "DICOM",
    "FORMATS",
    "NPY",
    "NPZ",
    "PNG",
    "TIFF",
    "Box",
    "FileFormat",
    "Header",
    "NIfTI",
    "Parts",
    "Picture",
    "PictureFile",
    "Slice",
    "Values",
    "can_be_parted",
    "find_files",
    "format_named",
    "is_file",
    "read_file",
    "read_part",
    "rescaled",
    "slices_of",
    "stem",
    "stored",
    "write_file",
]

"""Files of pictures and volumes as they are: values in their own units, type and header kept."""

from ddib_jax.data.formats.dicom import DICOM
from ddib_jax.data.formats.header import FileFormat, Header, Values, rescaled, stored
from ddib_jax.data.formats.nifti import NIfTI
from ddib_jax.data.formats.numpy_files import NPY, NPZ
from ddib_jax.data.formats.pictures import Picture
from ddib_jax.data.formats.png import PNG
from ddib_jax.data.formats.registry import (
    FORMATS,
    PictureFile,
    Slice,
    find_files,
    format_named,
    is_file,
    read_file,
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
    "FileFormat",
    "Header",
    "NIfTI",
    "Picture",
    "PictureFile",
    "Slice",
    "Values",
    "find_files",
    "format_named",
    "is_file",
    "read_file",
    "rescaled",
    "slices_of",
    "stem",
    "stored",
    "write_file",
]

"""Twelve kinds of file through encoding and decoding, their values and headers held beside.

    python experiments/formats.py

Makes small files of each kind, encodes and decodes them with an exact model of Gaussian pictures,
writes files of the same kind, and prints a table: how many counts of the file's type the results
are off with an explicit solver, how many values are lost on a lattice, and which fields of the
headers differ. DICOM's fields that must differ are counted apart.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import tifffile
from PIL import Image, PngImagePlugin

from ddib_jax import translation
from ddib_jax.analytic import mixture_model
from ddib_jax.bridge import Bridge
from ddib_jax.data.formats import FORMATS, Header, find_files, read_file
from ddib_jax.data.inputs import open_inputs
from ddib_jax.data.results import Results
from ddib_jax.data.scale import Scale
from ddib_jax.options import cli
from ddib_jax.solvers import get_solver

HEIGHT, WIDTH = 24, 32
GEOGRAPHY = [
    (33550, "d", 3, (10.0, 10.0, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 600000.0, 5000000.0, 0.0), True),
    (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32631), True),
    (42113, "s", 0, "65535", True),
]
"""Tags of a GeoTIFF: pixels of 10 m, a corner, UTM zone 31 north, and 65535 for no data."""


@dataclass(frozen=True)
class Config:
    """Encode, decode, compare."""

    seed: int = 0
    """Seed of the values."""
    solver: str = "rk4"
    """The explicit solver."""
    steps: int = 40
    """Steps of the grid."""


def smooth(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Smooth random pictures [... h w], from 0 to 1."""
    values = rng.normal(size=(*shape, HEIGHT, WIDTH))
    for axis in (-2, -1):
        for _ in range(3):
            values = (np.roll(values, 1, axis) + values + np.roll(values, -1, axis)) / 3
    values -= values.min()
    return values / values.max()


def counts(rng: np.random.Generator, dtype: str, *shape: int) -> np.ndarray:
    """Smooth whole numbers [... h w] over most of the range of a type."""
    limits = np.iinfo(dtype)
    room = 0.9 * (float(limits.max) - float(limits.min))
    return np.rint(limits.min + 0.05 * room + room * smooth(rng, *shape)).astype(dtype)


def grey_png(folder: Path, rng: np.random.Generator) -> Path:
    """A PNG of 8 bits with a text and a resolution."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "a field of view")
    Image.fromarray(counts(rng, "uint8")).save(folder / "a.png", pnginfo=text, dpi=(300, 300))
    return folder / "a.png"


def colour_png(folder: Path, rng: np.random.Generator) -> Path:
    """An RGB PNG of 8 bits."""
    Image.fromarray(np.moveaxis(counts(rng, "uint8", 3), 0, -1).copy()).save(folder / "a.png")
    return folder / "a.png"


def wide_png(folder: Path, rng: np.random.Generator) -> Path:
    """An RGB PNG of 16 bits, which Pillow does not write."""
    header = Header("png", ".png", "uint16", (HEIGHT, WIDTH, 3))
    values = np.moveaxis(counts(rng, "uint16", 3), 0, -1)[None].astype(np.float32)
    FORMATS["png"].write(folder / "a.png", header, values)
    return folder / "a.png"


def packed_tiff(folder: Path, rng: np.random.Generator) -> Path:
    """A grey TIFF of 16 bits, packed, with a description and a resolution."""
    tifffile.imwrite(
        folder / "a.tif",
        counts(rng, "uint16"),
        compression="zlib",
        predictor=True,
        resolution=((2540, 1), (2540, 1)),
        resolutionunit="CENTIMETER",
        description="lamp 3",
        metadata=None,
    )
    return folder / "a.tif"


def planar_tiff(folder: Path, rng: np.random.Generator) -> Path:
    """A TIFF of five planes of floats."""
    values = 100 * smooth(rng, 5).astype(np.float32)
    tifffile.imwrite(
        folder / "a.tif", values, photometric="minisblack", planarconfig="separate", tile=(16, 16)
    )
    return folder / "a.tif"


def stack_tiff(folder: Path, rng: np.random.Generator) -> Path:
    """An ImageJ hyperstack: four slices of two channels of 16 bits."""
    tifffile.imwrite(
        folder / "a.tif", counts(rng, "uint16", 4, 2), imagej=True, metadata={"axes": "ZCYX"}
    )
    return folder / "a.tif"


def ome_tiff(folder: Path, rng: np.random.Generator) -> Path:
    """An OME-TIFF of three slices of 8 bits."""
    tifffile.imwrite(
        folder / "a.ome.tif", counts(rng, "uint8", 3), ome=True, metadata={"axes": "ZYX"}
    )
    return folder / "a.ome.tif"


def geo_tiff(folder: Path, rng: np.random.Generator) -> Path:
    """A GeoTIFF of 13 bands of 16 bits, as Sentinel-2 has them."""
    tifffile.imwrite(
        folder / "a.tif",
        counts(rng, "uint16", 13) // 2,
        photometric="minisblack",
        planarconfig="separate",
        compression="zlib",
        extratags=GEOGRAPHY,
        metadata=None,
    )
    return folder / "a.tif"


def float_npy(folder: Path, rng: np.random.Generator) -> Path:
    """A NumPy array of doubles."""
    np.save(folder / "a.npy", smooth(rng) * 3 - 1)
    return folder / "a.npy"


def volume_npz(folder: Path, rng: np.random.Generator) -> Path:
    """A volume of six slices of signed 16 bits in a NumPy file."""
    np.savez(folder / "a.npz", volume=counts(rng, "int16", 6))
    return folder / "a.npz"


def nifti(folder: Path, rng: np.random.Generator) -> Path:
    """A NIfTI volume with slope and intercept, affine and units."""
    import nibabel

    affine = np.diag([0.9, 0.9, 3.0, 1.0])
    affine[:3, 3] = -12, 7, 30
    image = nibabel.Nifti1Image(counts(rng, "int16", 5).transpose(2, 1, 0), affine)
    image.header.set_slope_inter(0.1, -100)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"a phantom"
    nibabel.save(image, folder / "a.nii.gz")
    return folder / "a.nii.gz"


def dicom(folder: Path, rng: np.random.Generator) -> Path:
    """A series of four DICOM slices of 12 bits, in Hounsfield units."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    series, volume = generate_uid(), counts(rng, "uint16", 4) >> 4
    (folder / "series").mkdir()
    for number, pixels in enumerate(volume):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / "series" / f"slice-{3 - number}.dcm"
        data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        data.SeriesInstanceUID, data.Modality, data.PatientName = series, "CT", "Phantom"
        data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.InstanceNumber, data.PixelSpacing = number + 1, [0.7, 0.7]
        data.ImagePositionPatient = [-100, -100, 2.5 * number]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.RescaleSlope, data.RescaleIntercept, data.RescaleType = 1, -1024, "HU"
        data.Rows, data.Columns, data.SamplesPerPixel = HEIGHT, WIDTH, 1
        data.PhotometricInterpretation = "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.PixelData = pixels.tobytes()
        data.save_as(path, enforce_file_format=True)
    return folder / "series"


KINDS: dict[str, tuple[Callable[[Path, np.random.Generator], Path], tuple[float, float]]] = {
    "PNG, 8 bits, grey": (grey_png, (0, 255)),
    "PNG, 8 bits, RGB": (colour_png, (0, 255)),
    "PNG, 16 bits, RGB": (wide_png, (0, 65535)),
    "TIFF, 16 bits, deflate": (packed_tiff, (0, 65535)),
    "TIFF, float32, 5 planes": (planar_tiff, (0, 100)),
    "TIFF of ImageJ, 4 slices of 2": (stack_tiff, (0, 65535)),
    "OME-TIFF, 3 slices": (ome_tiff, (0, 255)),
    "GeoTIFF, 13 bands": (geo_tiff, (0, 40000)),
    "NPY, float64": (float_npy, (-1, 2)),
    "NPZ, volume of int16": (volume_npz, (-32768, 32767)),
    "NIfTI, int16 with slope": (nifti, (-3300, 3100)),
    "DICOM series, 12 bits": (dicom, (-1024, 3071)),
}
"""Kind -> what makes a file of it in a folder, and its range in its own units."""


def differences(one: Header, other: Header) -> list[str]:
    """The fields of two headers that differ, but for the places of the files."""
    parts = [
        name
        for name in ("format", "suffix", "dtype", "shape", "slices", "slope", "intercept", "nodata")
        if getattr(one, name) != getattr(other, name)
    ]
    if one.format == "dicom":
        return parts + dicom_differences(one, other)
    names = one.fields.keys() | other.fields.keys()
    return parts + sorted(n for n in names if one.fields.get(n) != other.fields.get(n))


def dicom_differences(one: Header, other: Header) -> list[str]:
    """The attributes of two series that differ, each once."""
    import base64
    import io

    import pydicom

    found = set()
    for mine, yours in zip(one.fields["files"], other.fields["files"], strict=True):
        a, b = (
            pydicom.dcmread(io.BytesIO(base64.b64decode(entry["data"])), force=True)
            for entry in (mine, yours)
        )
        for tag in a.keys() | b.keys():
            if a.get(tag) != b.get(tag):
                found.add((a if tag in a else b)[tag].keyword)
    return sorted(found)


def there_and_back(
    path: Path, ends: tuple[float, float], out: Path, bridge: Callable[[tuple], Bridge]
) -> tuple[float, int, list[str]]:
    """The largest difference in counts, how many values differ, and the headers' differences.

    A count is a step of the stored type; of floats a 65,535th of the range.
    """
    [file], _ = find_files(sorted(path.iterdir()) if path.is_dir() else [path])
    header = file.header
    channels = header.shape[2]
    scale = Scale(header.dtype, (float(ends[0]),) * channels, (float(ends[1]),) * channels)
    images = open_inputs([str(path)], header.shape, split="test", limit=None, scale=scale)
    way = bridge(header.shape)
    solution = translation.encode(way, images.take(0, len(images)))
    decoded = translation.decode(way, solution.y, aux=solution.aux)
    results = Results(out, images.names, {}, files=images.outputs(scale, channels), scale=scale)
    results.write(0, decoded)
    results.close()
    written = sorted(name for name in out.rglob("*") if name.is_file())
    [again], _ = find_files(written)
    before, after = (read_file(each).astype(np.float64) for each in (file, again))
    whole = np.dtype(header.dtype).kind in "iu"
    count = header.slope if whole else (ends[1] - ends[0]) / 65535
    off = np.abs(after - before) / count
    lost = int((off > 1e-3).sum()) if whole else int((off > 0.5).sum())
    return float(off.max()), lost, differences(header, again.header)


def bridge_of(shape: tuple[int, ...], solver: str, steps: int) -> Bridge:
    """A bridge of an exact model: pictures N(m, .5^2) about a ramp."""
    ramp = jnp.linspace(-0.3, 0.3, shape[1])[None, :, None] * jnp.ones(shape)
    model = mixture_model(ramp[None], jnp.asarray([0.25]))
    return Bridge.over(model, steps=steps, solver=get_solver(solver))


def main(config: Config) -> None:
    """Print a row for each kind."""
    print(f"| kind of file | counts off, {config.solver} | values lost, lattice | headers |")
    print("| --- | --- | --- | --- |")
    for kind, (make, ends) in KINDS.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            path = make(folder, np.random.default_rng(config.seed))
            rows = [
                there_and_back(
                    path,
                    ends,
                    folder / f"out-{solver}",
                    lambda shape, solver=solver: bridge_of(shape, solver, config.steps),
                )
                for solver in (config.solver, "lattice-heun")
            ]
        (off, _, _), (_, lost, differing) = rows
        print(f"| {kind} | {off:.2g} | {lost} | {', '.join(differing) or 'equal'} |")


if __name__ == "__main__":
    main(cli(Config))

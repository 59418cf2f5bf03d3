"""How a bridge is crossed (the options of the ODE's solution), and reading of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from ddib_jax.bridge import GRID, SOLVER, STEPS, Bridge
from ddib_jax.commands.arguments import GridName, SolverName
from ddib_jax.commands.batching import measured_batch
from ddib_jax.data import DATASETS, image_folder, load_dataset, read_images
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.distributed import Shard
from ddib_jax.nets.precision import Precision
from ddib_jax.solvers import SOLVERS, LatticeHeun, get_solver

_WHOLE, _BATCH = Shard(), 64
_LUMINANCE = np.asarray([[0.299], [0.587], [0.114]], np.float32)
"""Weights of red, green and blue in a grey pixel (ITU-R BT.601)."""


@dataclass(frozen=True)
class Crossing:
    """How the probability-flow ODE is solved."""

    steps: int = STEPS
    """Steps of the grid, each way."""
    solver: SolverName = SOLVER
    """Solver: dpmpp-2m, dpmpp-3m, rk4, ddim, implicit-midpoint, lattice-heun ...; an unknown name
    gives the list. The default's translations of test fives are .0018 (relative RMSE) from an
    adaptive reference.
    """
    grid: GridName = GRID
    """Noise levels: log-uniform, karras, log-normal, or uniform in the model's time."""
    precision: Precision | None = None
    """How the network computes: float32 (exact products), tf32 (products of a GPU's tensor cores)
    or bfloat16 (activations too); unless given, as the model says and the device prefers, which for
    products is bfloat16 on a TPU and tf32 on a GPU.
    """
    batch_size: int | Literal["auto"] = _BATCH
    """Images at once, over all devices; auto measures how many are worth it and fit in memory."""

    def bridge(self, model: DiffusionModel) -> Bridge:
        """The bridge of `model` under these options; raises ValueError for a model of points."""
        check_images(model)
        model = model.at_precision(self.precision)
        return Bridge.over(model, steps=self.steps, grid=self.grid, solver=get_solver(self.solver))

    @property
    def needs_equal_bits(self) -> bool:
        """Whether the solver needs the same answer to the same input, in another process too."""
        return isinstance(SOLVERS.get(self.solver), LatticeHeun)

    def batch(self, bridge: Bridge | None, count: int) -> int:
        """How many of `count` images to take at once, over all devices.

        Without a bridge to measure with, "auto" is the default.
        """
        if self.batch_size != "auto":
            return self.batch_size
        return measured_batch(bridge, count) if bridge else _BATCH


Flat = Annotated[Crossing, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="ODE")]
"""A `Crossing` as a group of options on the command line."""


def check_images(model: DiffusionModel) -> None:
    """Raise ValueError for a model of points."""
    if len(model.image_shape) != 3:
        raise ValueError(
            "This model knows points, not images; `ddib colours` and experiments/synthetic_2d.py"
            " translate points."
        )


def read_inputs(
    inputs: Sequence[str],
    shape: tuple[int, ...],
    *,
    split: str,
    limit: int | None,
    background: str = "white",
    shard: Shard = _WHOLE,
) -> tuple[list[str], np.ndarray]:
    """Names and images [n h w c] of image files, folders and data sets, fitted to a model's shape.

    Pictures of files are cropped to their central square and resized, transparency is laid over
    `background`; for a model of one channel they are made grey. Of the first `limit` images, this
    host's `shard` is read. Raises FileNotFoundError for a path that is not there, ValueError for
    what cannot be read or does not fit.
    """
    if not inputs or (limit is not None and limit < 1):
        raise ValueError(
            "There is nothing to read: name image files, folders or a data set, and a limit of at"
            " least 1."
        )
    names, parts = [], []
    for name in inputs:
        part_names, part = _read(name, shape, split, background)
        names += part_names
        parts.append(part)
    names, images = names[:limit], np.concatenate(parts)[:limit]
    if len(set(names)) < len(names):
        names = [f"{name}-{index:05d}" for index, name in enumerate(names)]
    if len(names) < shard.count:
        raise ValueError(
            f"There are {len(names)} images for {shard.count} processes; start no more processes"
            " than there are images."
        )
    own = slice(shard.index, None, shard.count)
    return names[own], images[own]


def _read(
    name: str, shape: tuple[int, ...], split: str, background: str
) -> tuple[list[str], np.ndarray]:
    """Names and images [n h w c] of one word of the command line."""
    kind, _, argument = name.partition(":")
    if kind in (*DATASETS, "tfds"):
        return _read_dataset(name, kind, argument, shape, split)
    return _read_files(name, shape, background)


def _read_dataset(
    name: str, kind: str, argument: str, shape: tuple[int, ...], split: str
) -> tuple[list[str], np.ndarray]:
    source = load_dataset(name, split=split, image_size=shape[0] if kind == "tfds" else None)
    # Like grey pictures of files, grey data sets are given three equal channels.
    grey_to_colour = source.image_shape == (*shape[:2], 1) and shape[2] == 3
    if source.image_shape != shape and not grey_to_colour:
        found, expected = (" x ".join(map(str, s)) for s in (source.image_shape, shape))
        raise ValueError(
            f"The data set '{name}' has images of {found}; the model takes {expected}."
        )
    if kind == "npz":
        stem = f"{kind}-{Path(argument).stem}"
    else:
        stem = name.replace(":", "-").replace("/", "-")
    images = source.take(range(len(source)))
    names = [f"{stem}-{i:05d}" for i in range(len(source))]
    return names, np.repeat(images, 3 if grey_to_colour else 1, axis=-1)


def _read_files(name: str, shape: tuple[int, ...], background: str) -> tuple[list[str], np.ndarray]:
    height, width, channels = shape
    if height != width:
        raise ValueError(
            f"The model's images are {height} x {width}; only square ones can be read from files."
        )
    path = Path(name)
    if not path.exists():
        raise FileNotFoundError(
            f"There is no '{name}': no such file, folder or data set ({', '.join(DATASETS)})."
        )
    if path.is_dir():
        source = image_folder(path, image_size=height, background=background)
        paths, images = source.items, source.take(range(len(source)))
    else:
        paths, images = [path], read_images([path], image_size=height, background=background)
    return [path.stem for path in paths], images if channels == 3 else images @ _LUMINANCE

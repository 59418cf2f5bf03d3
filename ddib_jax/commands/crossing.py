"""What the commands that cross a bridge share: how the ODE is solved, and how pictures are read."""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Float
from rich.progress import track

from ddib_jax.bridge import GRID, SOLVER, STEPS, Bridge
from ddib_jax.commands.batching import measured_batch
from ddib_jax.data import DATASETS, image_folder, load_dataset, read_images
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.distributed import Shard
from ddib_jax.files import drafted
from ddib_jax.solvers import Carry, get_solver


@dataclass(frozen=True)
class Crossing:
    """How the probability-flow ODE is solved."""

    steps: int = STEPS
    """Steps of the grid, each way."""
    solver: str = SOLVER
    """dpmpp-2m, dpmpp-3m, rk4, ddim, implicit-midpoint, rex-midpoint ...; an unknown name gives
    the list.
    """
    grid: str = GRID
    """Noise levels: log-uniform, karras, log-normal, or uniform in the model's time."""
    batch_size: int | Literal["auto"] = 64
    """Images at once, over all devices; auto measures how many are worth it and fit in memory."""

    def bridge(self, model: DiffusionModel) -> Bridge:
        """The bridge of `model` under these options; raises ValueError for a model that knows
        points.
        """
        check_images(model)
        return Bridge.over(model, steps=self.steps, grid=self.grid, solver=get_solver(self.solver))

    def batch(self, bridge: Bridge, count: int) -> int:
        """The number of images to take at once, of so many."""
        return measured_batch(bridge, count) if self.batch_size == "auto" else self.batch_size


Inputs = Annotated[list[str], tyro.conf.Positional, tyro.conf.arg(metavar="INPUT [INPUT ...]")]
Flat = Annotated[Crossing, tyro.conf.OmitArgPrefixes]


def check_images(model: DiffusionModel) -> None:
    """Raise ValueError for a model of points."""
    if len(model.data_shape) != 3:
        raise ValueError(
            "This model knows points, not images; `ddib colours` and experiments/synthetic_2d.py"
            " translate points."
        )


def progress(label: str) -> Callable:
    """A wrapper of batches that draws a progress bar on a terminal, and says one line elsewhere."""

    def wrapped(batches: Sequence) -> Iterable:
        if sys.stdout.isatty():
            return track(batches, description=label, transient=True)
        print(f"{label}: {len(batches)} batches", flush=True)
        return batches

    return wrapped


def read_inputs(
    inputs: Sequence[str],
    shape: tuple[int, ...],
    *,
    split: str,
    limit: int | None,
    background: str = "white",
    shard: Shard = Shard(),
) -> tuple[list[str], np.ndarray]:
    """Names and images [n h w c] of image files, folders and data sets, fitted to a model's
    `shape`; of several hosts, every one's own.

    Pictures of files are cropped to their central square and resized, transparency is laid over
    `background`; for a model of one channel they are made grey. Raises FileNotFoundError for a path
    that is not there, ValueError for what cannot be read or does not fit.
    """
    if not inputs or (limit is not None and limit < 1):
        raise ValueError(
            "There is nothing to read: name image files, folders or a data set, and a limit of at"
            " least 1."
        )
    names, parts = [], []
    for given in inputs:
        found, images = _read(given, shape, split, background)
        names += found
        parts.append(images)
    names, images = names[:limit], np.concatenate(parts)[:limit]
    if len(set(names)) < len(names):
        names = [f"{name}-{place:05d}" for place, name in enumerate(names)]
    if len(names) < shard.count:
        raise ValueError(
            f"There are {len(names)} images for {shard.count} processes; start no more processes"
            " than there are images."
        )
    mine = slice(shard.index, None, shard.count)
    return names[mine], images[mine]


class LatentFile(NamedTuple):
    """What `ddib encode` wrote: names, latents [n h w c], the fingerprint of their model, and what
    its solver carried, if anything.
    """

    names: list[str]
    latents: Float[np.ndarray, "n h w c"]
    model: str
    carry: Carry | None


def write_latents(path: Path, encoded: LatentFile, solver: str) -> None:
    """Write latents, and the second states, grid and solver of their carry where they have one, as
    .npz; ValueError for another ending.
    """
    if path.suffix != ".npz":
        raise ValueError(f"Latents are written as .npz; '{path}' is named otherwise.")
    names, latents, model, carry = encoded
    kept = (
        {}
        if carry is None
        else {"second": carry.second, "sigmas": np.asarray(carry.sigmas), "solver": solver}
    )
    with drafted(path.absolute().parent) as draft:
        np.savez(draft / path.name, latents=latents, names=np.asarray(names), model=model, **kept)


def read_latents(path: Path) -> LatentFile:
    """What `ddib encode` wrote.

    Raises FileNotFoundError where there is none, ValueError where it cannot be read or holds
    something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with np.load(path, allow_pickle=False) as stored:
            carry = None
            if "second" in stored:
                carry = Carry(
                    stored["second"],
                    jnp.asarray(stored["sigmas"]),
                    get_solver(str(stored["solver"])),
                    rising=True,
                )
            names = [str(name) for name in stored["names"]]
            return LatentFile(
                names, np.asarray(stored["latents"], np.float32), str(stored["model"]), carry
            )
    except (KeyError, ValueError, OSError, EOFError) as error:
        raise ValueError(
            f"{path} is not a file of latents as `ddib encode` writes them, or it is cut short."
        ) from error


def _read(
    given: str, shape: tuple[int, ...], split: str, background: str
) -> tuple[list[str], np.ndarray]:
    height, width, channels = shape
    if (kind := given.partition(":")[0]) in (*DATASETS, "tfds"):
        source = load_dataset(given, split=split, image_size=height if kind == "tfds" else None)
        grey = (
            source.image_shape == (*shape[:2], 1) and shape[2] == 3
        )  # as pictures of files are, given three equal channels
        if source.image_shape != shape and not grey:
            found, wanted = (" x ".join(map(str, s)) for s in (source.image_shape, shape))
            raise ValueError(
                f"The data set '{given}' has images of {found}; the model takes {wanted}."
            )
        argument = given.partition(":")[2]
        stem = (
            f"{kind}-{Path(argument).stem}"
            if kind == "npz"
            else given.replace(":", "-").replace("/", "-")
        )
        return [f"{stem}-{i:05d}" for i in range(len(source))], np.repeat(
            source.take(range(len(source))), 3 if grey else 1, axis=-1
        )
    if height != width:
        raise ValueError(
            f"The model's images are {height} x {width}; only square ones can be read from files."
        )
    path = Path(given)
    if not path.exists():
        raise FileNotFoundError(
            f"There is no '{given}': no such file, folder or data set ({', '.join(DATASETS)})."
        )
    source = image_folder(path, image_size=height, background=background) if path.is_dir() else None
    paths, images = (
        (source.items, source.take(range(len(source))))
        if source
        else ([path], read_images([path], image_size=height, background=background))
    )
    grey = images @ np.asarray([[0.299], [0.587], [0.114]], np.float32)
    return [path.stem for path in paths], images if channels == 3 else grey

"""The file of latents that `ddib encode` writes, and `ddib decode` and `ddib sweep` read."""

from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float

from ddib_jax.bridge import Auxiliary
from ddib_jax.files import drafted_file
from ddib_jax.pretrained.shapes import first_line
from ddib_jax.solvers import get_solver


class LatentFile(NamedTuple):
    """Names and latents [n h w c], the mark of their model, an auxiliary state or none.

    The mark is `Condition.mark`: the model's fingerprint and its condition.
    """

    names: list[str]
    latents: Float[np.ndarray, "n h w c"]
    model: str
    aux: Auxiliary | None


def write_latents(path: Path, encoded: LatentFile, solver: str) -> None:
    """Write latents as .npz, with the value, grid and solver of their auxiliary state, if any.

    solver: its name.
    """
    names, latents, model, aux = encoded
    more = {}
    if aux is not None:
        more = {"aux": aux.value, "sigmas": np.asarray(aux.sigmas), "solver": solver}
    # By a file that is open, for to a path with .NPZ it would add a suffix.
    with drafted_file(path) as draft, draft.open("wb") as file:
        np.savez(file, latents=latents, names=np.asarray(names), model=model, **more)


def read_latents(path: Path) -> LatentFile:
    """What `ddib encode` wrote.

    Raises FileNotFoundError where there is no file, ValueError where it cannot be read or is no
    file of latents.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            aux = None
            if "aux" in arrays:
                solver = get_solver(str(arrays["solver"]))
                aux = Auxiliary(arrays["aux"], arrays["sigmas"], solver, rising=True)
            names = [str(name) for name in arrays["names"]]
            latents = np.asarray(arrays["latents"], np.float32)
            if len(names) != len(latents):
                raise ValueError("names and latents differ in number")
            return LatentFile(names, latents, str(arrays["model"]), aux)
    except (KeyError, ValueError, OSError, EOFError, TypeError, BadZipFile) as error:
        raise ValueError(
            f"{path} is not a file of latents as `ddib encode` writes them, or it is cut short"
            f" ({first_line(error)})."
        ) from error

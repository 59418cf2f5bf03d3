"""The file of latents that `ddib encode` writes, and `ddib decode` and `ddib sweep` read."""

from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ddib_jax.files import drafted
from ddib_jax.solvers import Carry, get_solver


class LatentFile(NamedTuple):
    """Names and latents [n h w c], the mark of their model, and the carry of its solver, if any.

    The mark is `Condition.mark`: the model's fingerprint and its condition.
    """

    names: list[str]
    latents: Float[np.ndarray, "n h w c"]
    model: str
    carry: Carry | None


def write_latents(path: Path, encoded: LatentFile, solver: str) -> None:
    """Write latents as .npz, with the second states, grid and solver of their carry, if any.

    solver: its name. Raises ValueError for a path with another ending.
    """
    if path.suffix != ".npz":
        raise ValueError(f"Latents are written as .npz; '{path}' is named otherwise.")
    names, latents, model, carry = encoded
    carried = {}
    if carry is not None:
        sigmas = np.asarray(carry.sigmas)
        carried = {"second": carry.second, "sigmas": sigmas, "solver": solver}
    with drafted(path.absolute().parent) as draft:
        names = np.asarray(names)
        np.savez(draft / path.name, latents=latents, names=names, model=model, **carried)


def read_latents(path: Path) -> LatentFile:
    """What `ddib encode` wrote.

    Raises FileNotFoundError where there is no file, ValueError where it cannot be read or is no
    file of latents.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            carry = None
            if "second" in arrays:
                sigmas, solver = jnp.asarray(arrays["sigmas"]), get_solver(str(arrays["solver"]))
                carry = Carry(arrays["second"], sigmas, solver, rising=True)
            names = [str(name) for name in arrays["names"]]
            latents = np.asarray(arrays["latents"], np.float32)
            return LatentFile(names, latents, str(arrays["model"]), carry)
    except (KeyError, ValueError, OSError, EOFError) as error:
        raise ValueError(
            f"{path} is not a file of latents as `ddib encode` writes them, or it is cut short."
        ) from error

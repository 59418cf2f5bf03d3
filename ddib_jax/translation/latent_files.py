"""Files of latents (`ddib encode`; read by `decode` and `sweep`) and of pairs (`translate`)."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from zipfile import BadZipFile, is_zipfile

import numpy as np
from jaxtyping import Float, Int

from ddib_jax.bridge import Auxiliary
from ddib_jax.files import drafted_file
from ddib_jax.nets.precision import as_precision
from ddib_jax.pretrained.shapes import first_line
from ddib_jax.solvers import LatticeHeun, get_solver

_UNREADABLE = (KeyError, ValueError, OSError, EOFError, TypeError, BadZipFile)


class LatentFile(NamedTuple):
    """Names and latents [n h w c], the mark of their model, an auxiliary state or none.

    The mark is `Condition.mark`: the model's fingerprint and its condition. more: arrays of other
    names that are kept beside them, "pixels/..." and "fit/..." (`InputImages.to_arrays`).
    """

    names: list[str]
    latents: Float[np.ndarray, "n h w c"]
    model: str
    aux: Auxiliary | None
    more: Mapping[str, Any] = MappingProxyType({})


class PairFile(NamedTuple):
    """Names of images, and their pairs on a lattice at the data's end of a model.

    model: its mark. origin: the mark of the model that the images themselves are of. more: as of a
    `LatentFile`.
    """

    names: list[str]
    model: str
    origin: str
    aux: Auxiliary
    more: Mapping[str, Any] = MappingProxyType({})


def write_latents(path: Path, encoded: LatentFile, solver: str) -> None:
    """Write latents as .npz, with their auxiliary state and what it belongs to, if any.

    solver: its name.
    """
    names, latents, model, aux, kept = encoded
    more = dict(kept) | ({} if aux is None else _arrays(aux, solver))
    with drafted_file(path) as draft:
        _save(draft, latents=latents, names=names, model=model, **more)


def read_latents(path: Path) -> LatentFile:
    """What `ddib encode` wrote.

    Raises FileNotFoundError where there is no file, ValueError where it cannot be read or is no
    file of latents, or the auxiliary state of a lattice is not of integers.
    """
    _check_arrays(path, "latents as `ddib encode` writes them")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            aux = _auxiliary(arrays) if "aux" in arrays else None
            names = [str(name) for name in arrays["names"]]
            latents = np.asarray(arrays["latents"], np.float32)
            if len(names) != len(latents):
                raise ValueError("names and latents differ in number")
            if not names:
                raise ValueError("it holds no latent")
            states = len(latents) if aux is None else len(np.asarray(aux.value))
            if states != len(latents):
                raise ValueError(f"the auxiliary state is that of {states} other latents")
            encoded = LatentFile(names, latents, str(arrays["model"]), aux, _kept(arrays))
    except _UNREADABLE as error:
        raise ValueError(
            f"{path} is not a file of latents as `ddib encode` writes them, or it is cut short"
            f" ({first_line(error)})."
        ) from error
    _check_integers(path, encoded.aux)
    return encoded


def write_pairs(path: Path, pairs: PairFile, solver: str) -> None:
    """Write pairs as .npz; solver: its name."""
    names, model, origin, aux, kept = pairs
    more = dict(kept) | _arrays(aux, solver)
    _save(path, names=names, model=model, origin=origin, **more)


def read_pairs(path: Path) -> PairFile:
    """What `ddib translate --aux` wrote; raises as `read_latents` does."""
    _check_arrays(path, "pairs as `ddib translate --aux` writes them")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = [str(name) for name in arrays["names"]]
            model, origin = str(arrays["model"]), str(arrays["origin"])
            pairs = PairFile(names, model, origin, _auxiliary(arrays), _kept(arrays))
    except _UNREADABLE as error:
        raise ValueError(
            f"{path} is not a file of pairs as `ddib translate --aux` writes them, or it is cut"
            " short."
        ) from error
    _check_integers(path, pairs.aux)
    return pairs


def closing(solver: LatticeHeun, pairs: Int[np.ndarray, "n ..."]) -> str:
    """In words, how many of the images whose ways were undone have come back to the bit."""
    count = int(np.asarray(solver.is_start(pairs)).sum())
    words = f"{count} of {len(pairs)} images came back to the bit"
    if count == len(pairs):
        return f"{words}."
    return (
        f"{words}. The network answered otherwise than on the way there, as it may on another kind"
        " of device or under another version of JAX; the others are off by rounding that grew."
    )


def _arrays(aux: Auxiliary, solver: str) -> dict[str, Any]:
    more = {"aux": aux.value, "sigmas": np.asarray(aux.sigmas), "solver": solver}
    if isinstance(aux.solver, LatticeHeun):
        more |= {"bits": aux.solver.bits, "batch": aux.batch}
    if aux.precision is not None:
        more["precision"] = aux.precision
    return more


def _auxiliary(arrays: Any) -> Auxiliary:
    """The auxiliary state of a file, at the end of a way up or, of a lattice, either way."""
    solver, batch = get_solver(str(arrays["solver"])), None
    if isinstance(solver, LatticeHeun):
        solver, batch = replace(solver, bits=int(arrays["bits"])), int(arrays["batch"])
    precision = str(arrays["precision"]) if "precision" in arrays else None
    return Auxiliary(
        arrays["aux"],
        arrays["sigmas"],
        solver,
        rising=True,
        precision=as_precision(precision),
        batch=batch,
    )


def _kept(arrays: Any) -> dict[str, np.ndarray]:
    return {name: arrays[name] for name in arrays if name.startswith(("pixels/", "fit/"))}


def _check_arrays(path: Path, what: str) -> None:
    """Raise FileNotFoundError or ValueError where a path is no .npz file; what: should be in it."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    if not is_zipfile(path):
        raise ValueError(f"{path} is not a file of {what}: it is no .npz file, or it is cut short.")


def _check_integers(path: Path, aux: Auxiliary | None) -> None:
    if aux is None or not isinstance(aux.solver, LatticeHeun):
        return
    kind = np.asarray(aux.value).dtype
    if kind not in (np.int32, np.int64):
        raise ValueError(
            f"The auxiliary state in {path} is of {kind}, and that of a lattice is of integers"
            " (int32); the file was changed: encode anew."
        )


def _save(path: Path, **arrays: Any) -> None:
    stored: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    # By a file that is open, for to a path with .NPZ it would add a suffix.
    with path.open("wb") as file:
        np.savez(file, **stored)

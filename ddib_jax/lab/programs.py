"""The compiled programs of the page: few, small, and warmed before they are needed."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddib_jax.bridge import DDIB, Bridge, check_finite, check_solved
from ddib_jax.diffusion import DiffusionModel
from ddib_jax.perturbations import get_perturbation
from ddib_jax.types import HostImages, Images


def encode(bridge: Bridge, data: Images) -> HostImages:
    """The latents [n ...] of data [n ...], which are images or their codes.

    Raises FloatingPointError where a latent is not finite or a solver did not reach its tolerance.
    """
    state, residual = _integrate(bridge, data)
    check_solved(bridge.solver, np.asarray(residual))
    return check_finite(np.asarray(state) / np.asarray(bridge.scale), "latents")


def decode(bridge: Bridge, latents: Images) -> HostImages:
    """The data [n ...] of latents [n ...]; raises as `encode` does."""
    # One program for both ways, and for all models of one kind: `solve` follows the noise levels
    # as they stand, so that a grid that falls is a way down.
    down = replace(bridge, sigmas=bridge.sigmas[::-1])
    state, residual = _integrate(down, latents * np.asarray(bridge.scale))
    check_solved(bridge.solver, np.asarray(residual))
    return check_finite(np.asarray(state), "images")


def decode_coupled(ddib: DDIB, latents: Images, perturbed: Images) -> HostImages:
    """The images [n h w c] of latents as they were encoded and perturbed, under a coupling.

    Raises as `encode` does.
    """
    images, residual = _coupled(ddib, latents, perturbed)
    check_solved(ddib.target.solver, np.asarray(residual))
    return check_finite(np.asarray(images), "images")


def perturbed(name: str, value: Any, coefficient: float | int, context: dict) -> np.ndarray:
    """One perturbation of images or latents [n ...], or of a noise level.

    Its coefficient is an argument of the program.
    """
    looked_at = {part: context[part] for part in get_perturbation(name).needs}
    return np.asarray(_perturbed(name, value, jnp.asarray(coefficient, value.dtype), looked_at))


def to_data(model: DiffusionModel, images: HostImages) -> HostImages:
    """What the ODE of `model` is over: images [n h w c] themselves, or their codes."""
    return images if model.codec is None else np.asarray(_to_data(model, images))


def to_image(model: DiffusionModel, data: HostImages) -> HostImages:
    """The images [n h w c] of data [n ...]."""
    return data if model.codec is None else np.asarray(_to_image(model, data))


class Kept:
    """The last results of some computations; the one that was asked for longest ago goes first."""

    def __init__(self, most: int):
        self._most = most
        self._results: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The result of that key, made where it is not kept."""
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                return self._results[key]
        made = make()  # outside of the lock: it may ask for another result, or take seconds
        with self._lock:
            self._results[key] = made
            while len(self._results) > self._most:
                self._results.popitem(last=False)
        return made


@jax.jit
def _integrate(bridge, x):
    solution = bridge.solve(x, rising=True)
    return solution.y, solution.residual


@jax.jit
def _coupled(ddib, latents, perturbed):
    solution = ddib.decode_latent(latents, perturbed)
    return solution.y, solution.residual


@partial(jax.jit, static_argnames="name")
def _perturbed(name, value, coefficient, context):
    return get_perturbation(name)(value, coefficient, context)


_to_data = jax.jit(DiffusionModel.to_data)
_to_image = jax.jit(DiffusionModel.to_image)

"""The words every room speaks: array aliases and the Protocols of the house.

Images are NHWC float32 in [-1, 1] at every public border. Noise levels are sigma in the
coordinates x = x_t / alpha_t, sigma = sigma_t / alpha_t of Karras et al. (2022).
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

Scalar: TypeAlias = Float[Array, ""]
Image: TypeAlias = Float[Array, "b h w c"]
Latent: TypeAlias = Float[Array, "b h w c"]
Data: TypeAlias = Float[Array, "b ..."]
"""What a model is trained on, or its latents: images [b h w c], or points [b d] of a plane or a
colour space.
"""
Images: TypeAlias = Float[Array | np.ndarray, "n ..."]
"""Any number of images, points or latents, on the host or on a device."""
Labels: TypeAlias = Int[Array | np.ndarray, " n"]
"""The class of each of any number of images."""
PRNGKey: TypeAlias = Key[Array, ""] | jax.Array
Params: TypeAlias = PyTree[Array | np.ndarray]
Metrics: TypeAlias = Mapping[str, Array]

VectorField: TypeAlias = Callable[[Scalar, Array], Array]
"""(sigma, x) -> dx/dsigma."""

Context: TypeAlias = Mapping[str, Array]
"""What a perturbation may look at besides the latent: `image` (the source) and `noise` (fixed,
Gaussian).
"""

Perturbation: TypeAlias = Callable[[Latent, Scalar, Context], Latent]
"""(latent, coefficient, context) -> latent."""


@runtime_checkable
class NoiseSchedule(Protocol):
    """The bijection between a model's own time and the noise level sigma."""

    def sigma(self, t: Array) -> Array: ...

    def time(self, sigma: Array) -> Array: ...


@runtime_checkable
class Preconditioning(Protocol):
    """How a network's output becomes a denoiser: D(x, sigma) = prior + scale * output."""

    def prior(self, x: Array, sigma: Array) -> Array: ...

    def scale(self, sigma: Array) -> Array: ...

    def inputs(self, x: Array, sigma: Array) -> Array: ...


@runtime_checkable
class Network(Protocol):
    """Anything with linen's `apply`; compared by value, so that an equal one never retraces."""

    def apply(self, variables: Any, x: Array, time: Array, cond: Any = None) -> Array: ...


@runtime_checkable
class Guidance(Protocol):
    """What turns a denoiser towards a condition: a pytree called with (denoise, x, sigma, time)."""

    def __call__(self, denoise: Callable, x: Array, sigma: Array, time: Array) -> Array: ...


@runtime_checkable
class Solver(Protocol):
    """One step of an ODE over an interval; it knows nothing of diffusion."""

    order: int
    evaluations: int

    def init(self, f: VectorField, t0: Scalar, y0: Array) -> Any: ...

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, carry: Any
    ) -> tuple[Array, Any]: ...


@runtime_checkable
class ReversibleSolver(Solver, Protocol):
    """A solver on pairs of states whose every step can be undone algebraically, by the steps of its
    inverse.

    `second` is the other state of the pair, of the shape of the first; `init` starts from it where
    one is given.
    """

    @property
    def inverse(self) -> "ReversibleSolver": ...

    def init(self, f: VectorField, t0: Scalar, y0: Array, second: Array | None = None) -> Any: ...

    def second(self, carry: Any, t: Scalar) -> Array: ...


@runtime_checkable
class Translator(Protocol):
    """A method of translation: a pytree that is called on images."""

    def __call__(self, key: PRNGKey, image: Image) -> Image: ...

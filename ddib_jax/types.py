"""Aliases of arrays and the Protocols that the parts of the package meet by.

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
"""What a perturbation may look at besides the latent: `image`, the source; `noise`, Gaussian and
fixed; `latent`, as it was encoded; `other`, the latent of another image.
"""

Perturbation: TypeAlias = Callable[[Latent, Scalar, Context], Latent]
"""(latent, coefficient, context) -> latent."""


@runtime_checkable
class NoiseSchedule(Protocol):
    """The bijection between a model's own time and the noise level sigma, both rising."""

    def sigma(self, t: Array) -> Array:
        """The noise levels of times `t`, elementwise."""
        ...

    def time(self, sigma: Array) -> Array:
        """The times of noise levels `sigma`, elementwise: the inverse of `sigma`."""
        ...


@runtime_checkable
class Preconditioning(Protocol):
    """How a network's output becomes a denoiser: D(x, sigma) = prior + scale * output.

    x is data [b ...] plus noise of deviation sigma; sigma is a scalar or [b 1 ... 1].
    """

    def prior(self, x: Array, sigma: Array) -> Array:
        """The denoiser before the network's correction, [b ...]."""
        ...

    def scale(self, sigma: Array) -> Array:
        """The factor of the network's output, of the shape of sigma."""
        ...

    def inputs(self, x: Array, sigma: Array) -> Array:
        """What the network is applied to, [b ... c]; c may differ from the data's channels."""
        ...


@runtime_checkable
class Network(Protocol):
    """Anything with linen's `apply`; compared by value, so that an equal one never retraces."""

    def apply(self, variables: Any, x: Array, time: Array, cond: Any = None) -> Array:
        """The output [b ...] for inputs x [b ...] at times [b] under a condition or none."""
        ...


@runtime_checkable
class Guidance(Protocol):
    """What turns a denoiser towards a condition: a pytree called with (denoise, x, sigma, time)."""

    def __call__(self, denoise: Callable, x: Array, sigma: Array, time: Array) -> Array:
        """The guided denoiser's answer [b ...], from `denoise(x)` or `denoise(x, cond)`."""
        ...


@runtime_checkable
class Solver(Protocol):
    """One step of an ODE dy/dt = f(t, y) over an interval; it knows nothing of diffusion.

    Frozen, and compared by value: a solver is a static argument of compiled programs.
    """

    @property
    def order(self) -> int:
        """The order of the global error."""
        ...

    @property
    def evaluations(self) -> int:
        """Evaluations of the vector field that one step takes."""
        ...

    def init(self, f: VectorField, t0: Scalar, y0: Array) -> Any:
        """What the first step is given besides y(t0) = y0: a pytree of the solver's own."""
        ...

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, carry: Any
    ) -> tuple[Array, Any]:
        """y(t1) from y(t0) = y0, and what the next step is given; t1 may lie before t0."""
        ...


@runtime_checkable
class ReversibleSolver(Solver, Protocol):
    """A solver on pairs of states whose steps can be undone algebraically, by those of its inverse.

    The second state is of the shape of the first.
    """

    @property
    def inverse(self) -> "ReversibleSolver":
        """The method that undoes this one, along the grid reversed."""
        ...

    def init(self, f: VectorField, t0: Scalar, y0: Array, *, second: Array | None = None) -> Any:
        """As `Solver.init`, from the pair (y0, second) where a second state is given."""
        ...

    def second(self, carry: Any, t: Scalar) -> Array:
        """The second state at t, read from what the last step returned."""
        ...


@runtime_checkable
class Translator(Protocol):
    """A method of translation: a pytree that is called on images."""

    def __call__(self, key: PRNGKey, image: Image) -> Image:
        """Source images [b h w c] in [-1, 1] -> translations [b h w c]."""
        ...

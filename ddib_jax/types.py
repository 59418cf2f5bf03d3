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

Cond: TypeAlias = PyTree[Any]
"""What a network is told of an image besides itself: labels, embeddings, or a tree of such.

Its leaves are those of `Network.condition_spec`: of that rank for all images, or of one rank more,
[b ...], for each its own. None where the network is told nothing.
"""


@runtime_checkable
class NoiseSchedule(Protocol):
    """The bijection between a model's own time and the noise level sigma, both rising.

    Frozen, and compared by value: a schedule is a static part of a model.
    """

    @property
    def sigma_range(self) -> tuple[float, float]:
        """The lowest and the highest noise level that the model knows, both positive."""
        ...

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


# What a network's `apply` returns is Any to type checkers: by linen's own annotation it may come in
# a pair with collections that were changed, which nobody here asks for.


@runtime_checkable
class Network(Protocol):
    """The network of a diffusion model: what linen's modules are, with a `condition_spec`.

    Frozen, and compared by value, so that an equal one never retraces.
    """

    def init(self, key: PRNGKey, x: Array, time: Array, cond: Cond, /) -> Any:
        """The variables {"params": ...} before a training, for inputs as `apply` takes them."""
        ...

    def apply(
        self,
        variables: Any,
        x: Array,
        time: Array,
        cond: Cond = None,
        /,
        *,
        train: bool = False,
        rngs: dict[str, jax.Array] | None = None,
    ) -> Any:
        """The output [b ... o] for inputs x [b ...] at times [b] under conditions [b ...] or none.

        Of its channels o the first are used, as many as the data has. A training gives `rngs`, with
        a key for "dropout", and may set `train`.
        """
        ...

    def condition_spec(self) -> PyTree[jax.ShapeDtypeStruct] | None:
        """What a condition looks like for one image; None for a network that takes none."""
        ...


@runtime_checkable
class Denoise(Protocol):
    """A model's own denoiser, as its guidance is given it."""

    def __call__(self, x: Array, cond: Cond, *others: Cond) -> list[Array]:
        """The answers [b ...] at x [b ...] under each condition, by one call of the network.

        The network's batch has the b images under the first condition, then under the next one.
        """
        ...


@runtime_checkable
class Guidance(Protocol):
    """What turns a denoiser towards a condition: a pytree that is called."""

    @property
    def evaluations(self) -> int:
        """Network evaluations that one guided denoising takes."""
        ...

    def describe(self) -> str:
        """The guidance and its scale in words: "classifier-free guidance of scale 3"."""
        ...

    def __call__(self, denoise: Denoise, x: Array, sigma: Array, time: Array, cond: Cond) -> Array:
        """The guided denoiser's answer [b ...] at x [b ...].

        sigma: a scalar or [b 1 ... 1]. time [b]: the model's own. cond: the condition that the
        model is under, as it was given. `denoise(x, cond)` is the list of the model's own answer.
        """
        ...


@runtime_checkable
class ClassifierNetwork(Protocol):
    """A network that says what images show."""

    def apply(self, variables: Any, x: Array, /) -> Any:
        """Logits [b k] and features [b d] of images x [b h w c] in [-1, 1]."""
        ...


@runtime_checkable
class NoisyClassifierNetwork(Protocol):
    """A network that says what noisy images show."""

    def apply(self, variables: Any, x: Array, time: Array, /) -> Any:
        """Logits [b k] of images x_t [b ...], as a diffusion model takes them, at times [b]."""
        ...


@runtime_checkable
class GeneratorNetwork(Protocol):
    """A network of images from images."""

    def init(self, key: PRNGKey, x: Array, /) -> Any:
        """The variables {"params": ...} of a network before its training, for such images."""
        ...

    def apply(self, variables: Any, x: Array, /) -> Any:
        """Images [b h w c] in [-1, 1] from images x of the same shape."""
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

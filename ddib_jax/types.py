"""Aliases of arrays and the Protocols that the parts of the package meet by.

Images are NHWC float32 in [-1, 1] at every public border. Noise levels are sigma in the
coordinates x = x_t / alpha_t, sigma = sigma_t / alpha_t of Karras et al. (2022).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

AnyArray = TypeVar("AnyArray", bound=Array | np.ndarray)
"""Arrays of one kind: of a device or of the host."""
Scalar: TypeAlias = Float[Array, ""]
Image: TypeAlias = Float[Array, "b h w c"]
Latent: TypeAlias = Float[Array, "b h w c"]
Data: TypeAlias = Float[Array, "b ..."]
"""What a model is trained on, or its latents: images [b h w c], or points [b d] of a plane or a
colour space.
"""
Images: TypeAlias = Float[Array | np.ndarray, "n ..."]
"""Any number of images, points or latents, on the host or on a device."""
HostImages: TypeAlias = Float[np.ndarray, "n ..."]
"""The same on the host: what the driver gives back."""
Labels: TypeAlias = Int[Array | np.ndarray, " n"]
"""The class of each of any number of images."""
PRNGKey: TypeAlias = Key[Array, ""] | jax.Array
Keys: TypeAlias = Key[Array, " b"]
"""One key for each image of a batch."""
Params: TypeAlias = PyTree[Array | np.ndarray]
Metrics: TypeAlias = Mapping[str, Array]

VectorField: TypeAlias = Callable[[Scalar, Array], Array]
"""(sigma, x) -> dx/dsigma."""

Context: TypeAlias = Mapping[str, Array]
"""What a perturbation may look at besides the latent: `data`, the source that was encoded; `noise`,
Gaussian and fixed; `latent`, as it was encoded; `reference`, the latent of another image.
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
class Codec(Protocol):
    """What stands between images and the data that a model of codes knows: a pytree.

    Its own round trip need not be exact; the ODE between knows nothing of it.
    """

    @property
    def image_shape(self) -> tuple[int, ...]:
        """That of one image, [h w c]."""
        ...

    def encode(self, image: Array) -> Array:
        """Images [b h w c] in [-1, 1] -> codes [b ...], data of the model's `data_shape`."""
        ...

    def decode(self, code: Array) -> Array:
        """Codes [b ...] -> images [b h w c]."""
        ...


@runtime_checkable
class Denoiser(Protocol):
    """Whatever estimates the data in noisy data: it defines a probability-flow ODE."""

    def denoise(self, x: Array, sigma: Array) -> Array:
        """E[data | x = data + sigma noise] [b ...], for x [b ...] and a scalar sigma."""
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


class Ending(NamedTuple):
    """What a solver has at the end of a run besides the state that it reached.

    aux: the auxiliary state of a reversible solver, of the shape of the state. residual [b]: the
    worst relative residual of every member of the batch, where something was solved for.
    evaluations []: of the vector field, where they were counted.
    """

    aux: Array | None = None
    residual: Array | None = None
    evaluations: Array | None = None


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
    def inverse(self) -> "Solver | None":
        """Of a reversible method, on pairs of states, the one that undoes it; None of any other.

        It undoes it along the grid reversed, algebraically and so up to rounding.
        """
        ...

    @property
    def tolerance(self) -> float | None:
        """The relative residual that counts as solved, in units of the last place of the numbers.

        None where nothing is iterated.
        """
        ...

    def evaluations(self, steps: int) -> int:
        """Evaluations of the vector field over so many steps, what it takes to start included.

        Where their number is known after the run alone, as many as are expected.
        """
        ...

    def init(self, f: VectorField, t0: Scalar, y0: Array, aux: Array | None) -> Any:
        """What the first step is given besides y(t0) = y0: a pytree of the solver's own.

        aux: the auxiliary state of a reversible method to start from; None for others.
        """
        ...

    def step(
        self, f: VectorField, t0: Scalar, t1: Scalar, y0: Array, state: Any
    ) -> tuple[Array, Any]:
        """y(t1) from y(t0) = y0, and what the next step is given; t1 may lie before t0."""
        ...

    def finish(self, state: Any, t: Scalar) -> Ending:
        """What there is besides y(t) after the last step, from what that step returned."""
        ...


@runtime_checkable
class Checked(Protocol):
    """What can say beforehand that it will not work."""

    def check(self) -> None:
        """Raise ValueError for what does not go together."""
        ...


@runtime_checkable
class Translator(Protocol):
    """A method of translation: a pytree that is called on images.

    Every image has a key of its own, so that what it shares a batch with cannot matter.
    """

    def __call__(self, keys: Keys, image: Image) -> Image:
        """Source images [b h w c] in [-1, 1] and their keys [b] -> translations [b h w c]."""
        ...
